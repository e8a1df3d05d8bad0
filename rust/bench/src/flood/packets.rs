//! The malformed packets: what each kind of them is, byte for byte.
//!
//! Owns the kinds, their names in what is printed, and the chance they are drawn from. Every packet
//! is whole and wrong by itself, so that a server has to judge it. Sends nothing.

use crate::failure::Failure;
use crate::frame::{ENTER, write};

/// The first message of a client.
pub const HELLO: u16 = 100;
/// An account is wanted; only servers of the role `login` know it.
pub const REGISTER: u16 = 200;
/// A password is shown; only servers of the role `login` know it.
pub const LOGIN: u16 = 202;
const HIT: u16 = 408;
const MOVE: u16 = 304;
/// A length above this is more than any server takes of a client.
const LENGTH_MAX: u32 = 20_000;
/// Bytes of a length that no header fits into.
const LENGTH_MIN: u64 = 6;
/// Longest noise behind a header.
const NOISE_BYTES_MAX: u64 = 60;
/// Bytes of a client's datagram: identity, counter, MAC.
pub const PROOF_BYTES: usize = 24;

/// A packet that ends its connection: the core judges it by its header or its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closer {
    /// A length that cannot hold a header.
    LengthShort,
    /// A length above every limit.
    LengthLong,
    /// An opcode that nobody has.
    OpcodeUnknown,
    /// An opcode of the node itself or of links between servers.
    OpcodeOfServers,
    /// An opcode of those who showed a token.
    OpcodeOfPlayers,
    /// Bytes where a token belongs, or a token again.
    Token,
    /// Any bytes.
    Noise,
}

impl Closer {
    /// What a connection without a token may end with.
    pub const OF_STRANGERS: [Self; 7] = [
        Self::LengthShort,
        Self::LengthLong,
        Self::OpcodeUnknown,
        Self::OpcodeOfServers,
        Self::OpcodeOfPlayers,
        Self::Token,
        Self::Noise,
    ];
    /// What a connection that showed a token may end with.
    pub const OF_PLAYERS: [Self; 6] = [
        Self::LengthShort,
        Self::LengthLong,
        Self::OpcodeUnknown,
        Self::OpcodeOfServers,
        Self::Token,
        Self::Noise,
    ];
    /// Names of all, in the order of their numbers.
    pub const NAMES: [&str; 7] = [
        "length_short",
        "length_long",
        "opcode_unknown",
        "opcode_of_servers",
        "opcode_of_players",
        "token",
        "noise",
    ];

    /// Any one of `some`.
    pub fn any_of(some: &[Self], chance: &mut Chance) -> Self {
        *chance.one_of(some).unwrap_or(&Self::Noise)
    }

    /// Appends such a packet.
    pub fn write(self, out: &mut Vec<u8>, seq: u32, chance: &mut Chance) -> Result<(), Failure> {
        let noise = chance.noise(NOISE_BYTES_MAX);
        match self {
            Self::LengthShort => {
                let length = u32::try_from(chance.below(LENGTH_MIN)).unwrap_or(0);
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(&noise);
            }
            Self::LengthLong => {
                out.extend_from_slice(&too_long(chance).to_le_bytes());
                out.extend_from_slice(&noise);
            }
            Self::OpcodeUnknown => write(out, chance.opcode(9_000, 59_000), seq, &noise)?,
            Self::OpcodeOfServers => write(out, chance.opcode(0, 100), seq, &noise)?,
            Self::OpcodeOfPlayers => {
                let opcode = *chance.one_of(&[HIT, MOVE]).unwrap_or(&HIT);
                write(out, opcode, seq, &noise)?;
            }
            Self::Token => write(out, ENTER, seq, &noise)?,
            Self::Noise => {
                let first = chance.word();
                // A length that a frame may have would be the beginning of a frame.
                let is_length = (6..=LENGTH_MAX).contains(&first);
                let first = if is_length { too_long(chance) } else { first };
                out.extend_from_slice(&first.to_le_bytes());
                out.extend_from_slice(&noise);
            }
        }
        Ok(())
    }
}

