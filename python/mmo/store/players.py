"""Group commit of players, in the five steps of design 6.

Owns the transaction and the verdict of every member; decides no rule, applies no change. Called by
`durable`. The steps: START TRANSACTION; lock the heads with SKIP LOCKED and compare; move the
heads; write the effects, every count checked; COMMIT.

A broken constraint rolls everything back and runs each half alone, down to the guilty member, so
that nobody pays for another's rows. A lock wait or deadlock runs the group again.
"""

from collections.abc import Callable, Sequence

import msgspec

from mmo.errors import StoreCorrupt, StoreUnavailable
from mmo.store import PlayerCommit, Verdict, economy
from mmo.store import statements as sql
from mmo.store.connection import Conflict, Connection, ConstraintBroken, Statement
from mmo.store.ledger import GroupRows, JsonRow
from mmo.store.mysql_pool import MysqlPool

UNWRITABLE = (
    *(TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError),
    msgspec.MsgspecError,
)
"""What a change of the wrong kind, or with the wrong values, raises on its way to rows."""

CONFLICT_TRIES_MAX = 5
"""Deadlocks and lock waits of one group before the call counts as an outage. Heads are taken with
SKIP LOCKED, so only what is not a head (a dirty mark, a grant) can be in the way, for
milliseconds."""

_json = msgspec.json.Encoder().encode
_DUPLICATE_KEY = 1062

WRITES: tuple[tuple[Statement, Callable[[GroupRows], list[JsonRow]]], ...] = (
    (sql.ADD_EVENTS, lambda rows: rows.events),
    (sql.ADD_COINS, lambda rows: rows.coins),
    (economy.ADD_ITEMS, lambda rows: rows.items_born),
    (economy.COUNT_ITEMS, lambda rows: rows.items_stacked),
    (economy.CHANGE_ITEMS, lambda rows: rows.items_changed),
    (economy.END_ITEMS, lambda rows: rows.items_died),
    (economy.EXPIRE_ITEMS, lambda rows: rows.items_expired),
    (sql.ADD_ITEM_LINES, lambda rows: rows.item_lines),
    (economy.ADD_ROLLS, lambda rows: rows.rolls),
    (economy.ADD_COUNTERS, lambda rows: rows.counters_new),
    (economy.RAISE_COUNTERS, lambda rows: rows.counters_raised),
    (economy.ADD_PASSES, lambda rows: rows.passes_new),
    (economy.MOVE_PASSES, lambda rows: rows.passes_moved),
    (economy.OPEN_LINES, lambda rows: rows.lines_opened),
    (economy.CLAIM_REWARDS, lambda rows: rows.claims),
    (sql.CLAIM_GRANTS, lambda rows: rows.grants),
)
"""Step 4: each statement must match exactly as many rows as it was given."""

CLOCKED = (economy.EXPIRE_ITEMS, economy.OPEN_LINES, economy.CLAIM_REWARDS)
"""Those that ask the database's clock: what it refuses is no fault of who wanted it."""


class _Unmatched(ConstraintBroken):
    """A guarded write of step 4 met fewer rows than it must: a member's rows do not fit the
    truth."""

    def __init__(self, statement: Statement, rows: int, matched: int) -> None:
        super().__init__(0, f"{matched} of {rows} rows matched: {statement.text[:80]}")
        self.is_refusal = statement in CLOCKED
        self.is_of_grants = statement is sql.CLAIM_GRANTS


class PlayerCommits:
    """Commits groups over the pool; counts verdicts."""

    def __init__(self, pool: MysqlPool) -> None:
        self._pool = pool
        self.counts: dict[str, float] = {"groups": 0, "members": 0, "conflicts": 0, "halvings": 0}
        self.counts |= {verdict.name.lower(): 0 for verdict in Verdict}

    async def commit(self, group: Sequence[PlayerCommit]) -> list[Verdict]:
        """The verdicts in the order of `group`. StoreUnavailable: nothing is known, run it
        again."""
        members = sorted(group, key=_user)
        users = [commit.player.head.user for commit in members]
        assert len(set(users)) == len(users), "a player is twice in a group"
        verdicts: dict[int, Verdict] = {}
        async with self._pool.take() as connection:
            await self._commit(connection, members, verdicts)
        self.counts["groups"] += 1
        self.counts["members"] += len(group)
        for verdict in verdicts.values():
            self.counts[verdict.name.lower()] += 1
        return [verdicts[commit.player.head.user] for commit in group]

    async def _commit(
        self,
        connection: Connection,
        members: list[PlayerCommit],
        verdicts: dict[int, Verdict],
    ) -> None:
        if not members:
            return
        for _ in range(CONFLICT_TRIES_MAX):
            try:
                verdicts.update(await _tried(connection, members))
                return
            except Conflict:
                self.counts["conflicts"] += 1
                await connection.rollback()
            except ConstraintBroken as broken:
                await connection.rollback()
                if len(members) == 1:
                    verdicts[_user(members[0])] = await _guilt(connection, members[0], broken)
                    return
                self.counts["halvings"] += 1
                half = len(members) // 2
                await self._commit(connection, members[:half], verdicts)
                await self._commit(connection, members[half:], verdicts)
                return
        raise StoreUnavailable("a group met other transactions' locks too often")


