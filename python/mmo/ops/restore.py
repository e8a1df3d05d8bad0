"""`restore`: what a player had at a moment, and the correction that brings it back.

Owns the difference between the log at that moment and the books now, and the grant that carries it;
never writes a head or an item: the player's owner claims the grant like any other. Called by
`mmo-cluster restore`.
"""

import hashlib
from collections import Counter

import msgspec

from mmo.content import Content
from mmo.ops.rebuild import read_log, replay, until
from mmo.state.grant import Bundle, BundleItem, Grant, SourceKind
from mmo.state.player import Player
from mmo.store.connection import Connection, Statement
from mmo.store.loading import read_player
from mmo.store.mysql_pool import MysqlPool
from mmo.store.presence import insert_grants, retried

_PENDING = Statement(f"""
    SELECT bundle FROM reward_grant FORCE INDEX (unclaimed)
    WHERE user_id = %s AND claimed_version IS NULL AND source_kind = {int(SourceKind.CORRECTION)}
""")
_HEAD = Statement("SELECT user_id FROM player_head FORCE INDEX (PRIMARY) WHERE user_id = %s")
_LOCK = Statement(f"{_HEAD.text} FOR UPDATE")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Bundle).decode


class Holding(msgspec.Struct, frozen=True):
    """What a player has, in the units of a correction. `exp`: all experience ever gained that his
    level and bar stand for."""

    version: int
    level: int
    exp: int
    gold: int
    cash: int
    mileage: int
    items: dict[str, int]  # "kind/code" or "kind/code+level of enhancement": count


class Restoration(msgspec.Struct, frozen=True):
    """The answer: then, now (with corrections that still wait), and the correction. `kept`: what he
    has beyond then and no correction takes away."""

    user: int
    name: str
    at_ms: int
    then: Holding
    now: Holding
    correction: Bundle
    kept: list[str]
    grant: Grant | None  # None: nothing to correct
    booked: bool = False  # by this call


async def restoration(
    pool: MysqlPool, content: Content, user: int, at_ms: int, *, book: bool
) -> Restoration | None:
    """What a restore to `at_ms` (unix time) corrects; None when there is no such player. `book`: it
    is booked too. What was then is read from the log, which stays as it is; now is read, and the
    grant inserted, under the lock of the head, so that no correction is claimed in between, or
    booked by another restore. Raises `LogIncomplete`, `StoreUnavailable`."""
    async with pool.take() as connection:
        if await connection.row(_HEAD, user) is None:
            return None
        then = holding(content, replay(user, until(await read_log(connection, user), at_ms)))

    async def corrected(connection: Connection) -> Restoration:
        await connection.begin()
        await connection.row(_LOCK, user)
        found = await _correction(connection, content, user, at_ms, then)
        booked = 0
        if book and found.grant is not None:
            booked = await insert_grants(connection, [found.grant])
        await connection.commit()
        return msgspec.structs.replace(found, booked=bool(booked))

    return await retried(pool, corrected)


async def _correction(
    connection: Connection, content: Content, user: int, at_ms: int, then: Holding
) -> Restoration:
    player = await read_player(connection, user)
    assert player is not None, "a head is never removed"
    waiting = [_decode(bytes(row[0])) for row in await connection.rows(_PENDING, user)]
    now = with_waiting(holding(content, player), waiting)
    correction, kept = difference(then, now)
    grant = None
    if correction != Bundle():
        body = _encode(correction)
        # The same correction of the same state is one grant, however often it is asked for.
        mark = int.from_bytes(hashlib.sha256(body).digest()[:3])
        grant = Grant(user, int(SourceKind.CORRECTION), player.head.version << 24 | mark, body)
    return Restoration(user, player.head.name, at_ms, then, now, correction, kept, grant)


def holding(content: Content, player: Player) -> Holding:
    """What a player has, counted; rented items, whose days go on, are left out."""
    needs = content.levels.exp_need
    growth, wallet = player.growth, player.wallet
    items: Counter[str] = Counter()
    for item in player.bag.items():
        if not item.expires_ms:
            items[_name(item.kind, item.code, item.enhance)] += item.count
    return Holding(
        *(player.head.version, growth.level, sum(needs[1 : growth.level]) + growth.exp),
        *(wallet.gold, wallet.cash, wallet.mileage),
        dict(sorted(items.items())),
    )


def _name(kind: int, code: int, enhance: int) -> str:
    return f"{kind}/{code}" + (f"+{enhance}" if enhance else "")


def _item(name: str, count: int) -> BundleItem:
    kind, _, rest = name.partition("/")
    code, _, enhance = rest.partition("+")
    return BundleItem(int(kind), int(code), count, int(enhance or 0))


def with_waiting(now: Holding, waiting: list[Bundle]) -> Holding:
    """What a player has once the corrections that wait for him are claimed."""
    items = Counter(now.items)
    for bundle in waiting:
        for item in bundle.items:
            items[_name(item.kind, item.code, item.enhance)] += item.count
    return msgspec.structs.replace(
        now,
        exp=now.exp + sum(bundle.exp for bundle in waiting),
        gold=now.gold + sum(bundle.gold for bundle in waiting),
        cash=now.cash + sum(bundle.cash for bundle in waiting),
        mileage=now.mileage + sum(bundle.mileage for bundle in waiting),
        items={name: count for name, count in sorted(items.items()) if count},
    )


def difference(then: Holding, now: Holding) -> tuple[Bundle, list[str]]:
    """The correction from `now` to `then`, and in words what it leaves: experience is never taken
    back."""
    items = []
    for name in sorted(set(then.items) | set(now.items)):
        count = then.items.get(name, 0) - now.items.get(name, 0)
        if count:
            items.append(_item(name, count))
    exp = then.exp - now.exp
    kept = [f"{-exp} experience more than then stays with him"] if exp < 0 else []
    bundle = Bundle(
        gold=then.gold - now.gold,
        cash=then.cash - now.cash,
        mileage=then.mileage - now.mileage,
        exp=max(0, exp),
        items=tuple(items),
    )
    return bundle, kept
