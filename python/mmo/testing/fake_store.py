"""The store in dicts: the same protocol, the same verdicts, no server.

Owns a database that several `FakeStore`s (one a node) share, and the faults that a test asks for or
draws from a seed. Keeps the contract tests that the real store keeps; holds no rule. Used by tests
and by simulations.
"""

import random
from collections.abc import Iterable, Sequence

import msgspec

from mmo.contract import Credentials, PlayerCard, RankingView
from mmo.errors import OperatorError, StoreUnavailable
from mmo.state.bag import Bag, Item
from mmo.state.change import Row
from mmo.state.grant import Grant
from mmo.state.growth import Growth
from mmo.state.place import (
    AccountRegistered,
    Claim,
    LoginFailed,
    PaymentBooked,
    PlacePrepared,
    SessionClosed,
    SessionOpened,
)
from mmo.state.player import Head, OperationBook, OperationRecord, Player
from mmo.state.raid import OrphanRaid, RaidCheckpoint, RaidEntry, RaidRecord
from mmo.state.roll import DayKey
from mmo.state.score import Score
from mmo.state.wallet import Wallet
from mmo.store import Claimed, LeaseRow, PlayerCommit, Seat, Sweep, Verdict
from mmo.store.connection import Conflict
from mmo.store.ledger import MemberRows
from mmo.testing import fake_raids
from mmo.testing.fake_code import FakeCodeStore
from mmo.testing.fake_tables import (
    FakeAccount,
    FakeDatabase,
    FakeHead,
    FakeLease,
    book,
    is_allowed,
    is_in_time,
    put_rows,
    were_claimed,
)

__all__ = ["FakeAccount", "FakeDatabase", "FakeHead", "FakeLease", "FakeStore", "Faults"]

GRANTS_A_USER_MAX = 32


class Faults:
    """Chance of an outage around each call, from a seed: `before` it did anything, or `after` it
    did everything (a lost answer). `next_before` and `next_after` count calls that surely fail
    so."""

    def __init__(self, seed: int = 0, before: float = 0.0, after: float = 0.0) -> None:
        self._random = random.Random(seed)
        self.before = before
        self.after = after
        self.next_before = 0
        self.next_after = 0

    def strike_before(self) -> None:
        """Raises StoreUnavailable when this call is to fail without effect."""
        if self.next_before > 0:
            self.next_before -= 1
            raise StoreUnavailable("a fault before the call")
        if self.before and self._random.random() < self.before:
            raise StoreUnavailable("a fault before the call")

    def strike_after(self) -> None:
        """Raises StoreUnavailable when the answer of this call is to be lost."""
        if self.next_after > 0:
            self.next_after -= 1
            raise StoreUnavailable("a fault after the call")
        if self.after and self._random.random() < self.after:
            raise StoreUnavailable("a fault after the call")


