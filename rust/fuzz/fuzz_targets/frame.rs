//! Any bytes as a stream: what decodes encodes to the same bytes, cut short it is incomplete, and
//! the limit holds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mmo_core::frame::{LENGTH_BYTES, decode, encode};

const LENGTH_MAX: u32 = 1_024;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some(frame)) = decode(rest, LENGTH_MAX) {
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
});
