"""Raids in the books: opened, entered, started, kept, settled once, taken over.

Owns the transactions of the rows in `state.raid` and what is read of raids; knows no rule of a
battle. Called by `presence` for rows and by `durable` for reads.

Every row may be asked again after a lost answer: one that is in the books exactly so already holds.
A row that breaks a constraint of the schema does not hold; it is logged, for it is a fault of ours.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from mmo.contract import PlayerCard
from mmo.state.change import Row
from mmo.state.grant import SourceKind
from mmo.state.raid import (
    OrphanRaid,
    RaidCheckpoint,
    RaidEntry,
    RaidMember,
    RaidOpened,
    RaidRecord,
    RaidSeatPrepared,
    RaidSettled,
    RaidStarted,
    RaidState,
    RaidTaken,
)
from mmo.store import raid_statements as sql
from mmo.store import ranking
from mmo.store.connection import Connection, ConstraintBroken
from mmo.store.statements import ADD_GRANTS

ORPHANS_MAX = 32
CHECKPOINT_BYTES_MAX = 262_144
REPLAY_BYTES_MAX = 1_048_576
"""Both are CHECKs of the schema."""

CHECKPOINTS_BYTES_MAX = 2_097_152
"""Of one statement; they travel as hex and the servers' packets end at 16 MiB. More go in the
next."""

_DUPLICATE_KEY = 1062

_log = logging.getLogger("mmo.store")
_json = msgspec.json.Encoder().encode
_decode_seats = msgspec.json.Decoder(
    list[tuple[int, int, int, int, int, str, int, int, int | None]]
).decode
_decode_worn = msgspec.json.Decoder(tuple[tuple[int, int, int], ...]).decode
_decode_kinds = msgspec.json.Decoder(list[int]).decode


async def _whole(
    connection: Connection, row: Row, work: Callable[[Connection, Any], Awaitable[bool]]
) -> bool:
    """Run `work` in a transaction: all of it when it holds, else nothing."""
    await connection.begin()
    try:
        held = await work(connection, row)
    except ConstraintBroken as broken:
        held = False
        if broken.number != _DUPLICATE_KEY:
            _log.error("%s breaks the schema: %s", type(row).__name__, broken)
    if held:
        await connection.commit()
    else:
        await connection.rollback()
    return held


async def opened(connection: Connection, row: RaidOpened) -> bool:
    """`RaidOpened`: the raid, its seats and the busy marks of its members."""
    if await _whole(connection, row, _open):
        return True
    found = await connection.row(
        sql.IS_OPENED, row.raid, row.kind, row.map, row.seed, row.number, row.incarnation
    )
    return found is not None


async def _open(connection: Connection, row: RaidOpened) -> bool:
    seats = [
        [row.raid, *msgspec.structs.astuple(member), row.day]
        for member in sorted(row.members, key=lambda member: member.user)
    ]
    listed = _json(seats)
    await connection.execute(
        sql.ADD_RAID,
        *(row.raid, row.kind, row.map, row.seed, row.number, row.incarnation, row.season),
        *(row.generation, row.day, row.now_ms),
    )
    # The busy marks come first: they let one raid of a player at a time count his entries.
    await connection.execute(sql.ADD_BUSY, listed)
    if row.entries_max and await connection.rows(sql.ENTRIES_USED_UP, listed, row.entries_max):
        return False
    return await connection.execute(sql.ADD_MEMBERS, listed) == len(seats) > 0


async def prepared(connection: Connection, row: RaidSeatPrepared) -> bool:
    """`RaidSeatPrepared`: one token more, the older is void."""
    matched = await connection.execute(
        sql.PREPARE_SEAT,
        *(row.jti, row.expires_ms, row.session_epoch, row.raid, row.user),
        *(row.raid, row.user, row.session_epoch),
    )
    return matched == 1


async def started(connection: Connection, row: RaidStarted) -> bool:
    """`RaidStarted`."""
    matched = await connection.execute(
        sql.START_RAID, row.now_ms, row.raid, row.number, row.incarnation, row.now_ms
    )
    return matched == 1


async def settled(connection: Connection, row: RaidSettled) -> bool:
    """`RaidSettled`: state, scores, grants, best scores, and the members are free."""
    return await _whole(connection, row, _settle)


async def _settle(connection: Connection, row: RaidSettled) -> bool:
    held = await connection.row(sql.LOCK_RAID, row.raid)
    if held is None or held[1:3] != (row.number, row.incarnation):
        return False
    if held[0] in (RaidState.FINISHED, RaidState.ABORTED):
        kept = set(await connection.rows(sql.READ_SCORES, row.raid))
        asked = (row.state, row.reason, row.hp, row.season, row.inputs_hash)
        was = (held[0], *held[3:6], bytes(held[6] or b""))
        return was == asked and kept == {(one.user, one.seat, one.score) for one in row.scores}
    scores = sorted(row.scores, key=lambda one: one.user)
    await connection.execute(
        sql.SETTLE_RAID,
        *(int(row.state), int(row.reason), row.season, row.hp, row.generation, row.now_ms),
        *(row.inputs_hash.hex() or None, row.replay.hex(), row.raid),
    )
    if scores:
        listed = [[row.raid, one.user, one.seat, one.score] for one in scores]
        if await connection.execute(sql.KEEP_SCORES, _json(listed)) != len(scores):
            return False
    grants = [
        [one.user, int(SourceKind.RAID), row.raid, one.bundle.hex()] for one in scores if one.bundle
    ]
    if grants:
        await connection.execute(ADD_GRANTS, _json(grants))
    if row.state is RaidState.ABORTED:
        await connection.execute(sql.REFUND_ENTRIES, row.raid)
    else:
        await ranking.raise_scores(connection, row)
    await connection.execute(sql.FREE_MEMBERS, row.raid)
    return True


async def taken(connection: Connection, row: RaidTaken) -> bool:
    """`RaidTaken`: the raid has another server from here on."""
    matched = await connection.execute(
        sql.TAKE_RAID,
        *(row.number, row.incarnation, row.raid, row.number_before, row.incarnation_before),
        *(row.number, row.number_before, row.incarnation_before),
    )
    if matched == 1:
        return True
    return await connection.row(sql.RUNS_RAID, row.raid, row.number, row.incarnation) is not None


WRITERS: dict[type[Row], Callable[[Connection, Any], Awaitable[bool]]] = {
    RaidOpened: opened,
    RaidSeatPrepared: prepared,
    RaidStarted: started,
    RaidSettled: settled,
    RaidTaken: taken,
}


async def card(connection: Connection, user: int, day: int) -> PlayerCard | None:
    """See `Store.card`."""
    row = await connection.row(sql.READ_CARD, day, user)
    if row is None:
        return None
    fields = list(row)
    fields[5] = _decode_worn(row[5]) if row[5] else ()
    fields[10] = tuple(sorted(_decode_kinds(row[10]))) if row[10] else ()
    return PlayerCard(*fields)


async def enter(connection: Connection, entry: RaidEntry) -> PlayerCard | None:
    """See `Store.raid_enter`."""
    matched = await connection.execute(
        sql.CLAIM_SEAT,
        *(entry.raid, entry.user, entry.jti, entry.now_ms),
        *(entry.raid, entry.number, entry.incarnation, entry.user, entry.session_epoch),
    )
    if matched != 1:
        return None
    day = await connection.row(sql.DAY_OF_RAID, entry.raid)
    found = await card(connection, entry.user, day[0] if day else 0)
    if found is None or found.session_epoch != entry.session_epoch:
        return None  # a login came in between: it wins
    return found


async def keep(connection: Connection, checkpoints: Sequence[RaidCheckpoint]) -> int:
    """See `Store.keep_checkpoints`. One that is longer than the schema takes is left out."""
    kept, bytes_now = 0, 0
    rows: list[list[int | str]] = []
    for one in sorted(checkpoints, key=lambda one: one.raid):
        if len(one.blob) > CHECKPOINT_BYTES_MAX:
            _log.error("the checkpoint of raid %d has %d bytes", one.raid, len(one.blob))
            continue
        if rows and bytes_now + len(one.blob) > CHECKPOINTS_BYTES_MAX:
            kept += await connection.execute(sql.KEEP_CHECKPOINTS, _json(rows))
            rows, bytes_now = [], 0
        rows.append([one.raid, one.incarnation, one.tick, one.blob.hex()])
        bytes_now += len(one.blob)
    if rows:
        kept += await connection.execute(sql.KEEP_CHECKPOINTS, _json(rows))
    return kept


async def orphans(connection: Connection, number: int, incarnation: int) -> list[OrphanRaid]:
    """See `Store.orphan_raids`."""
    found = []
    for row in await connection.rows(sql.ORPHANS, number, incarnation, number, ORPHANS_MAX):
        fields = list(row)
        fields[4], fields[9], fields[10] = RaidState(row[4]), _members(row[9])[0], bytes(row[10])
        found.append(OrphanRaid(*fields))
    return found


async def read(connection: Connection, raid: int) -> RaidRecord | None:
    """See `Store.raid`."""
    row = await connection.row(sql.READ_RAID, raid)
    if row is None:
        return None
    fields = list(row)
    fields[4] = RaidState(row[4])
    fields[11:14] = [*_members(row[11]), bytes(row[12] or b""), bytes(row[13])]
    return RaidRecord(*fields)


def _members(listed: str | None) -> tuple[tuple[RaidMember, ...], tuple[tuple[int, int], ...]]:
    """The members and the scores of those that have one, both by seat."""
    seats = sorted(_decode_seats(listed) if listed else (), key=lambda seat: seat[1])
    members = tuple(RaidMember(*seat[:8]) for seat in seats)
    return members, tuple((seat[0], seat[8]) for seat in seats if seat[8] is not None)