class FakeStore(FakeCodeStore):
    """Implements `mmo.store.Store` on a `FakeDatabase`. One object is one process: `kill` is its
    kill -9."""

    def __init__(self, database: FakeDatabase | None = None, faults: Faults | None = None) -> None:
        self.database = database or FakeDatabase()
        self.faults = faults or Faults()
        self.groups: list[int] = []  # sizes, in order
        self._is_closed = False

    async def commit(self, group: Sequence[PlayerCommit]) -> list[Verdict]:
        """See `Store.commit`."""
        self._begin()
        users = [commit.player.head.user for commit in group]
        assert len(set(users)) == len(users), "a player is twice in a group"
        self.groups.append(len(group))
        verdicts = [self._commit(commit) for commit in group]
        self.faults.strike_after()
        return verdicts

    async def write(self, row: Row) -> bool:
        """See `Store.write`."""
        self._begin()
        held = self._register(row) if isinstance(row, AccountRegistered) else self._write(row)
        self.faults.strike_after()
        return held

    async def claim(self, claim: Claim) -> Claimed | None:
        """See `Store.claim`."""
        self._begin()
        head = self.database.heads.get(claim.user)
        if head is None or head.session_epoch != claim.session_epoch:
            return None
        previous = head.place_number
        if claim.jti:
            if (
                (head.reservation_number, head.reservation_jti) != (claim.number, claim.jti)
                or head.reservation_expires_ms <= claim.now_ms
            ):  # fmt: skip
                return None
        elif not claim.lobby and previous != claim.number:
            return Claimed(self._head(claim.user), None, previous)
        head.place_number = claim.number
        head.place_epoch += 1
        head.clear()
        self.faults.strike_after()
        player = self._player(claim.user)
        return Claimed(player.head, player, previous)

    async def load(self, user: int) -> Player | None:
        """See `Store.load`."""
        self._begin()
        return self._player(user) if user in self.database.heads else None

    async def find_operation(
        self, user: int, epoch: int, counter: int, settled: bool = False
    ) -> OperationRecord | None:
        """See `Store.find_operation`."""
        self._begin()
        if settled and user in self.database.locked:
            raise Conflict(f"user {user} is locked")
        return self.database.events.get((user, epoch, counter))

    async def payment(self, order: str) -> PaymentBooked | None:
        """See `Store.payment`."""
        self._begin()
        return self.database.payments.get(order)

    async def publish_keys(self, rows: Sequence[tuple[int, bytes]]) -> list[int]:
        """See `Store.publish_keys`."""
        self._begin()
        published = self.database.roll_keys
        for day, commitment in rows:
            published.setdefault(day, DayKey(day, commitment))
        return [day for day, commitment in rows if published[day].commitment != commitment]

    async def reveal_keys(self, rows: Sequence[tuple[int, bytes, int]]) -> int:
        """See `Store.reveal_keys`."""
        self._begin()
        published, new = self.database.roll_keys, 0
        for day, key, after_ms in rows:
            row = published.get(day)
            if row is not None and not row.key and self.database.clock_ms() >= after_ms:
                published[day] = row._replace(key=key)
                new += 1
        return new

    async def roll_keys(self, first_day: int, days_max: int) -> list[DayKey]:
        """See `Store.roll_keys`."""
        self._begin()
        known = sorted(day for day in self.database.roll_keys if day >= first_day)
        return [self.database.roll_keys[day] for day in known[:days_max]]

    async def credentials(self, name: str) -> Credentials | None:
        """See `Store.credentials`."""
        self._begin()
        account = self.database.accounts.get(name)
        if account is None:
            return None
        return Credentials(
            *(account.user, account.name, account.password_hash),
            self.database.heads[account.user].session_epoch,
            *(account.locked_until_ms, account.failures),
        )

    async def card(self, user: int, day: int) -> PlayerCard | None:
        """See `Store.card`."""
        self._begin()
        return fake_raids.card(self.database, user, day)

    async def raid_enter(self, entry: RaidEntry) -> PlayerCard | None:
        """See `Store.raid_enter`."""
        self._begin()
        entered = fake_raids.enter(self.database, entry)
        self.faults.strike_after()
        return entered

    async def keep_checkpoints(self, checkpoints: Sequence[RaidCheckpoint]) -> int:
        """See `Store.keep_checkpoints`."""
        self._begin()
        return fake_raids.keep(self.database, checkpoints)

    async def orphan_raids(self, number: int, incarnation: int) -> list[OrphanRaid]:
        """See `Store.orphan_raids`."""
        self._begin()
        return fake_raids.orphans(self.database, number, incarnation)

    async def raid(self, raid: int) -> RaidRecord | None:
        """See `Store.raid`."""
        self._begin()
        return fake_raids.record(self.database, raid)

    async def ranking_page(self, season: int, user: int, start: int, count: int) -> RankingView:
        """See `Store.ranking_page`."""
        self._begin()
        return fake_raids.page(self.database, season, user, start, count)

    async def ranking_around(self, season: int, user: int, around: int) -> RankingView:
        """See `Store.ranking_around`."""
        self._begin()
        return fake_raids.around(self.database, season, user, around)

    async def ranking_of(self, season: int, user: int, users: Sequence[int]) -> RankingView:
        """See `Store.ranking_of`."""
        self._begin()
        return fake_raids.of_users(self.database, season, user, users)

    async def sweep(self, users: Sequence[int]) -> Sweep:
        """See `Store.sweep`."""
        self._begin()
        known = [user for user in sorted(set(users)) if user in self.database.heads]
        seats = []
        for user in known:
            head = self.database.heads[user]
            seats.append(Seat(user, head.session_epoch, head.place_number, head.place_epoch))
        unclaimed = sorted(self.database.grants.keys() - self.database.claimed.keys())
        grants: list[Grant] = []
        for user in known if unclaimed else ():
            open_keys = [key for key in unclaimed if key[0] == user]
            grants += [
                Grant(*key, self.database.grants[key]) for key in open_keys[:GRANTS_A_USER_MAX]
            ]
        return Sweep(tuple(seats), tuple(grants))

    async def grant(self, grants: Sequence[Grant]) -> int:
        """See `Store.grant`."""
        self._begin()
        new = 0
        for grant in grants:
            key = (grant.user, grant.source_kind, grant.source_id)
            if key not in self.database.grants:
                self.database.grants[key] = grant.bundle
                new += 1
        self.faults.strike_after()
        return new

    async def lease(self, row: LeaseRow, lease_ms: int) -> int:
        """See `Store.lease`."""
        self._begin()
        database = self.database
        held = database.leases.get(row.number)
        now_ms = database.clock_ms()
        if row.incarnation:
            if held is None or held.row.incarnation != row.incarnation:
                raise _held(row.number, held)
            incarnation = row.incarnation
        else:
            is_alive = held is not None and held.until_ms > now_ms
            if held is not None and is_alive and held.holder not in (None, self):
                raise _held(row.number, held)
            database.incarnation += 1
            incarnation = database.incarnation
        kept = msgspec.structs.replace(row, incarnation=incarnation)
        database.leases[row.number] = FakeLease(kept, now_ms + lease_ms, self)
        return incarnation

    async def leave(self, number: int, incarnation: int) -> None:
        """See `Store.leave`."""
        self._begin()
        held = self.database.leases.get(number)
        if held is not None and held.row.incarnation == incarnation:
            held.until_ms, held.holder = 0, None

    async def leases(self) -> list[LeaseRow]:
        """See `Store.leases`."""
        self._begin()
        now_ms = self.database.clock_ms()
        return [
            msgspec.structs.replace(held.row, alive=held.until_ms > now_ms)
            for _, held in sorted(self.database.leases.items())
        ]

    async def online(self, user: int, state: str, number: int) -> None:
        """See `Store.online`."""
        if state != "offline":
            self.database.online[user] = (state, number)
        elif self.database.online.get(user, ("", 0))[1] == number:
            del self.database.online[user]

    def stats(self) -> dict[str, float]:
        """See `Store.stats`."""
        return {"commit_groups": len(self.groups), "commit_members": sum(self.groups)}

    async def close(self) -> None:
        """See `Store.close`."""
        for held in self.database.leases.values():
            if held.holder is self:
                held.until_ms, held.holder = 0, None
        self._is_closed = True

    def kill(self) -> None:
        """The process is gone: its lease stays until it ends, its number is free at once."""
        for held in self.database.leases.values():
            if held.holder is self:
                held.holder = None
        self._is_closed = True

    def _begin(self) -> None:
        if self._is_closed or self.database.is_down:
            raise StoreUnavailable("the store is away")
        self.faults.strike_before()

    def _lose_answer(self) -> None:
        self.faults.strike_after()

    def _commit(self, commit: PlayerCommit) -> Verdict:
        database, seen = self.database, commit.player.head
        head = database.heads.get(seen.user)
        if head is None or seen.user in database.locked:
            return Verdict.LOCKED
        if head.place_epoch != seen.place_epoch:
            return Verdict.FENCED
        operation = (seen.user, *commit.operation)
        is_purged = 0 < commit.operation[0] < head.operation_floor_epoch
        if head.version != seen.version or is_purged or operation in database.events:
            return Verdict.STALE
        rows = MemberRows(commit)
        coins = (
            head.coins[0] + rows.coins_moved[0],
            head.coins[1] + rows.coins_moved[1],
            head.coins[2] + rows.coins_moved[2],
        )
        if not is_allowed(database, rows, coins):
            return Verdict.STALE if were_claimed(database, rows) else Verdict.GUILTY
        if not is_in_time(database, rows):
            return Verdict.REFUSED
        head.version += 1
        head.level, head.exp, head.coins = rows.level, rows.exp, coins
        head.score_best = rows.score_best
        put_rows(database, rows)
        database.events[operation] = OperationRecord(
            *commit.operation, commit.request_hash, commit.answer_opcode, commit.answer
        )
        database.decided_by[operation] = commit.generation
        database.versions.setdefault(seen.user, []).append(head.version)
        return Verdict.COMMITTED

    def _register(self, row: AccountRegistered) -> bool:
        database = self.database
        if any(name.rstrip(" ") == row.name.rstrip(" ") for name in database.accounts):
            return False
        user = len(database.accounts) + 1
        database.accounts[row.name] = FakeAccount(user, row.name, row.password_hash)
        database.heads[user] = FakeHead()
        return True

    def _write(self, row: Row) -> bool:
        if isinstance(row, PaymentBooked):
            return book(self.database, row)
        of_raids = fake_raids.write(self.database, row)
        if of_raids is not None:
            return of_raids
        user: int = getattr(row, "user", 0)
        head = self.database.heads.get(user)
        account = next((a for a in self.database.accounts.values() if a.user == user), None)
        if head is None or account is None:
            return False
        if isinstance(row, LoginFailed):
            if row.locked_until_ms:
                account.failures = row.failures
                account.locked_until_ms = max(account.locked_until_ms, row.locked_until_ms)
            else:
                account.failures = max(account.failures + 1, row.failures)
            return True
        assert isinstance(row, (SessionOpened, PlacePrepared, SessionClosed)), type(row).__name__
        if head.session_epoch != row.session_epoch:
            return False
        owner = row.owner_number if isinstance(row, PlacePrepared) else 0
        if owner not in (0, head.place_number):
            return False
        if isinstance(row, (SessionOpened, SessionClosed)):
            head.session_epoch += 1
            head.place_epoch += 1
            head.leave()
        if isinstance(row, SessionOpened):
            head.last_login_ms, head.login_ms = head.login_ms, row.now_ms
            account.failures = account.locked_until_ms = 0
            head.reservation_number = row.center_number
        elif isinstance(row, PlacePrepared):
            head.reservation_number = row.target_number
        if isinstance(row, (SessionOpened, PlacePrepared)):
            head.reservation_jti, head.reservation_expires_ms = row.jti, row.expires_ms
        return True

    def _head(self, user: int) -> Head:
        head = self.database.heads[user]
        name = next(a.name for a in self.database.accounts.values() if a.user == user)
        return Head(
            *(user, name, head.version, head.session_epoch, head.place_number, head.place_epoch),
            head.operation_floor_epoch,
            last_login_ms=head.last_login_ms,
            login_ms=head.login_ms,
        )

    def _player(self, user: int) -> Player:
        head = self.database.heads[user]
        recorded = [r for key, r in self.database.events.items() if key[0] == user]
        operations = OperationBook([record for record in recorded if record.epoch > 0])
        for record in recorded:
            if record.epoch:
                highest = operations.highest.get(record.epoch, record.counter)
                operations.highest[record.epoch] = max(highest, record.counter)
        player = Player(
            self._head(user),
            Growth(head.level, head.exp),
            Wallet(*head.coins),
            Bag(_sorted(self.database.items.get(user, {}).values())),
            Score(head.score_best),
            operations,
        )
        player.counters = dict(self.database.counters.get(user, {}))
        player.pass_progress = dict(self.database.passes.get(user, {}))
        return player


def _sorted(items: Iterable[Item]) -> list[Item]:
    return sorted(items, key=lambda item: item.uid)


def _held(number: int, held: FakeLease | None) -> OperatorError:
    who = f"{held.row.name} ({held.row.role} on {held.row.host})" if held else "nobody"
    return OperatorError(
        "E0702",
        f"server number {number} is held by {who}, which is alive",
        "give this server another number, or stop the other process",
    )
