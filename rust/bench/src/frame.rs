//! The frame as a client writes and reads it, byte for byte, without the core's own code.
//!
//! Owns the header layout (`length u32, opcode u16, seq u32`, little-endian; `length` counts what
//! follows it) and the body pattern by which an echo is proved. Used by the load.

use crate::failure::Failure;

/// Bytes of the header, the length field included.
pub const HEADER_BYTES: usize = 10;
/// The server says why it closes: body `[reason]`.
pub const CLOSING: u16 = 103;
/// The first frame of a player: the token.
pub const ENTER: u16 = 105;

/// A frame at the start of a buffer: the header's fields and the whole length in bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// Kind of message.
    pub opcode: u16,
    /// Number that ties a reply to its request.
    pub seq: u32,
    /// Whole frame, length field included.
    pub frame_bytes: usize,
}

/// The header at the start of `bytes`, or none while it is incomplete.
pub fn header(bytes: &[u8]) -> Option<Header> {
    let length = u32::from_le_bytes(bytes.get(0..4)?.try_into().ok()?);
    let opcode = u16::from_le_bytes(bytes.get(4..6)?.try_into().ok()?);
    let seq = u32::from_le_bytes(bytes.get(6..10)?.try_into().ok()?);
    Some(Header {
        opcode,
        seq,
        frame_bytes: usize::try_from(length).ok()?.saturating_add(4),
    })
}

/// Appends a frame with `body`.
pub fn write(out: &mut Vec<u8>, opcode: u16, seq: u32, body: &[u8]) -> Result<(), Failure> {
    let length = u32::try_from(body.len() + HEADER_BYTES - 4)
        .map_err(|_| Failure::Usage("the body is too long".to_owned()))?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&opcode.to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(body);
    Ok(())
}

/// What every body of a load carries.
pub enum Body {
    /// Words that depend on connection and seq, of this many bytes: an echo of another message is
    /// found out.
    Pattern(usize),
    /// The same bytes always; replies are checked by opcode and seq only.
    Fixed(Vec<u8>),
}

impl Body {
    /// Bytes of one body.
    pub fn len(&self) -> usize {
        match self {
            Self::Pattern(bytes) => *bytes,
            Self::Fixed(bytes) => bytes.len(),
        }
    }

    /// Appends the frame for `seq` of `connection`. Allocates nothing while `out` has room.
    pub fn append(&self, out: &mut Vec<u8>, opcode: u16, connection: u32, seq: u32, length: u32) {
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&opcode.to_le_bytes());
        out.extend_from_slice(&seq.to_le_bytes());
        match self {
            Self::Fixed(bytes) => out.extend_from_slice(bytes),
            Self::Pattern(bytes) => {
                let mut word = first_word(connection, seq);
                let mut left = *bytes;
                while left > 0 {
                    let taken = left.min(8);
                    out.extend_from_slice(&word.to_le_bytes()[..taken]);
                    word = word.wrapping_add(1);
                    left -= taken;
                }
            }
        }
    }

    /// Whether `body` is the echo of what `append` wrote for `seq` of `connection`.
    pub fn is_echo(&self, body: &[u8], connection: u32, seq: u32) -> bool {
        let Self::Pattern(bytes) = self else {
            return true;
        };
        let mut word = first_word(connection, seq);
        body.len() == *bytes
            && body.chunks(8).all(|chunk| {
                let same = word.to_le_bytes()[..chunk.len()] == *chunk;
                word = word.wrapping_add(1);
                same
            })
    }
}

/// A mixed word (the finalizer of splitmix64, Steele, Lea and Flood 2014), so that neighbours differ
/// in every byte.
fn first_word(connection: u32, seq: u32) -> u64 {
    let mut word =
        (u64::from(connection) << 32 | u64::from(seq)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_written() {
        let body = Body::Pattern(54);
        let mut out = Vec::new();
        body.append(&mut out, 102, 3, 9, 60);
        assert_eq!(out.len(), 64);
        assert_eq!(
            header(&out),
            Some(Header {
                opcode: 102,
                seq: 9,
                frame_bytes: 64
            })
        );
        assert_eq!(header(&out[..9]), None);
        assert!(body.is_echo(&out[10..], 3, 9));
    }

    #[test]
    fn a_foreign_or_cut_echo_is_found_out() {
        let body = Body::Pattern(21);
        let mut out = Vec::new();
        body.append(&mut out, 102, 3, 9, 27);
        assert!(!body.is_echo(&out[10..], 4, 9));
        assert!(!body.is_echo(&out[10..], 3, 10));
        assert!(!body.is_echo(&out[10..30], 3, 9));
        out[25] ^= 1;
        assert!(!body.is_echo(&out[10..], 3, 9));
    }
}
