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
#[derive(Clone)]
pub enum Body {
    /// This many bytes; all of them depend on the connection and the first eight on the seq too,
    /// so the echo of any other message is found out.
    Pattern(usize),
    /// The same bytes always but for the count; replies are checked by opcode and seq only.
    Fixed(Vec<u8>, Option<Count>),
}

/// The number of a message on its connection, as a big-endian u32 in its body.
#[derive(Clone, Copy)]
pub struct Count {
    /// Offset in the body.
    pub at: usize,
    /// Without: 1, 2, 3, … With: 0, 1, … up to and without this, again and again.
    pub to: Option<u32>,
}

impl Body {
    /// Bytes of one body.
    pub fn len(&self) -> usize {
        match self {
            Self::Pattern(bytes) => *bytes,
            Self::Fixed(bytes, _) => bytes.len(),
        }
    }
}

/// The frame that one connection sends again and again, patched for each message.
pub struct Template {
    frame: Vec<u8>,
    body: Body,
    connection: u32,
    seq_first: u32,
}

impl Template {
    /// The frame of `connection`, whose first message has `seq_first`.
    pub fn new(body: &Body, opcode: u16, connection: u32, seq_first: u32) -> Result<Self, Failure> {
        let bytes = match body {
            Body::Fixed(bytes, _) => bytes.clone(),
            Body::Pattern(length) => {
                let word = mixed(connection, 0).to_le_bytes();
                word.iter().cycle().take(*length).copied().collect()
            }
        };
        if let Body::Fixed(_, Some(count)) = body
            && bytes.len() < count.at + 4
        {
            return Err(Failure::Usage("--count-at is outside the body".to_owned()));
        }
        let mut frame = Vec::new();
        write(&mut frame, opcode, 0, &bytes)?;
        Ok(Self {
            frame,
            body: body.clone(),
            connection,
            seq_first,
        })
    }

    /// Appends the frame for `seq`. Allocates nothing while `out` has room.
    pub fn append(&self, out: &mut Vec<u8>, seq: u32) {
        let begin = out.len();
        out.extend_from_slice(&self.frame);
        let frame = &mut out[begin..];
        frame[6..10].copy_from_slice(&seq.to_le_bytes());
        match self.body {
            Body::Pattern(length) => {
                let word = mixed(self.connection, seq).to_le_bytes();
                let patched = length.min(8);
                frame[HEADER_BYTES..HEADER_BYTES + patched].copy_from_slice(&word[..patched]);
            }
            Body::Fixed(_, Some(count)) => {
                let before = seq.wrapping_sub(self.seq_first);
                let number = match count.to {
                    Some(to) => before % to,
                    None => before.wrapping_add(1),
                };
                let at = HEADER_BYTES + count.at;
                frame[at..at + 4].copy_from_slice(&number.to_be_bytes());
            }
            Body::Fixed(_, None) => {}
        }
    }

    /// Whether `body` is the echo of what `append` wrote for `seq`.
    pub fn is_echo(&self, body: &[u8], seq: u32) -> bool {
        let Body::Pattern(length) = self.body else {
            return true;
        };
        if body.len() != length {
            return false;
        }
        let word = mixed(self.connection, seq).to_le_bytes();
        let patched = length.min(8);
        body[..patched] == word[..patched]
            && body[patched..] == self.frame[HEADER_BYTES + patched..]
    }
}

/// A mixed word (the finalizer of splitmix64, Steele, Lea and Flood 2014), so that neighbours
/// differ in every byte.
fn mixed(connection: u32, seq: u32) -> u64 {
    let mut word =
        (u64::from(connection) << 32 | u64::from(seq)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn template(body: &Body, connection: u32) -> Template {
        Template::new(body, 102, connection, 2).unwrap()
    }

    fn framed(template: &Template, seq: u32) -> Vec<u8> {
        let mut out = Vec::new();
        template.append(&mut out, seq);
        out
    }

    #[test]
    fn a_frame_is_read_as_written() {
        let template = template(&Body::Pattern(54), 3);
        let out = framed(&template, 9);
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
        assert!(template.is_echo(&out[10..], 9));
    }

    #[test]
    fn a_foreign_or_cut_echo_is_found_out() {
        for length in [5, 8, 21] {
            let ours = template(&Body::Pattern(length), 3);
            let mut out = framed(&ours, 9);
            assert!(ours.is_echo(&out[10..], 9));
            assert!(!ours.is_echo(&out[10..], 10));
            assert!(!ours.is_echo(&out[10..9 + length], 9));
            assert!(!template(&Body::Pattern(length), 4).is_echo(&out[10..], 9));
            out[9 + length] ^= 1;
            assert!(!ours.is_echo(&out[10..], 9));
        }
    }

    #[test]
    fn messages_are_counted_where_asked() {
        let body = |at, to| Body::Fixed(vec![0x91, 0xce, 0, 0, 0, 0], Some(Count { at, to }));
        let counted = template(&body(2, None), 0);
        assert_eq!(framed(&counted, 2)[10..], [0x91, 0xce, 0, 0, 0, 1]);
        assert_eq!(framed(&counted, 300)[10..], [0x91, 0xce, 0, 0, 1, 43]);
        let round = template(&body(2, Some(3)), 0);
        assert_eq!(framed(&round, 2)[10..], [0x91, 0xce, 0, 0, 0, 0]);
        assert_eq!(framed(&round, 6)[10..], [0x91, 0xce, 0, 0, 0, 1]);
        assert!(Template::new(&body(3, None), 102, 0, 2).is_err());
    }
}
