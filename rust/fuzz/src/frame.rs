//! Any bytes as a stream: what decodes encodes to the same bytes, cut short it is incomplete, what
//! is refused was refused by its length alone, and the limit holds.

use mmo_core::frame::{LENGTH_BYTES, decode, encode};

const LENGTH_MAX: u32 = 1_024;

/// Reads frames until none is whole. True when at least one was.
pub fn holds(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    loop {
        match decode(rest, LENGTH_MAX) {
            Ok(Some(frame)) => {
                let whole = frame.wire_bytes();
                assert!(
                    whole - LENGTH_BYTES <= LENGTH_MAX as usize,
                    "the limit holds"
                );
                let mut again = Vec::new();
                assert!(encode(&mut again, frame.opcode, frame.seq, frame.body));
                assert_eq!(again, rest[..whole], "decoding loses nothing");
                assert_eq!(
                    decode(&rest[..whole - 1], LENGTH_MAX),
                    Ok(None),
                    "a cut frame is incomplete"
                );
                rest = &rest[whole..];
            }
            Ok(None) => break,
            refused => {
                assert_eq!(
                    decode(&rest[..LENGTH_BYTES], LENGTH_MAX),
                    refused,
                    "the length is judged before the rest has come"
                );
                break;
            }
        }
    }
    rest.len() < bytes.len()
}
