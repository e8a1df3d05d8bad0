"""The room of a raid as a fixed little-endian record: what the stream carries each tick.

Owns the layout; any language reads it with offsets. 16 bytes of head, then 8 bytes for each of 8
seats, used or not. Newest `tick` wins. Packed by `systems.raid`, read by clients.

Head: tick u32, hp u32 (never below 0), remaining u32 (milliseconds), phase u8, flags u8, pattern u8
(number of the pattern that is shown before it lands, from 1; 0: none), seats u8.
Seat: score u32, hp u16, flags u8, one byte 0.
"""

from struct import Struct

import msgspec

from mmo.wire.codec import stream
from mmo.wire.opcode import Op

SHIELD = 1  # flag of the head: the monster is behind its shield

HERE, FALLEN, GUARDED, LEFT = 1, 2, 4, 8
"""Flags of a seat."""

SEATS_MAX = 8
HP_MAX = 0xFFFF_FFFF  # of the monster, and so of the scores, which are its lost hit points
PATTERNS_MAX = 0xFF  # of one phase
HEAD = Struct("<IIIBBBB")
SEAT = Struct("<IHBx")
ROOM = Struct("<IIIBBBB" + "IHBx" * SEATS_MAX)


class SeatNow(msgspec.Struct, frozen=True, gc=False):
    """One seat of the record."""

    score: int
    hp: int
    flags: int


@stream(Op.RAID_STREAM)
class RoomNow(msgspec.Struct, frozen=True):
    """The record read."""

    tick: int
    hp: int
    remaining_ms: int
    phase: int
    flags: int
    pattern: int
    seats: tuple[SeatNow, ...]

    @classmethod
    def read(cls, record: bytes) -> "RoomNow":
        """Raises `struct.error` when the record is shorter than it must be."""
        tick, hp, remaining_ms, phase, flags, pattern, seats = HEAD.unpack_from(record)
        rows = tuple(
            SeatNow(*SEAT.unpack_from(record, HEAD.size + seat * SEAT.size))
            for seat in range(min(seats, SEATS_MAX))
        )
        return cls(tick, hp, remaining_ms, phase, flags, pattern, rows)
