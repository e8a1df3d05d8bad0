//! The frame of every TCP stream: `length u32, opcode u16, seq u32, body`, little-endian.
//!
//! Owns encoding and decoding of the header. Never allocates and never waits: an incomplete frame
//! is an answer, not an error. Called by `conn`, `peer` and whoever writes frames.

use crate::error::CloseReason;
pub use crate::ids::{LENGTH_BYTES, LENGTH_MIN};

/// Bytes before the body: length, opcode and seq.
pub const HEADER_BYTES: usize = 10;

/// One whole frame inside a caller's buffer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    /// What the sender wants.
    pub opcode: u16,
    /// The sender's own number, repeated in the reply.
    pub seq: u32,
    /// The message itself.
    pub body: &'a [u8],
}

impl Frame<'_> {
    /// Bytes of the whole frame on the wire.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }
}

/// Reads the frame at the start of `bytes`, whose `length` may be at most `length_max`.
///
/// `Ok(None)` when more bytes are needed. The length is judged before the rest has arrived.
///
/// # Errors
/// `ProtocolError` when the length cannot hold a header, `FrameTooLarge` above the limit.
#[inline]
pub fn decode(bytes: &[u8], length_max: u32) -> Result<Option<Frame<'_>>, CloseReason> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length);
    if length < LENGTH_MIN {
        return Err(CloseReason::ProtocolError);
    }
    if length > length_max {
        return Err(CloseReason::FrameTooLarge);
    }
    let Some(content) = rest.get(..length as usize) else {
        return Ok(None);
    };
    let ([opcode_low, opcode_high, seq @ ..], body) = content.split_at(LENGTH_MIN as usize) else {
        return Err(CloseReason::ProtocolError);
    };
    let Ok(seq) = <[u8; 4]>::try_from(seq) else {
        return Err(CloseReason::ProtocolError);
    };
    let opcode = u16::from_le_bytes([*opcode_low, *opcode_high]);
    Ok(Some(Frame {
        opcode,
        seq: u32::from_le_bytes(seq),
        body,
    }))
}

/// The header of a frame with a body of `body_bytes`; `None` when the length does not fit a `u32`.
#[inline]
#[must_use]
pub fn header(opcode: u16, seq: u32, body_bytes: usize) -> Option<[u8; HEADER_BYTES]> {
    let length = u32::try_from(body_bytes).ok()?.checked_add(LENGTH_MIN)?;
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[4..6].copy_from_slice(&opcode.to_le_bytes());
    header[6..].copy_from_slice(&seq.to_le_bytes());
    Some(header)
}

/// Appends a whole frame to `target`; `false` when the body is too long for a frame.
#[inline]
pub fn encode(target: &mut Vec<u8>, opcode: u16, seq: u32, body: &[u8]) -> bool {
    let Some(header) = header(opcode, seq, body.len()) else {
        return false;
    };
    target.reserve(HEADER_BYTES + body.len());
    target.extend_from_slice(&header);
    target.extend_from_slice(body);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_split_anywhere_is_incomplete_until_its_last_byte() {
        let mut bytes = Vec::new();
        assert!(encode(&mut bytes, 500, 7, b"hello"));
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut], 100), Ok(None), "cut at {cut}");
        }
        let frame = decode(&bytes, 100).unwrap().unwrap();
        assert_eq!(
            (frame.opcode, frame.seq, frame.body),
            (500, 7, &b"hello"[..])
        );
        assert_eq!(frame.wire_bytes(), bytes.len());
    }

    #[test]
    fn attack_length_is_refused_from_its_four_bytes() {
        assert_eq!(decode(&[5, 0, 0, 0], 100), Err(CloseReason::ProtocolError));
        assert_eq!(decode(&[0, 0, 0, 0], 100), Err(CloseReason::ProtocolError));
        assert_eq!(
            decode(&[101, 0, 0, 0], 100),
            Err(CloseReason::FrameTooLarge)
        );
        assert_eq!(
            decode(&[255; 4], u32::MAX - 1),
            Err(CloseReason::FrameTooLarge)
        );
        assert_eq!(decode(&[100, 0, 0, 0], 100), Ok(None));
    }
}