/// A body that decodes as no message whatever: the connection goes on after the refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// A byte that the encoding never uses.
    NoValue,
    /// An array of more fields than there are bytes in the machine.
    ArrayWide,
    /// A text longer than its packet.
    TextLong,
    /// Arrays in arrays, none of them complete.
    ArraysDeep,
    /// A text where the array of all fields belongs.
    NoArray,
    /// Nothing.
    Empty,
}

impl Body {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::NoValue,
        Self::ArrayWide,
        Self::TextLong,
        Self::ArraysDeep,
        Self::NoArray,
        Self::Empty,
    ];
    /// Names of all, in the order of their numbers.
    pub const NAMES: [&str; 6] = [
        "no_value",
        "array_wide",
        "text_long",
        "arrays_deep",
        "no_array",
        "empty",
    ];

    /// Any one of them.
    pub fn any(chance: &mut Chance) -> Self {
        *chance.one_of(&Self::ALL).unwrap_or(&Self::NoValue)
    }

    /// Such a body.
    pub fn bytes(self, chance: &mut Chance) -> Vec<u8> {
        let behind = |head: &[u8], chance: &mut Chance| {
            let mut body = head.to_vec();
            body.extend(chance.noise(NOISE_BYTES_MAX));
            body
        };
        match self {
            Self::NoValue => behind(&[0xC1], chance),
            Self::ArrayWide => behind(&[0xDD, 0xFF, 0xFF, 0xFF, 0xFF], chance),
            Self::TextLong => behind(&[0x91, 0xDB, 0xFF, 0xFF, 0xFF, 0xFF], chance),
            Self::ArraysDeep => {
                let depth = usize::try_from(chance.below(200)).unwrap_or(0);
                vec![0x91; depth + 2]
            }
            Self::NoArray => vec![0xA2, b'n', b'o'],
            Self::Empty => Vec::new(),
        }
    }
}

/// A datagram that proves no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// Longer or shorter than a proof.
    Length,
    /// A proof of an identity that nobody was given.
    Stranger,
    /// A proof that was believed before.
    Replayed,
    /// A proof with one bit altered: of another identity, counter or key.
    Altered,
    /// A proof by the right key from a foreign address.
    Elsewhere,
}

impl Datagram {
    /// Those that need no identity.
    pub const OF_STRANGERS: [Self; 2] = [Self::Length, Self::Stranger];
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Length,
        Self::Stranger,
        Self::Replayed,
        Self::Altered,
        Self::Elsewhere,
    ];
    /// Names of all, in the order of their numbers.
    pub const NAMES: [&str; 5] = ["length", "stranger", "replayed", "altered", "elsewhere"];
    /// Longest one; a server reads no more of it than it needs.
    const BYTES_MAX: u64 = 200;

    /// Such a datagram, by proofs that were used and that were not.
    pub fn bytes(
        self,
        used: &[u8; PROOF_BYTES],
        unused: &[u8; PROOF_BYTES],
        chance: &mut Chance,
    ) -> Vec<u8> {
        match self {
            Self::Length => {
                let mut bytes = chance.noise(Self::BYTES_MAX);
                if bytes.len() == PROOF_BYTES {
                    bytes.push(0);
                }
                bytes
            }
            Self::Stranger => chance.bytes(PROOF_BYTES),
            Self::Replayed => used.to_vec(),
            Self::Altered => {
                let mut bytes = unused.to_vec();
                let bit = usize::try_from(chance.below(PROOF_BYTES as u64 * 8)).unwrap_or(0);
                if let Some(byte) = bytes.get_mut(bit / 8) {
                    *byte ^= 1 << (bit % 8);
                }
                bytes
            }
            Self::Elsewhere => unused.to_vec(),
        }
    }
}