async def _tried(connection: Connection, members: list[PlayerCommit]) -> dict[int, Verdict]:
    """One try. What no rows can be made of, such as a change with a number missing, is a broken
    constraint: its member is found and it alone is guilty."""
    try:
        return await _try(connection, members)
    except UNWRITABLE as fault:
        raise ConstraintBroken(0, f"{type(fault).__name__}: {fault}") from fault


async def _try(connection: Connection, members: list[PlayerCommit]) -> dict[int, Verdict]:
    """Steps 1 to 5 once. Raises Conflict or ConstraintBroken with the transaction still open."""
    rows = GroupRows(members)  # before any lock is taken; nearly always all can go on
    await connection.begin()
    verdicts, ready = await _lock(connection, members)
    if not ready:
        await connection.rollback()
        return verdicts
    if verdicts:
        rows = GroupRows(ready)
    moved = await connection.execute(sql.MOVE_HEADS, _json(rows.heads))
    if moved != len(ready):
        await connection.rollback()
        raise StoreCorrupt(f"{moved} heads moved, {len(ready)} were locked with their versions")
    for statement, chosen in WRITES:
        of_statement = chosen(rows)
        if of_statement:
            matched = await connection.execute(statement, _json(of_statement))
            if matched != len(of_statement):
                raise _Unmatched(statement, len(of_statement), matched)
    await connection.execute(sql.MARK_DIRTY, _json(rows.dirty))
    await connection.commit()
    for commit in ready:
        verdicts[_user(commit)] = Verdict.COMMITTED
    return verdicts


async def _lock(
    connection: Connection, members: list[PlayerCommit]
) -> tuple[dict[int, Verdict], list[PlayerCommit]]:
    """Step 2: the verdict of each member that cannot go on, and those that can."""
    found = await connection.row(sql.LOCK_HEADS, _json([_user(commit) for commit in members]))
    listed = msgspec.json.decode(found[0]) if found and found[0] else ()
    heads = {user: (version, epoch, floor) for user, version, epoch, floor in listed}
    verdicts: dict[int, Verdict] = {}
    ready = []
    for commit in members:
        head = commit.player.head
        seen = heads.get(head.user)
        if seen is None:
            verdicts[head.user] = Verdict.LOCKED
        elif seen[1] != head.place_epoch:
            verdicts[head.user] = Verdict.FENCED
        elif seen[0] != head.version or 0 < commit.operation[0] < seen[2]:
            # Below the floor: a purge came after the player was loaded, and what he asks may have
            # been done and forgotten.
            verdicts[head.user] = Verdict.STALE
        else:
            ready.append(commit)
    return verdicts, ready


async def _guilt(connection: Connection, commit: PlayerCommit, broken: ConstraintBroken) -> Verdict:
    """A member that broke a constraint alone: STALE when its operation is already recorded (it ran
    before; the caller looks the answer up) or its grant was claimed before, as one is that was
    offered by a look older than the player; REFUSED by the database's clock, else GUILTY."""
    if isinstance(broken, _Unmatched) and broken.is_refusal:
        return Verdict.REFUSED
    if isinstance(broken, _Unmatched) and broken.is_of_grants:
        are_claimed = await connection.row(sql.ARE_CLAIMED, _json(GroupRows([commit]).grants))
        return Verdict.STALE if are_claimed else Verdict.GUILTY
    if broken.number == _DUPLICATE_KEY:
        epoch, counter = commit.operation
        if await connection.row(sql.FIND_OPERATION, _user(commit), epoch, counter):
            return Verdict.STALE
    return Verdict.GUILTY


def _user(commit: PlayerCommit) -> int:
    return commit.player.head.user
