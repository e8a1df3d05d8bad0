"""Planted bugs of the store: fences, transactions, books and the cache, each broken in one place.

Owns the mutations only; each replaces one name of a module of `mmo.store` in this process. Called
by `planted`.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mmo.errors import StoreUnavailable
from mmo.state.bag import ItemBorn, ItemEnhanced
from mmo.state.grant import GrantClaimed
from mmo.state.place import Claim, PaymentBooked
from mmo.state.wallet import Wallet
from mmo.store import (
    PlayerCommit,
    Verdict,
    durable,
    economy,
    ledger,
    loading,
    players,
    presence,
    redis_cluster,
    relay,
    statements,
)
from mmo.store.connection import Conflict, Connection, Statement
from mmo.testing.virtual_loop import passes

HALF = 0.5
OFTEN = 0.1
SELDOM = 0.03
LATE_S = 0.4
EXPIRES_S = 1
AFTER_EXPIRY_S = 3.0
YEAR = 10_000  # of a day as YYYYMMDD
BETWEEN_S = 0.03


def no_epoch_test() -> None:
    """A commit is taken whoever owns the player."""

    async def lock(
        connection: Connection, members: list[PlayerCommit]
    ) -> tuple[dict[int, Verdict], list[PlayerCommit]]:
        users = msgspec.json.encode([commit.player.head.user for commit in members])
        found = await connection.row(statements.LOCK_HEADS, users)
        listed = msgspec.json.decode(found[0]) if found and found[0] else ()
        versions = {user: version for user, version, *_ in listed}
        verdicts: dict[int, Verdict] = {}
        for commit in members:
            seen = versions.get(commit.player.head.user)
            if seen is None:
                verdicts[commit.player.head.user] = Verdict.LOCKED
            elif seen != commit.player.head.version:
                verdicts[commit.player.head.user] = Verdict.STALE
        ready = [commit for commit in members if commit.player.head.user not in verdicts]
        return verdicts, ready

    swap(players, "_lock", lock)


def no_session_fence() -> None:
    """A login leaves the place and its epoch as they are."""
    text = statements.OPEN_SESSION.text
    changed = reworded(
        text, ("h.place_epoch = h.place_epoch + 1,", ""), ("h.place_number = 0,", "")
    )
    swap(statements, "OPEN_SESSION", changed)


def reservation_not_spent() -> None:
    """A claim leaves the reservation, so that its token lets in again."""
    old = "reservation_number = 0, reservation_jti = '', reservation_expires_ms = 0"
    changed = reworded(statements.CLAIM_RESERVED.text, (f", {old}", ""))
    swap(statements, "CLAIM_RESERVED", changed)


def old_session_resumes() -> None:
    """A session token lets in whatever session it is of."""
    whole = durable.DurableStore.claim

    async def claim(self: Any, shown: Claim) -> Any:
        if not shown.jti and not shown.lobby:
            async with self.pool.take() as connection:
                head = await loading.read_head(connection, shown.user)
            assert head is not None, "a token names a player"
            shown = msgspec.structs.replace(shown, session_epoch=head.session_epoch)
        return await whole(self, shown)

    swap(durable.DurableStore, "claim", claim)


def outage_taken_for_success() -> None:
    """A line that broke during a commit counts as a commit."""
    whole = durable.DurableStore.commit

    async def commit(self: Any, group: Sequence[PlayerCommit]) -> list[Verdict]:
        try:
            return await whole(self, group)
        except StoreUnavailable:
            return [Verdict.COMMITTED] * len(group)

    swap(durable.DurableStore, "commit", commit)


def _verdict_taken(for_success: Verdict) -> None:
    whole = durable.DurableStore.commit

    async def commit(self: Any, group: Sequence[PlayerCommit]) -> list[Verdict]:
        verdicts = await whole(self, group)
        return [Verdict.COMMITTED if one is for_success else one for one in verdicts]

    swap(durable.DurableStore, "commit", commit)


def lock_taken_for_success() -> None:
    """Whose row was locked elsewhere counts as committed."""
    _verdict_taken(Verdict.LOCKED)


def fence_taken_for_success() -> None:
    """Who was fenced counts as committed."""
    _verdict_taken(Verdict.FENCED)


def statement_only_rollback() -> None:
    """A statement that ran into a lock is left out and the rest committed."""
    whole = Connection.execute

    async def execute(self: Connection, statement: Statement, *values: Any) -> int:
        try:
            return await whole(self, statement, *values)
        except Conflict:
            return len(msgspec.json.decode(values[0])) if values else 0

    swap(Connection, "execute", execute)


def constraint_swallowed() -> None:
    """No rule looks at a balance, and the constraint that does counts as a commit."""
    swap(Wallet, "of", lambda self, currency: 1_000_000_000)
    _verdict_taken(Verdict.GUILTY)


def commit_in_two() -> None:
    """The head and the log are one transaction, money and items a second one."""
    whole = Connection.execute

    async def execute(self: Connection, statement: Statement, *values: Any) -> int:
        matched = await whole(self, statement, *values)
        if statement is statements.ADD_EVENTS:
            await self.commit()
            await passes(BETWEEN_S)
            await self.begin()
        return matched

    swap(Connection, "execute", execute)


def cache_before_commit() -> None:
    """Redis shows what MySQL does not have yet."""
    whole = durable.DurableStore.commit

    async def commit(self: Any, group: Sequence[PlayerCommit]) -> list[Verdict]:
        snapshots = []
        for one in group:
            snapshot = loading.snapshot_of(one.player)
            ahead = msgspec.structs.replace(snapshot, version=snapshot.version + 1)
            snapshots.append((one.player.user, ahead))
        await self.cache.put(snapshots)
        return await whole(self, group)

    swap(durable.DurableStore, "commit", commit)


def cache_without_fence() -> None:
    """A put counts whatever Redis holds, and some come late."""
    text = """
    redis.call('HSET', KEYS[1], 'version', ARGV[1], 'blob', ARGV[2])
    redis.call('EXPIRE', KEYS[1], ARGV[3])
    return tonumber(ARGV[1])
    """
    swap(redis_cluster, "PUT", text)
    _some_puts_come_late(LATE_S)


def fence_expires() -> None:
    """What Redis holds of a player is gone before every put of it came: an older one counts then,
    for nothing is there that it could be compared with."""
    text = redis_cluster.PUT.replace("ARGV[3]", str(EXPIRES_S))
    assert text != redis_cluster.PUT
    swap(redis_cluster, "PUT", text)
    _some_puts_come_late(AFTER_EXPIRY_S)


def _some_puts_come_late(late_s: float) -> None:
    """Now and then a put is done a second time, as one that was long on its way."""
    whole = redis_cluster.RedisCache.put
    late: set[asyncio.Task[Any]] = set()

    async def put(self: Any, snapshots: Sequence[Any]) -> dict[int, int]:
        held = await whole(self, snapshots)
        if snapshots and random.random() < OFTEN:

            async def again() -> None:
                await passes(late_s)
                await whole(self, snapshots)

            task = asyncio.get_running_loop().create_task(again())
            late.add(task)
            task.add_done_callback(late.discard)
        return held

    swap(redis_cluster.RedisCache, "put", put)


def dirty_mark_lost() -> None:
    """Nothing remembers that Redis may be behind."""
    swap(statements, "MARK_DIRTY", Statement("DO LENGTH(%s)"))


def cursor_outbox() -> None:
    """The relay reads marks by a cursor, the time of the newest that it saw: a mark that commits
    late with an earlier time, or could not be served when the cursor passed it, is never looked at
    again."""
    newer = Statement("""
        SELECT user_id, since_ms FROM cache_dirty WHERE since_ms > %s ORDER BY since_ms LIMIT %s
    """)
    rows, seen_ms = Connection.rows, 0

    async def by_cursor(
        self: Connection, statement: Statement, *values: Any
    ) -> list[tuple[Any, ...]]:
        nonlocal seen_ms
        if statement is not relay.OLD_MARKS:
            return await rows(self, statement, *values)
        found = await rows(self, newer, seen_ms, values[1])
        seen_ms = max([seen_ms, *(since_ms for _, since_ms in found)])
        return found

    now_ms = statements.NOW_MS
    at_once = reworded(relay.TAKE_MARKS.text, (f"{now_ms} - %s", f"{now_ms} + %s"))
    swap(Connection, "rows", by_cursor)
    swap(relay, "TAKE_MARKS", at_once)
    swap(relay, "RENEW_MARKS", Statement("DO LENGTH(%s)"))


def stale_cache_at_claim() -> None:
    """Whatever Redis holds of a player counts at a claim."""
    swap(loading, "fits", lambda snapshot, row: True)


def roll_not_logged() -> None:
    """An attempt changes the item and leaves no line."""
    kept = tuple(pair for pair in players.WRITES if pair[0] is not economy.ADD_ROLLS)
    swap(players, "WRITES", kept)


def roll_day_unpublished() -> None:
    """An attempt is logged under a day of which no key was published."""

    def enhanced(rows: Any, change: Any) -> None:
        _enhanced(rows, msgspec.structs.replace(change, day=change.day + YEAR))

    _enhanced = ledger.BUILDERS[ItemEnhanced]
    ledger.BUILDERS[ItemEnhanced] = enhanced


def event_lost() -> None:
    """Now and then the log of a group is not written."""
    _write_rows(statements.ADD_EVENTS, _sometimes_nothing)


def _sometimes_nothing(rows: Any) -> Any:
    return [] if random.random() < SELDOM else rows.events


def version_skipped() -> None:
    """A commit raises the version by two."""
    by_two = ("h.version = h.version + 1", "h.version = g.version+2")
    swap(statements, "MOVE_HEADS", reworded(statements.MOVE_HEADS.text, by_two))


def ledger_line_skipped() -> None:
    """Money moves now and then without a line."""

    def moved(rows: Any, change: Any) -> None:
        _coins(rows, change)
        if random.random() < SELDOM:
            rows.coins.pop()

    _coins = ledger.BUILDERS[_CoinsMoved]
    ledger.BUILDERS[_CoinsMoved] = moved


def amount_wrong() -> None:
    """Now and then one coin too few, in the balance and in the line alike."""

    def moved(rows: Any, change: Any) -> None:
        if random.random() < SELDOM and change.amount not in (0, 1):
            change = msgspec.structs.replace(change, amount=change.amount - 1)
        _coins(rows, change)

    _coins = ledger.BUILDERS[_CoinsMoved]
    ledger.BUILDERS[_CoinsMoved] = moved


def coins_unsigned() -> None:
    """A movement of coins is kept in 32 bits without a sign: who pays gets four billions."""

    def moved(rows: Any, change: Any) -> None:
        _coins(rows, msgspec.structs.replace(change, amount=change.amount % (1 << 32)))

    _coins = ledger.BUILDERS[_CoinsMoved]
    ledger.BUILDERS[_CoinsMoved] = moved


def item_lost() -> None:
    """Now and then an item is paid for, told, and never born."""

    def born(rows: Any, change: Any) -> None:
        if random.random() >= OFTEN:
            _born(rows, change)

    _born = ledger.BUILDERS[ItemBorn]
    ledger.BUILDERS[ItemBorn] = born


def item_change_lost() -> None:
    """What is moved, put on or taken off is logged and told, and its row stays every other time."""
    _write_rows(economy.CHANGE_ITEMS, _some_changes)


def _some_changes(rows: Any) -> Any:
    is_lost = random.random() < HALF
    return [row for row in rows.items_changed if not is_lost or row[_TRIES] != row[_TRIES_AFTER]]


def item_doubled() -> None:
    """Now and then a stack is born twice as high as told."""

    def born(rows: Any, change: Any) -> None:
        if random.random() < OFTEN:
            item = msgspec.structs.replace(change.item, count=change.item.count * 2)
            change = msgspec.structs.replace(change, item=item)
        _born(rows, change)

    _born = ledger.BUILDERS[ItemBorn]
    ledger.BUILDERS[ItemBorn] = born


def grant_pays_twice() -> None:
    """A grant that was claimed is found, and paid, by every sweep."""
    open_only = "AND {}.claimed_version IS NULL".format
    claim = reworded(statements.CLAIM_GRANTS.text, (open_only("r"), ""))
    of_open = (open_only("k"), ""), ("FORCE INDEX (unclaimed)", "")
    swap(statements, "CLAIM_GRANTS", claim)
    swap(statements, "READ_GRANTS", reworded(statements.READ_GRANTS.text, *of_open))
    swap(GrantClaimed, "apply", lambda self, player: None)
    kept = tuple(
        (statements.CLAIM_GRANTS if chosen.__code__.co_names == ("grants",) else statement, chosen)
        for statement, chosen in players.WRITES
    )
    swap(players, "WRITES", kept)


def order_booked_twice() -> None:
    """An order that is known already is booked under another number."""
    whole = presence._WRITERS[PaymentBooked]

    async def book(connection: Connection, row: Any) -> bool:
        if await whole(connection, row):
            return True
        again = msgspec.structs.replace(row, order=f"{row.order}-{random.randrange(10**9)}")
        return await whole(connection, again)

    presence._WRITERS[PaymentBooked] = book


def reworded(text: str, *words: tuple[str, str]) -> Statement:
    """The statement with the first of each pair replaced by the second, which must be there: a bug
    that changes nothing would be looked for in vain, or found by chance."""
    for old, new in words:
        assert old in text, f"{old!r} is not there any more"
        text = text.replace(old, new)
    return Statement(text)


def _write_rows(changed: Statement, rows_of: Callable[[Any], Any]) -> None:
    """One statement of a commit writes other rows than it should."""
    kept = tuple(
        (statement, rows_of if statement is changed else chosen)
        for statement, chosen in players.WRITES
    )
    swap(players, "WRITES", kept)


def swap(owner: Any, name: str, value: Any) -> None:
    """Replace a name of a module or class, which must be there."""
    assert hasattr(owner, name), f"{owner} has no {name} any more"
    setattr(owner, name, value)


_TRIES, _TRIES_AFTER = 5, 9
"""Columns of `economy.CHANGE_ITEMS`: attempts before and after; who tried to enhance has more."""

_CoinsMoved = next(kind for kind in ledger.BUILDERS if kind.__name__ == "CoinsMoved")