fn too_long(chance: &mut Chance) -> u32 {
    let above = u64::from(u32::MAX - LENGTH_MAX);
    LENGTH_MAX + 1 + u32::try_from(chance.below(above)).unwrap_or(0)
}

/// xorshift64*, Marsaglia 2003 and Vigna 2014: the same seed draws the same bytes.
pub struct Chance(u64);

impl Chance {
    /// The chance of one thread.
    pub fn new(seed: u64, thread: u64) -> Self {
        let mixed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (thread + 1);
        Self(mixed.max(1))
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `limit`; 0 for a limit of 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit.max(1)
    }

    /// Any one of `some`; none of nothing.
    pub fn one_of<'a, T>(&mut self, some: &'a [T]) -> Option<&'a T> {
        let place = self.below(some.len() as u64);
        some.get(usize::try_from(place).ok()?)
    }

    fn word(&mut self) -> u32 {
        u32::try_from(self.next() >> 32).unwrap_or(0)
    }

    fn opcode(&mut self, first: u16, end: u16) -> u16 {
        let more = self.below(u64::from(end.saturating_sub(first)));
        first.saturating_add(u16::try_from(more).unwrap_or(0))
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count)
            .map(|_| u8::try_from(self.next() >> 56).unwrap_or(0))
            .collect()
    }

    fn noise(&mut self, bytes_max: u64) -> Vec<u8> {
        let count = usize::try_from(self.below(bytes_max)).unwrap_or(0);
        self.bytes(count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::frame::header;

    fn closers(seed: u64, kind: Closer) -> Vec<Vec<u8>> {
        let mut chance = Chance::new(seed, 0);
        let one = |_| {
            let mut out = Vec::new();
            kind.write(&mut out, 7, &mut chance).unwrap();
            out
        };
        (0..500).map(one).collect()
    }

    #[test]
    fn the_same_seed_sends_the_same_bytes_and_another_seed_others() {
        for kind in Closer::OF_STRANGERS {
            assert_eq!(closers(7, kind), closers(7, kind));
            assert_ne!(closers(7, kind), closers(8, kind), "{kind:?}");
        }
    }

    #[test]
    fn no_packet_leaves_a_server_waiting_for_more() {
        for kind in Closer::OF_STRANGERS {
            for packet in closers(3, kind) {
                let length = u32::from_le_bytes(packet[..4].try_into().unwrap());
                let is_wrong = !(6..=LENGTH_MAX).contains(&length);
                let is_whole = header(&packet).is_some_and(|one| one.frame_bytes == packet.len());
                assert!(is_wrong || is_whole, "{kind:?} {packet:?}");
            }
        }
    }

    #[test]
    fn no_datagram_is_a_proof_that_may_be_believed() {
        let (used, unused) = ([1; PROOF_BYTES], [2; PROOF_BYTES]);
        let mut chance = Chance::new(5, 0);
        for _ in 0..2_000 {
            let of = |kind: Datagram, chance: &mut Chance| kind.bytes(&used, &unused, chance);
            assert_ne!(of(Datagram::Length, &mut chance).len(), PROOF_BYTES);
            assert_ne!(of(Datagram::Stranger, &mut chance), unused);
            assert_ne!(of(Datagram::Altered, &mut chance), unused);
            assert_eq!(of(Datagram::Replayed, &mut chance), used);
        }
    }

    #[test]
    fn every_kind_has_its_name() {
        let places = Closer::OF_STRANGERS.map(|kind| kind as usize);
        assert!(places.iter().copied().eq(0..Closer::NAMES.len()));
        let places = Body::ALL.map(|kind| kind as usize);
        assert!(places.iter().copied().eq(0..Body::NAMES.len()));
        let places = Datagram::ALL.map(|kind| kind as usize);
        assert!(places.iter().copied().eq(0..Datagram::NAMES.len()));
    }
}
