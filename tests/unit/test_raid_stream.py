"""The stream's record: its bytes are what any client may rely on."""

import struct

import pytest

from mmo.content import load_content
from mmo.state.raid_battle import Fighter, Presence
from mmo.systems.raid_battle import begin
from mmo.systems.raid_stream import record_of
from mmo.wire.codec import stream, stream_of
from mmo.wire.opcode import Op
from mmo.wire.raid_stream import FALLEN, GUARDED, HEAD, HERE, LEFT, SEAT, SHIELD, RoomNow

RAIDS = load_content().raids


def record() -> bytes:
    """Tick 70 of a battle in which one stands, one is guarded, one lies, one left."""
    arena = RAIDS.arenas[2, 1]
    battle = begin(arena, 1, tuple(Fighter(1, 6, True) for _ in range(4)))
    battle.tick, battle.hp, battle.shield_until = 70, 1_000, 70
    battle.score = [1, 2, 70_000, 4]
    battle.guard_until[1] = 70
    battle.fighter_hp[2], battle.stand_at[2] = 0, 80
    battle.presence[3] = Presence.LEFT
    battle.due = [78, 200]
    return record_of(arena, battle)


def test_record_when_packed_then_is_80_bytes_little_endian() -> None:
    said = record()
    assert len(said) == HEAD.size + 8 * SEAT.size == 80
    assert said[:12] == struct.pack("<III", 70, 1_000, (400 - 70) * 50)
    assert said[12:16] == bytes([0, SHIELD, 1, 4])
    assert said[32:40] == struct.pack("<IHBx", 70_000, 0, HERE | FALLEN)
    assert said[48:] == bytes(32)


def test_record_when_read_then_says_what_was_packed() -> None:
    now = RoomNow.read(record())
    assert (now.tick, now.hp, now.remaining_ms) == (70, 1_000, 16_500)
    assert [seat.flags for seat in now.seats] == [HERE, HERE | GUARDED, HERE | FALLEN, LEFT]
    assert [seat.score for seat in now.seats] == [1, 2, 70_000, 4]
    with pytest.raises(struct.error):
        RoomNow.read(record()[:20])


def test_record_when_declared_then_is_found_by_its_opcode_and_only_once() -> None:
    assert stream_of(Op.RAID_STREAM) is RoomNow
    assert stream_of(Op.HIT_OK) is None
    with pytest.raises(AssertionError, match="two records"):
        stream(Op.RAID_STREAM)(RoomNow)
