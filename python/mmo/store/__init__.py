"""The node's view of storage: `load` and `commit`, both with deadlines. MySQL decides, Redis
repeats.

Owns the protocol that the real store (`store.durable`) and `testing.fake_store` both keep; the same
contract tests run on both. No rule imports this.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

import msgspec

from mmo.contract import Credentials, PlayerCard, RankingView
from mmo.state.change import Change, Row
from mmo.state.grant import Grant
from mmo.state.place import Claim, PaymentBooked
from mmo.state.player import Head, OperationRecord, Player
from mmo.state.raid import OrphanRaid, RaidCheckpoint, RaidEntry, RaidRecord
from mmo.state.roll import DayKey
from mmo.store.code_rows import CodeRecord, CodeRow, CodeSwitch, Meanwhile
from mmo.store.settings import StoreSettings


class Verdict(IntEnum):
    """What became of one member of a group."""

    COMMITTED = 1
    FENCED = 2  # the place epoch moved: another server owns the player
    STALE = 3  # version moved, or the operation id is recorded or purged: load, decide again
    LOCKED = 4  # another transaction holds the row now: into the next group, until your deadline
    GUILTY = 5  # its rows broke a constraint; nothing of it was written
    REFUSED = 6  # the database's clock is outside the window of a change; nothing was written


class PlayerCommit(msgspec.Struct, frozen=True):
    """All durable changes of one outcome. `operation`: (session epoch, counter) of a client's
    request, (-incarnation, counter) of an `Earned`, (0, version + 1) of internal commits."""

    player: Player
    operation: tuple[int, int]
    kind: int  # opcode of the message that caused it
    request_hash: bytes  # 8 bytes
    answer_opcode: int
    answer: bytes  # encoded first reply
    changes: tuple[Change, ...]
    generation: int
    now_ms: int


class Seat(msgspec.Struct, frozen=True):
    """What the sweep reads of one resident."""

    user: int
    session_epoch: int
    place_number: int
    place_epoch: int


class Sweep(msgspec.Struct, frozen=True):
    """What the sweep found of the asked users; who does not exist is left out."""

    seats: tuple[Seat, ...]
    grants: tuple[Grant, ...]  # unclaimed ones of the asked users, at most 32 a user


class Claimed(msgspec.Struct):
    """`player` is None when the session is valid but another server owns the player
    (`place_number`)."""

    head: Head
    player: Player | None
    previous_number: int  # owner before this claim, 0 nobody


class LeaseRow(msgspec.Struct, frozen=True):
    """One server number: who holds it and where it is reached. `alive`: its lease has not ended."""

    number: int
    role: str
    name: str
    incarnation: int
    host: str
    client_port: int
    link_host: str
    link_port: int
    alive: bool


class Store(Protocol):
    """Everything durable. Each call raises `StoreUnavailable` at its deadline."""

    async def commit(self, group: Sequence[PlayerCommit]) -> list[Verdict]:
        """One grouped transaction in the five steps of design 6; at most one member a player. The
        members' `player` objects are not changed here, and read again after the commit (for the
        cache) once their `head.version` shows that the node applied it. Verdicts in the order of
        `group`. A LOCKED member does not hold up the others: it comes back at once."""
        ...

    async def write(self, row: Row) -> bool:
        """One guarded row in a transaction of its own; False when its guard did not hold."""
        ...

    async def claim(self, claim: Claim) -> Claimed | None:
        """CLAIM a place (or resume a session) and load the player. None: the guard did not hold."""
        ...

    async def load(self, user: int) -> Player | None:
        """The player as committed now; None when there is no such user."""
        ...

    async def find_operation(
        self, user: int, epoch: int, counter: int, settled: bool = False
    ) -> OperationRecord | None:
        """The record of one finished operation, whatever its age. `settled`: as no commit that is
        under way now can change it. A commit whose answer was lost may still hold the player's row
        and be seen by nobody: then this raises StoreError, and is asked again later."""
        ...

    async def payment(self, order: str) -> PaymentBooked | None:
        """A booked payment order or refund by its number."""
        ...

    async def publish_keys(self, rows: Sequence[tuple[int, bytes]]) -> list[int]:
        """Publish (day, commitment) of the rolls, each day once for ever; returns the days for
        which another commitment is published."""
        ...

    async def reveal_keys(self, rows: Sequence[tuple[int, bytes, int]]) -> int:
        """Publish (day, key, unix ms) of days whose time has come by the database's clock."""
        ...

    async def roll_keys(self, first_day: int, days_max: int) -> list[DayKey]:
        """What is published of the rolls' keys from a day (YYYYMMDD) on."""
        ...

    async def credentials(self, name: str) -> Credentials | None:
        """The account of a NFC name."""
        ...

    async def card(self, user: int, day: int) -> PlayerCard | None:
        """What others may read of a player, with his unsettled raid and the entries of `day`."""
        ...

    async def raid_enter(self, entry: RaidEntry) -> PlayerCard | None:
        """CLAIM a raid seat by its token, once, and read the member's card. None: the guard did not
        hold (jti spent or replaced, expired, settled, run elsewhere, a newer session)."""
        ...

    async def keep_checkpoints(self, checkpoints: Sequence[RaidCheckpoint]) -> int:
        """Keep the newest state of running raids in one statement; those that another incarnation
        runs, or that are settled, are left alone. Returns how many were kept."""
        ...

    async def orphan_raids(self, number: int, incarnation: int) -> list[OrphanRaid]:
        """Unsettled raids whose server's lease has ended, or which an earlier life of server
        `number` (any other incarnation) left; at most 32, oldest first."""
        ...

    async def raid(self, raid: int) -> RaidRecord | None:
        """One raid as it stands in the books."""
        ...

    async def ranking_page(self, season: int, user: int, start: int, count: int) -> RankingView:
        """`count` places from place `start` on, best first, with the place of `user`. Read from
        Redis; from MySQL while Redis is away or being rebuilt."""
        ...

    async def ranking_around(self, season: int, user: int, around: int) -> RankingView:
        """The place of `user` with `around` neighbours on each side."""
        ...

    async def ranking_of(self, season: int, user: int, users: Sequence[int]) -> RankingView:
        """The named users by their places, with the place of `user`."""
        ...

    async def sweep(self, users: Sequence[int]) -> Sweep:
        """Epochs, places and unclaimed grants of residents."""
        ...

    async def grant(self, grants: Sequence[Grant]) -> int:
        """Insert grants; those already there are left alone. Returns how many are new."""
        ...

    async def lease(self, row: LeaseRow, lease_ms: int) -> int:
        """Take (incarnation 0 in `row`) or renew the lease of a server number; returns the
        incarnation. Raises `OperatorError` E0702 when a living process holds the number."""
        ...

    async def leave(self, number: int, incarnation: int) -> None:
        """Give the lease back."""
        ...

    async def leases(self) -> list[LeaseRow]:
        """All servers ever seen in this cluster with whether their lease is alive."""
        ...

    async def code(self, settled: bool = False) -> CodeRow:
        """The row that says which code decides. `settled`: after every switch that is under way at
        this moment, so that a deadline which has passed by `now_ms` can change nothing more."""
        ...

    async def add_bundle(self, digest: str, packed: bytes) -> None:
        """Keep sources by their hash."""
        ...

    async def bundle(self, digest: str) -> bytes | None:
        """Sources by their hash."""
        ...

    async def forget_bundles(self, oldest: int, unused_ms: int) -> int:
        """Remove sources that no generation from `oldest` on names and that were stored longer than
        `unused_ms` ago; how many. What decides now always stays."""
        ...

    async def switch_code(self, switch: CodeSwitch, meanwhile: Meanwhile | None = None) -> bool:
        """Change the row and remember it, all or nothing; False when what it relies on does not
        hold any more. `meanwhile` runs when the row is changed and locked, before it is looked who
        is alive: who reads the row settled waits for it. What it raises passes through, and undoes
        the change."""
        ...

    async def end_canary(self, generation: int, why: str) -> bool:
        """The canary goes back; False when there is none of this generation."""
        ...

    async def turn_rolling(self, generation: int, back_to: int) -> bool:
        """The rolling restart from `back_to` to `generation` goes the other way from now on: what
        starts runs `back_to` again, both may decide. False when it is not under way."""
        ...

    async def end_rolling(self) -> None:
        """A rolling restart is over: one generation decides again."""
        ...

    async def code_records(self, newest: int, count_max: int) -> Sequence[CodeRecord]:
        """Generations from `newest` downwards, the newest first."""
        ...

    async def code_of_operation(self, user: int, epoch: int, counter: int) -> int:
        """The generation that decided an operation, whatever its age; 0: there was none."""
        ...

    async def online(self, user: int, state: str, number: int) -> None:
        """Best effort: publish the presence state of a player in Redis (`online`, `moving`,
        `offline`); kept fresh by this store until `offline`. Returns at once and never fails."""
        ...

    def stats(self) -> dict[str, float]:
        """Counters and gauges by name: connections, waits, groups, verdicts, cache puts,
        repairs."""
        ...

    async def close(self) -> None:
        """Flush what waits for the cache (bounded), give the lease back, close all connections."""
        ...


async def open_store(settings: StoreSettings) -> Store:
    """The real store. Opens one connection to prove the database answers and its schema fits; Redis
    may be down. Raises `StoreUnavailable`, or `OperatorError` E0203 to E0205 (schema is not the one
    this code was built for). Imports the drivers only here: the protocol stays light to import."""
    from mmo.store.durable import DurableStore

    return await DurableStore.open(settings)


__all__ = [
    "Claimed",
    "CodeRecord",
    "CodeRow",
    "CodeSwitch",
    "LeaseRow",
    "Meanwhile",
    "PlayerCommit",
    "Seat",
    "Store",
    "StoreSettings",
    "Sweep",
    "Verdict",
    "open_store",
]
