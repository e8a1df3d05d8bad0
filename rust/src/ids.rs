//! Numbers that everything agrees on: connections, the opcodes the core itself knows, the length.
//!
//! Owns the layout of a connection id, the reserved opcodes and what a frame's `length` counts.
//! Never decides who may send what. Used by every other module.

/// Bytes of the `length` field of a frame, which does not count itself.
pub const LENGTH_BYTES: usize = 4;
/// What `length` counts besides the body.
pub const LENGTH_MIN: u32 = 6;

/// Identity of one connection: slot in the low 24 bits, generation of that slot above.
///
/// A slot's generation only rises, so an id is never reused in the life of a process and a late
/// reply to a gone player cannot reach the next one in the slot. Always positive as `i64`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnId(u64);

impl ConnId {
    /// Slots one registry can have.
    pub const SLOTS_MAX: u32 = 1 << SLOT_BITS;

    /// The id of `slot` (below [`Self::SLOTS_MAX`]) in its `generation` (1 or more).
    #[must_use]
    pub fn new(slot: u32, generation: u32) -> Self {
        debug_assert!(slot < Self::SLOTS_MAX && generation > 0);
        Self(u64::from(generation) << SLOT_BITS | u64::from(slot))
    }

    /// An id as a caller wrote it; any number is taken, a wrong one finds nothing.
    #[must_use]
    pub fn from_i64(number: i64) -> Self {
        Self(number.cast_unsigned())
    }

    /// The number that crosses the seam.
    #[must_use]
    pub fn as_i64(self) -> i64 {
        self.0.cast_signed()
    }

    /// The number as it is kept in atomics; 0 is never an id.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The slot this id points at; may be out of range for an id that a caller made up.
    #[must_use]
    pub fn slot(self) -> usize {
        (self.0 & SLOT_MASK) as usize
    }
}

/// Opcodes that the core reads or writes itself. All others belong to the game.
pub mod opcode {
    /// A client connection exists; body `address:port`.
    pub const OPENED: u16 = 1;
    /// A client connection ended; `seq` is the close reason.
    pub const CLOSED: u16 = 2;
    /// A server link is authenticated; body `role:incarnation`.
    pub const PEER_UP: u16 = 3;
    /// A server link ended; `seq` is the close reason.
    pub const PEER_DOWN: u16 = 4;
    /// The core has stopped; the last event.
    pub const STOPPED: u16 = 5;
    /// Link handshake, dialler to acceptor: who I am, whom I want, my nonce.
    pub const LINK_HELLO: u16 = 90;
    /// Link handshake, acceptor to dialler: who I am, my nonce, my proof.
    pub const LINK_CHALLENGE: u16 = 91;
    /// Link handshake, dialler to acceptor: my proof.
    pub const LINK_PROOF: u16 = 92;
    /// Link handshake, acceptor to dialler: the link stands.
    pub const LINK_READY: u16 = 93;
    /// Link handshake, either way: no link, with the close reason.
    pub const LINK_REFUSED: u16 = 94;
    /// Heartbeat on a link; answered by [`LINK_PONG`].
    pub const LINK_PING: u16 = 95;
    /// Answer to [`LINK_PING`].
    pub const LINK_PONG: u16 = 96;
    /// Lowest opcode that belongs to links; from [`LINK_HELLO`] on they are the core's own.
    pub const LINK_FIRST: u16 = 16;
    /// Highest opcode that belongs to links.
    pub const LINK_LAST: u16 = 99;
    /// To a client before its connection is closed: MessagePack array `[reason]`.
    pub const CLOSING: u16 = 103;
    /// From a client: the whole body is a JWT.
    pub const ENTER: u16 = 105;
}

const SLOT_BITS: u32 = 24;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_keeps_slot_and_generation_apart() {
        let id = ConnId::new(0x00ab_cdef, u32::MAX);
        assert_eq!(id.slot(), 0x00ab_cdef);
        assert!(id.as_i64() > 0);
        assert_eq!(ConnId::from_i64(id.as_i64()), id);
        assert_ne!(ConnId::new(7, 1), ConnId::new(7, 2));
    }
}
