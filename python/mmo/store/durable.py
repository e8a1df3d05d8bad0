"""The real store: MySQL decides, Redis repeats. Composes the parts and gives every call a deadline.

Owns the life of the pool, the lease connection, the cache and the relay; holds no rule and no
statement. Made by `open_store`; called by the node.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from mmo.contract import Credentials, PlayerCard, RankingView
from mmo.errors import StoreError, StoreUnavailable
from mmo.state.change import Row
from mmo.state.grant import Grant
from mmo.state.place import Claim, PaymentBooked
from mmo.state.player import OperationRecord, Player
from mmo.state.raid import OrphanRaid, RaidCheckpoint, RaidEntry, RaidRecord, RaidSettled
from mmo.state.roll import DayKey
from mmo.store import (
    Claimed,
    CodeRecord,
    CodeRow,
    CodeSwitch,
    LeaseRow,
    Meanwhile,
    PlayerCommit,
    Sweep,
    Verdict,
    code,
    janitor,
    loading,
    migrate,
    payments,
    presence,
    raids,
    roll_keys,
)
from mmo.store.deadline import Deadline
from mmo.store.leases import Leases
from mmo.store.loops import end_loops, start_loop
from mmo.store.mysql_pool import MysqlPool
from mmo.store.players import PlayerCommits
from mmo.store.ranking_relay import RankingRelay
from mmo.store.redis_cluster import RedisCache
from mmo.store.relay import Relay
from mmo.store.sampler import Sampler
from mmo.store.settings import StoreSettings

_log = logging.getLogger("mmo.store")


class DurableStore:
    """Implements `mmo.store.Store` on MySQL (or MariaDB) and Redis Cluster."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self.pool = MysqlPool(settings)
        self.cache = RedisCache(settings)
        self.relay = Relay(settings, self.pool, self.cache)
        self.ranking = RankingRelay(settings, self.pool, self.cache)
        self.sampler = Sampler(settings, self.pool, self.cache)
        self._leases = Leases(settings)
        self._commits = PlayerCommits(self.pool)
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, settings: StoreSettings) -> "DurableStore":
        """Prove the database answers with the schema of this code, then start the relay."""
        store = cls(settings)
        try:
            async with store._deadline(), store.pool.take() as connection:
                await migrate.check(connection)
        except BaseException:
            await store.pool.close()
            raise
        store.relay.start()
        store.ranking.start()
        store._tasks.append(start_loop(store._watch()))
        if settings.redis_nodes and settings.sample_every_ms:
            store._tasks.append(start_loop(store._sample()))
        return store

    async def commit(self, group: Sequence[PlayerCommit]) -> list[Verdict]:
        """See `Store.commit`."""
        async with self._deadline():
            verdicts = await self._commits.commit(group)
        for commit, verdict in zip(group, verdicts, strict=True):
            if verdict is Verdict.COMMITTED:
                self.relay.offer(commit.player, commit.player.head.version + 1)
                self.sampler.saw(commit.player.user)
        return verdicts

    async def write(self, row: Row) -> bool:
        """See `Store.write`."""
        async with self._deadline():
            held = await presence.write(self.pool, row)
        if held and isinstance(row, RaidSettled):
            await self.ranking.raise_scores(row)
        return held

    async def claim(self, claim: Claim) -> Claimed | None:
        """See `Store.claim`. The snapshot is asked for while the claim runs: it costs no time."""
        reading = asyncio.get_running_loop().create_task(self.cache.read(claim.user))
        try:
            async with self._deadline():
                outcome = await presence.retried(
                    self.pool, lambda connection: presence.claim(connection, claim)
                )
                if outcome is None:
                    return None
                owned, previous, place_epoch = outcome
                async with self.pool.take() as connection:
                    if not owned:
                        head = await loading.read_head(connection, claim.user)
                        return None if head is None else Claimed(head, None, previous)
                    player = await loading.read_player(connection, claim.user, await reading)
        finally:
            reading.cancel()
        assert player is not None, "a claimed head has an account"
        if player.head.session_epoch != claim.session_epoch:
            return None  # a login came in between: it wins
        if player.head.place_epoch != place_epoch:
            # So did another claim of the session. Two servers must never hold the same epoch.
            return Claimed(player.head, None, previous)
        return Claimed(player.head, player, previous)

    async def load(self, user: int) -> Player | None:
        """See `Store.load`."""
        async with self._deadline(), self.pool.take() as connection:
            return await loading.read_player(connection, user)

    async def find_operation(
        self, user: int, epoch: int, counter: int, settled: bool = False
    ) -> OperationRecord | None:
        """See `Store.find_operation`."""
        async with self._deadline(), self.pool.take() as connection:
            return await loading.find_operation(connection, user, epoch, counter, settled)

    async def payment(self, order: str) -> PaymentBooked | None:
        """See `Store.payment`."""
        async with self._deadline(), self.pool.take() as connection:
            return await payments.find(connection, order)

    async def publish_keys(self, rows: Sequence[tuple[int, bytes]]) -> list[int]:
        """See `Store.publish_keys`."""
        async with self._deadline():
            return await presence.retried(
                self.pool,
                lambda connection: roll_keys.publish(connection, rows),
                again_on_duplicate=True,
            )

    async def reveal_keys(self, rows: Sequence[tuple[int, bytes, int]]) -> int:
        """See `Store.reveal_keys`."""
        async with self._deadline():
            return await presence.retried(
                self.pool, lambda connection: roll_keys.reveal(connection, rows)
            )

    async def roll_keys(self, first_day: int, days_max: int) -> list[DayKey]:
        """See `Store.roll_keys`."""
        async with self._deadline(), self.pool.take() as connection:
            return await roll_keys.read(connection, first_day, days_max)

    async def credentials(self, name: str) -> Credentials | None:
        """See `Store.credentials`."""
        async with self._deadline(), self.pool.take() as connection:
            return await presence.credentials(connection, name)

    async def card(self, user: int, day: int) -> PlayerCard | None:
        """See `Store.card`."""
        async with self._deadline(), self.pool.take() as connection:
            return await raids.card(connection, user, day)

    async def raid_enter(self, entry: RaidEntry) -> PlayerCard | None:
        """See `Store.raid_enter`."""
        async with self._deadline():
            return await presence.retried(
                self.pool, lambda connection: raids.enter(connection, entry)
            )

    async def keep_checkpoints(self, checkpoints: Sequence[RaidCheckpoint]) -> int:
        """See `Store.keep_checkpoints`."""
        async with self._deadline():
            return await presence.retried(
                self.pool, lambda connection: raids.keep(connection, checkpoints)
            )

    async def orphan_raids(self, number: int, incarnation: int) -> list[OrphanRaid]:
        """See `Store.orphan_raids`."""
        async with self._deadline(), self.pool.take() as connection:
            return await raids.orphans(connection, number, incarnation)

    async def raid(self, raid: int) -> RaidRecord | None:
        """See `Store.raid`."""
        async with self._deadline(), self.pool.take() as connection:
            return await raids.read(connection, raid)

    async def ranking_page(self, season: int, user: int, start: int, count: int) -> RankingView:
        """See `Store.ranking_page`."""
        async with self._deadline():
            return await self.ranking.page(season, user, start, count)

    async def ranking_around(self, season: int, user: int, around: int) -> RankingView:
        """See `Store.ranking_around`."""
        async with self._deadline():
            return await self.ranking.around(season, user, around)

    async def ranking_of(self, season: int, user: int, users: Sequence[int]) -> RankingView:
        """See `Store.ranking_of`."""
        async with self._deadline():
            return await self.ranking.of_users(season, user, users)

    async def sweep(self, users: Sequence[int]) -> Sweep:
        """See `Store.sweep`."""
        async with self._deadline(), self.pool.take() as connection:
            return await presence.sweep(connection, users)

    async def grant(self, grants: Sequence[Grant]) -> int:
        """See `Store.grant`."""
        async with self._deadline():
            return await presence.grant(self.pool, grants)

    async def lease(self, row: LeaseRow, lease_ms: int) -> int:
        """See `Store.lease`."""
        async with self._deadline():
            return await self._leases.lease(row, lease_ms)

    async def leave(self, number: int, incarnation: int) -> None:
        """See `Store.leave`."""
        async with self._deadline():
            await self._leases.leave(number, incarnation)

    async def leases(self) -> list[LeaseRow]:
        """See `Store.leases`."""
        async with self._deadline():
            return await self._leases.leases()

    async def code(self, settled: bool = False) -> CodeRow:
        """See `Store.code`. Who holds a lease reads it beside that: a renewal must not wait for
        whatever keeps the pool busy."""
        async with self._deadline():
            if not settled and self._leases.is_held:
                return await self._leases.code()
            return await presence.retried(
                self.pool, lambda connection: code.read(connection, settled)
            )

    async def add_bundle(self, digest: str, packed: bytes) -> None:
        """See `Store.add_bundle`."""
        async with self._deadline(), self.pool.take() as connection:
            await code.add_bundle(connection, digest, packed)

    async def bundle(self, digest: str) -> bytes | None:
        """See `Store.bundle`."""
        async with self._deadline(), self.pool.take() as connection:
            return await code.bundle(connection, digest)

    async def forget_bundles(self, oldest: int, unused_ms: int) -> int:
        """See `Store.forget_bundles`."""
        async with self._deadline():
            return await presence.retried(
                self.pool, lambda connection: code.forget_bundles(connection, oldest, unused_ms)
            )

    async def switch_code(self, switch: CodeSwitch, meanwhile: Meanwhile | None = None) -> bool:
        """See `Store.switch_code`."""
        async with self._deadline():
            return await presence.retried(
                self.pool, lambda connection: code.switch(connection, switch, meanwhile)
            )

    async def end_canary(self, generation: int, why: str) -> bool:
        """See `Store.end_canary`."""
        async with self._deadline():
            return await presence.retried(
                self.pool, lambda connection: code.end_canary(connection, generation, why)
            )

    async def turn_rolling(self, generation: int, back_to: int) -> bool:
        """See `Store.turn_rolling`."""
        async with self._deadline(), self.pool.take() as connection:
            return await code.turn_rolling(connection, generation, back_to)

    async def end_rolling(self) -> None:
        """See `Store.end_rolling`."""
        async with self._deadline(), self.pool.take() as connection:
            await code.end_rolling(connection)

    async def code_records(self, newest: int, count_max: int) -> Sequence[CodeRecord]:
        """See `Store.code_records`."""
        async with self._deadline(), self.pool.take() as connection:
            return await code.records(connection, newest, count_max)

    async def code_of_operation(self, user: int, epoch: int, counter: int) -> int:
        """See `Store.code_of_operation`."""
        async with self._deadline(), self.pool.take() as connection:
            return await code.of_operation(connection, user, epoch, counter)

    async def online(self, user: int, state: str, number: int) -> None:
        """See `Store.online`."""
        self.relay.publish(user, state, number)

    def stats(self) -> dict[str, float]:
        """See `Store.stats`."""
        commits = {f"commit_{name}": value for name, value in self._commits.counts.items()}
        return (
            self.pool.stats() | commits | self.cache.stats() | self.relay.stats()
            | self.ranking.stats() | self.sampler.stats()
        )  # fmt: skip

    async def close(self) -> None:
        """See `Store.close`."""
        await end_loops(*self._tasks)
        await self.relay.close()
        await self.ranking.close()
        await self.cache.close()
        with contextlib.suppress(StoreUnavailable):  # then the lease ends by itself
            async with self._deadline():
                await self._leases.close()
        await self.pool.close()

    async def _watch(self) -> None:
        """Each second: who holds a connection too long, and who stands still in a transaction."""
        while True:
            await asyncio.sleep(self._settings.repair_every_ms / 1_000)
            self.pool.leaks()
            if self.pool.ends_idle:
                continue
            try:
                async with self._deadline(), self.pool.take() as connection:
                    await janitor.end_idle(connection)
            except StoreError as error:
                _log.warning("idle transactions could not be looked for: %s", error)

    async def _sample(self) -> None:
        """From time to time: does the cache show what was committed."""
        while True:
            await asyncio.sleep(self._settings.sample_every_ms / 1_000)
            try:
                async with self._deadline():
                    await self.sampler.compare()
            except StoreError as error:
                _log.info("cache and truth could not be compared: %s", error)

    def _deadline(self) -> Deadline:
        return Deadline(self._settings.mysql_call_ms)
