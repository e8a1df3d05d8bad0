"""The stores of a simulation: the fake database with time, faults and a crash at every effect.

Owns how long a call takes, whether its answer is lost, and the moments at which the process may
die: before the effect and between the effect and the answer. A cache beside it repeats what was
committed, late, and may fall back to older versions; a claim uses it as the real store does, only
when it fits the head. Decides no fault: `Weather` is filled by `simulation` from its seed.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from mmo.errors import StoreUnavailable
from mmo.state.bag import Bag
from mmo.state.counters import Counter
from mmo.state.player import Player, Snapshot
from mmo.store import Claimed, PlayerCommit, Verdict
from mmo.store.loading import fits, snapshot_of
from mmo.testing.fake_store import FakeDatabase, FakeStore
from mmo.testing.virtual_loop import passes

PLAIN = (
    "write", "load", "find_operation", "payment", "credentials", "sweep", "grant", "lease",
    "leases", "card", "raid_enter", "keep_checkpoints", "orphan_raids", "raid", "ranking_page",
    "ranking_around", "ranking_of", "code", "bundle", "add_bundle", "switch_code",
)  # fmt: skip
"""Calls of the store to which nothing but time and faults is added. Keys of rolls and what a
process says at its end go straight through."""

WAITING = ("claim", "write")
"""Calls that change the head of the player whom their first argument names, under its lock."""

LOCK_LOOK_S, LOCK_LOOKS_MAX = 0.02, 100
CALL_S = (0.0003, 0.006)
CALL_MAX_S = 3.0
PUT_S = (0.001, 0.2)
VERSIONS_KEPT = 6


class Weather:
    """What goes wrong, as chances per call and as windows of time, all by one seed."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.before = 0.0  # a call fails without effect
        self.after = 0.0  # a call has its effect and its answer is lost
        self.late = 0.0  # the answer is lost, and the effect comes after that
        self.slow = 0.0  # a call takes up to its deadline
        self.crash = 0.0  # the process dies around the effect of a call
        self.database_back_at = 0.0  # until then every call fails

    def calm(self) -> None:
        """Nothing goes wrong any more."""
        self.before = self.after = self.late = self.slow = self.crash = 0.0
        self.database_back_at = 0.0


class SimCache:
    """Redis: the last versions of each player, of which a failover may bring back an older one."""

    def __init__(self) -> None:
        self.kept: dict[int, list[Snapshot]] = {}

    def put(self, user: int, snapshot: Snapshot) -> None:
        """Accepted only if it is newer."""
        versions = self.kept.setdefault(user, [])
        if not versions or snapshot.version > versions[-1].version:
            versions.append(snapshot)
            del versions[:-VERSIONS_KEPT]

    def read(self, user: int) -> Snapshot | None:
        """What it shows now."""
        versions = self.kept.get(user)
        return versions[-1] if versions else None

    def fall_back(self, rng: random.Random) -> None:
        """A replica that had not heard everything takes over, or all is gone."""
        if rng.random() < 0.2:
            self.kept.clear()
        for versions in self.kept.values():
            del versions[rng.randrange(1, len(versions) + 1) :]


