"""Raids for the contract tests: numbers nobody has, rows with the fields that a test cares for.

Owns what the tests of raids and of the ranking share; judges nothing itself.
"""

import hashlib
import itertools
from collections.abc import Sequence

import msgspec
from tests.contract.stores import LATER_MS, Cluster

from mmo.state.grant import Bundle
from mmo.state.place import SessionOpened
from mmo.state.raid import (
    EndReason,
    RaidMember,
    RaidOpened,
    RaidScore,
    RaidSeatPrepared,
    RaidSettled,
    RaidState,
)
from mmo.store import LeaseRow, Store

KIND, MAP, DAY = 2, 3, 20261128
SERVER, OTHER = 31, 32
_numbers = itertools.count(2**40)
_seasons = itertools.count(1)


def season_number() -> int:
    """A season nobody has scores in."""
    return next(_seasons)


async def leased(store: Store, number: int = SERVER) -> int:
    """A new life of a raid server; its incarnation."""
    row = LeaseRow(number, "raid", f"raid-{number}", 0, "h", 1, "h", 2, True)
    return await store.lease(row, 600_000)


async def members(cluster: Cluster, store: Store, count: int = 2) -> list[RaidMember]:
    """New players with session epoch 1, one a seat."""
    seats = []
    for seat in range(count):
        user = await cluster.registered(store)
        assert await store.write(SessionOpened(user, 0, 1, "login", LATER_MS, 5))
        player = await store.load(user)
        assert player is not None
        name = player.head.name
        seats.append(RaidMember(user, seat, 1, 1, 900 + seat, name, 4 + seat, 20 + seat))
    return seats


def opening(seated: Sequence[RaidMember], incarnation: int, **fields: object) -> RaidOpened:
    """A raid with these seats."""
    row = RaidOpened(
        raid=next(_numbers),
        kind=KIND,
        map=MAP,
        seed=2**62 + 1,
        number=SERVER,
        incarnation=incarnation,
        season=0,
        generation=3,
        day=DAY,
        entries_max=0,
        members=tuple(seated),
        now_ms=50,
    )
    return msgspec.structs.replace(row, **fields)


async def opened(cluster: Cluster, store: Store, count: int = 2, **fields: object) -> RaidOpened:
    """A raid that is open at a living server."""
    seated = await members(cluster, store, count)
    row = opening(seated, await leased(store), **fields)
    assert await store.write(row)
    return row


async def raids_of(store: Store, row: RaidOpened, day: int = DAY) -> list[tuple[int, int]]:
    """The unsettled raid and the day's entries of its kind, member by member."""
    found = []
    for member in row.members:
        card = await store.card(member.user, day)
        assert card is not None
        found.append((card.raid, card.entries.count(row.kind)))
    return found


def bundle(gold: int) -> bytes:
    """A reward."""
    return msgspec.msgpack.encode(Bundle(gold=gold))


def result(row: RaidOpened, *scores: int, **fields: object) -> RaidSettled:
    """Everybody's score by seat, with one gold a point."""
    replay = b"\x00inputs\xff" + row.raid.to_bytes(8, "little")
    settled = RaidSettled(
        raid=row.raid,
        number=row.number,
        incarnation=row.incarnation,
        state=RaidState.FINISHED,
        reason=EndReason.DEFEATED,
        season=row.season,
        hp=0,
        scores=tuple(
            RaidScore(member.user, member.seat, score, bundle(score))
            for member, score in zip(row.members, scores, strict=False)
        ),
        inputs_hash=hashlib.sha256(replay).digest(),
        replay=replay,
        generation=3,
        now_ms=90,
    )
    return msgspec.structs.replace(settled, **fields)


def aborted(row: RaidOpened, **fields: object) -> RaidSettled:
    """Nobody played it."""
    fields = {"state": RaidState.ABORTED, "reason": EndReason.NEVER_STARTED, **fields}
    return result(row, inputs_hash=b"", replay=b"", **fields)


def seat_token(row: RaidOpened, seat: int, jti: str, **fields: object) -> RaidSeatPrepared:
    """PREPARE of a seat."""
    user = row.members[seat].user
    prepared = RaidSeatPrepared(row.raid, user, 1, jti, LATER_MS)
    return msgspec.structs.replace(prepared, **fields)