class SimStore(FakeStore):
    """One process's way to the stores. `is_still`: nothing of the process goes on before `alive`,
    which is awaited then (it stands still, or for ever); `die`: the process ends here."""

    def __init__(
        self,
        database: FakeDatabase,
        cache: SimCache,
        weather: Weather,
        alive: Callable[[], Awaitable[None]],
        die: Callable[[], None],
    ) -> None:
        super().__init__(database)
        self._cache = cache
        self._weather = weather
        self.is_still = False
        self.away_until = 0.0  # for this process alone the database does not answer
        self._alive = alive
        self._die = die
        self._late: set[asyncio.Task[None]] = set()
        self._server = FakeStore(database)
        self._behind = FakeStore(database)  # goes on when the process does not

    def kill(self) -> None:
        """The process is gone."""
        super().kill()
        self.is_still = True
        self._server.kill()

    async def _called(
        self, name: str, arguments: tuple[Any, ...], users: Sequence[int] = (), **named: Any
    ) -> Any:
        """One call of the store, with everything that may befall it."""
        weather = self._weather
        chance = weather.rng.random
        high_s = 1.5 * CALL_MAX_S if weather.slow and chance() < weather.slow else CALL_S[1]
        takes_s = CALL_S[0] + (high_s - CALL_S[0]) * chance()
        is_late, takes_s = takes_s > CALL_MAX_S, min(takes_s, CALL_MAX_S)
        await passes(takes_s / 2)
        if self.is_still:
            await self._alive()
        if asyncio.get_running_loop().time() < max(weather.database_back_at, self.away_until):
            raise StoreUnavailable("the database is away")
        if self.database.locked and name in WAITING:
            await self._unlocked(getattr(arguments[0], "user", 0))
        fate = chance()
        if fate < weather.crash:
            await self._end()
        if fate < weather.crash + weather.before:
            raise StoreUnavailable("a fault before the effect")
        if users and chance() < weather.late:
            self._soon(name, arguments, users)
            raise StoreUnavailable("the line broke during the commit")
        result = await getattr(self._server, name)(*arguments, **named)
        if chance() < weather.crash:
            await self._end()
        await passes(takes_s / 2)
        if self.is_still:
            await self._alive()
        if is_late or chance() < weather.after:
            raise StoreUnavailable("a fault after the effect")
        return result

    async def _unlocked(self, user: int) -> None:
        """A lock of the player's head is waited for, as long as the server has it waited for."""
        for _ in range(LOCK_LOOKS_MAX):
            if user not in self.database.locked:
                return
            await passes(LOCK_LOOK_S)
        raise StoreUnavailable("a row stayed locked by other transactions")

    async def _end(self) -> None:
        self._die()
        await asyncio.get_running_loop().create_future()  # nothing of a dead process goes on

    def _soon(self, name: str, arguments: tuple[Any, ...], users: Sequence[int]) -> None:
        """The transaction of a line that broke goes on for a little and holds its rows."""
        held = [user for user in users if user not in self.database.locked]
        self.database.locked.update(held)

        async def later() -> None:
            await passes(0.3 * self._weather.rng.random())
            self.database.locked.difference_update(held)
            if self._weather.rng.random() < 0.7:
                await getattr(self._behind, name)(*arguments)

        task = asyncio.get_running_loop().create_task(later())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def commit(self, group: Sequence[PlayerCommit]) -> list[Verdict]:
        """See `Store.commit`; what was committed is put into the cache a little later."""
        # The rows of a transaction are those of its beginning, whatever the process does after.
        verdicts: list[Verdict] = await self._called(
            "commit", (group,), [one.player.user for one in group]
        )
        for one, verdict in zip(group, verdicts, strict=True):
            if verdict is Verdict.COMMITTED:
                self._put_later(one.player, one.player.head.version + 1)
        return verdicts

    def _put_later(self, player: Player, version: int) -> None:
        low, high = PUT_S

        def put() -> None:
            if self._is_closed and self._weather.rng.random() < 0.5:
                return  # it died with its process
            if player.head.version >= version:
                self._cache.put(player.user, snapshot_of(player))

        asyncio.get_running_loop().call_later(
            low + (high - low) * self._weather.rng.random() ** 3, put
        )

    async def claim(self, claim: Any) -> Claimed | None:
        """See `Store.claim`; what the player owns is read after the claim, when another may have
        come in between, and comes from the cache when it fits the head."""
        claimed: Claimed | None = await self._called("claim", (claim,))
        if claimed is not None and claimed.player is not None:
            now = self._server._player(claim.user)
            if now.head.session_epoch != claim.session_epoch:
                return None
            if now.head.place_epoch != claimed.player.head.place_epoch:
                return Claimed(now.head, None, claimed.previous_number)
            claimed = Claimed(now.head, now, claimed.previous_number)
            snapshot = self._cache.read(claim.user)
            if snapshot is not None and fits(snapshot, _row(now)):
                _use(snapshot, now)
        return claimed


def _through(name: str) -> Callable[..., Awaitable[Any]]:
    """A method of the store that takes time and may fail, and does what the fake's does."""

    def called(self: SimStore, *arguments: Any, **named: Any) -> Awaitable[Any]:
        return self._called(name, arguments, **named)

    called.__doc__ = f"See `Store.{name}`."
    return called


for _name in PLAIN:
    setattr(SimStore, _name, _through(_name))


def _row(player: Player) -> list[Any]:
    """The head row as `fits` reads it."""
    head, growth, wallet = player.head, player.growth, player.wallet
    return [
        head.user, head.name, head.version, 0, 0, 0, 0, 0, 0,
        growth.level, growth.exp, wallet.gold, wallet.cash, wallet.mileage, player.score.best,
    ]  # fmt: skip


def _use(snapshot: Snapshot, player: Player) -> None:
    player.bag = Bag(list(snapshot.items))
    player.counters = {
        (kind, key): Counter(window, count) for kind, key, window, count in snapshot.counters or ()
    }
    player.pass_progress = {one.pass_id: one for one in snapshot.passes or ()}
