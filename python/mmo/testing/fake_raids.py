"""Raids and the ranking in dicts: the guards that `mmo.store.raids` keeps, with no server.

Owns the rows of raids, seats and best scores in a `FakeDatabase`, their guards and what is read of
them; knows no rule of a battle. Used by `fake_store`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from mmo.contract import PlayerCard, RankingEntry, RankingView
from mmo.state.change import Row
from mmo.state.grant import SourceKind
from mmo.state.raid import (
    OrphanRaid,
    RaidCheckpoint,
    RaidEntry,
    RaidMember,
    RaidOpened,
    RaidRecord,
    RaidScore,
    RaidSeatPrepared,
    RaidSettled,
    RaidStarted,
    RaidState,
    RaidTaken,
)
from mmo.store.raids import CHECKPOINT_BYTES_MAX, ORPHANS_MAX, REPLAY_BYTES_MAX

if TYPE_CHECKING:
    from mmo.testing.fake_tables import FakeDatabase

SCORE_MAX = 2**53 - 1
HASH_BYTES = 32


@dataclass
class FakeSeat:
    """A row of `raid_member`."""

    member: RaidMember
    day: int
    jti: str = ""
    expires_ms: int = 0
    score: int | None = None


@dataclass
class FakeRaid:
    """A row of `raid` with its seats by user."""

    opened: RaidOpened
    number: int
    incarnation: int
    seats: dict[int, FakeSeat]
    state: RaidState = RaidState.OPEN
    takeovers: int = 0
    started_ms: int = 0
    checkpoint: RaidCheckpoint | None = None
    result: RaidSettled | None = None

    @property
    def is_settled(self) -> bool:
        """Whether it is over."""
        return self.state in (RaidState.FINISHED, RaidState.ABORTED)

    def is_run_by(self, number: int, incarnation: int) -> bool:
        """Whether this life of this server runs it."""
        return (self.number, self.incarnation) == (number, incarnation)

    def members(self) -> tuple[RaidMember, ...]:
        """By seat."""
        return tuple(sorted((s.member for s in self.seats.values()), key=lambda m: m.seat))


@dataclass
class FakeRank:
    """A row of `ranking`."""

    score: int
    raid: int
    since_ms: int


@dataclass
class FakeRaidTables:
    """All of raids and the ranking. `busy`: the unsettled raid of each user."""

    raids: dict[int, FakeRaid] = field(default_factory=dict)
    busy: dict[int, int] = field(default_factory=dict)
    ranking: dict[tuple[int, int], FakeRank] = field(default_factory=dict)  # (season, user)


def write(database: "FakeDatabase", row: Row) -> bool | None:
    """A row of raids by its guard; None: it is another aggregate's."""
    match row:
        case RaidOpened():
            return _open(database, row)
        case RaidSeatPrepared():
            return _prepare(database, row)
        case RaidStarted():
            return _start(database, row)
        case RaidSettled():
            return _settle(database, row)
        case RaidTaken():
            return _take(database, row)
    return None


def _open(database: "FakeDatabase", row: RaidOpened) -> bool:
    tables = database.raid_tables
    known = tables.raids.get(row.raid)
    if known is not None:
        was, asked = (
            (one.kind, one.map, one.seed, one.number, one.incarnation)
            for one in (known.opened, row)
        )
        return was == asked and not known.is_settled and known.is_run_by(was[3], was[4])
    users = [member.user for member in row.members]
    seats = {member.seat for member in row.members}
    if (
        not users
        or len(set(users)) < len(users)
        or len(seats) < len(users)
        or not database.heads.keys() >= set(users)
        or tables.busy.keys() & set(users)
        or (row.entries_max and max(_entries(database, u, row.day).count(row.kind) for u in users)
            >= row.entries_max)
    ):  # fmt: skip
        return False
    seated = {member.user: FakeSeat(member, row.day) for member in row.members}
    tables.raids[row.raid] = FakeRaid(row, row.number, row.incarnation, seated)
    tables.busy |= dict.fromkeys(users, row.raid)
    return True


def _prepare(database: "FakeDatabase", row: RaidSeatPrepared) -> bool:
    raid, head = database.raid_tables.raids.get(row.raid), database.heads.get(row.user)
    if raid is None or raid.is_settled or row.user not in raid.seats:
        return False
    if head is None or head.session_epoch != row.session_epoch:
        return False
    seat = raid.seats[row.user]
    seat.member = msgspec.structs.replace(seat.member, session_epoch=row.session_epoch)
    seat.jti, seat.expires_ms = row.jti, row.expires_ms
    return True


def _start(database: "FakeDatabase", row: RaidStarted) -> bool:
    raid = database.raid_tables.raids.get(row.raid)
    if raid is None or not raid.is_run_by(row.number, row.incarnation):
        return False
    if raid.state is RaidState.RUNNING:
        return raid.started_ms == row.now_ms
    if raid.state is not RaidState.OPEN:
        return False
    raid.state, raid.started_ms = RaidState.RUNNING, row.now_ms
    return True


def _settle(database: "FakeDatabase", row: RaidSettled) -> bool:
    tables = database.raid_tables
    raid = tables.raids.get(row.raid)
    if raid is None or not raid.is_run_by(row.number, row.incarnation):
        return False
    if raid.result is not None:
        was, asked = (
            (r.state, r.reason, r.hp, r.season, r.inputs_hash, frozenset(_scores(r.scores)))
            for r in (raid.result, row)
        )
        return was == asked
    if not _is_result(row) or any(
        one.user not in raid.seats or raid.seats[one.user].member.seat != one.seat
        for one in row.scores
    ):
        return False
    raid.state, raid.result, raid.checkpoint = RaidState(row.state), row, None
    for one in row.scores:
        raid.seats[one.user].score = one.score
        if one.bundle:
            key = (one.user, int(SourceKind.RAID), row.raid)
            database.grants.setdefault(key, one.bundle)
    if row.state is RaidState.ABORTED:
        for seat in raid.seats.values():
            seat.day = 0
    elif row.season:
        for one in row.scores:
            held = tables.ranking.get((row.season, one.user))
            if one.score > (held.score if held else 0):
                rank = FakeRank(one.score, row.raid, row.now_ms)
                tables.ranking[row.season, one.user] = rank
    for user in raid.seats:
        del tables.busy[user]
    return True


def _is_result(row: RaidSettled) -> bool:
    """The constraints of the schema."""
    users = [one.user for one in row.scores]
    return (
        row.state in (RaidState.FINISHED, RaidState.ABORTED)
        and int(row.reason) != 0
        and row.hp >= 0
        and len(row.replay) <= REPLAY_BYTES_MAX
        and len(row.inputs_hash) in (0, HASH_BYTES)
        and (row.state is RaidState.ABORTED or len(row.inputs_hash) == HASH_BYTES)
        and len(set(users)) == len(users)
        and all(0 <= one.score <= SCORE_MAX for one in row.scores)
    )


def _scores(scores: Iterable[RaidScore]) -> Iterable[tuple[int, int, int]]:
    return ((one.user, one.seat, one.score) for one in scores)


def _take(database: "FakeDatabase", row: RaidTaken) -> bool:
    raid = database.raid_tables.raids.get(row.raid)
    if raid is None or raid.is_settled:
        return False
    if raid.is_run_by(row.number, row.incarnation):
        return raid.takeovers > 0
    if not raid.is_run_by(row.number_before, row.incarnation_before):
        return False
    if row.number != raid.number and _is_led(database, raid):
        return False
    raid.number, raid.incarnation = row.number, row.incarnation
    raid.takeovers += 1
    return True


def _is_led(database: "FakeDatabase", raid: FakeRaid) -> bool:
    held = database.leases.get(raid.number)
    return (
        held is not None
        and held.row.incarnation == raid.incarnation
        and held.until_ms > database.clock_ms()
    )


def _entries(database: "FakeDatabase", user: int, day: int) -> tuple[int, ...]:
    """The kinds of the raids that he entered on a day."""
    raids = database.raid_tables.raids.values() if day > 0 else ()
    entered = (raid for raid in raids if user in raid.seats and raid.seats[user].day == day)
    return tuple(sorted(raid.opened.kind for raid in entered))


def card(database: "FakeDatabase", user: int, day: int) -> PlayerCard | None:
    """See `Store.card`."""
    head = database.heads.get(user)
    if head is None:
        return None
    number = database.raid_tables.busy.get(user, 0)
    where = (0, 0, 0, 0)
    if number:
        raid = database.raid_tables.raids[number]
        where = (number, raid.opened.kind, raid.seats[user].member.seat, raid.number)
    worn = sorted(
        (item for item in database.items.get(user, {}).values() if item.equipped),
        key=lambda item: item.uid,
    )
    return PlayerCard(
        *(user, _name(database, user), head.session_epoch, head.level, head.score_best),
        tuple((item.code, item.enhance, item.expires_ms) for item in worn),
        *where,
        _entries(database, user, day),
    )


def enter(database: "FakeDatabase", entry: RaidEntry) -> PlayerCard | None:
    """See `Store.raid_enter`."""
    raid, head = database.raid_tables.raids.get(entry.raid), database.heads.get(entry.user)
    if raid is None or raid.is_settled or not raid.is_run_by(entry.number, entry.incarnation):
        return None
    seat = raid.seats.get(entry.user)
    if seat is None or not seat.jti or seat.jti != entry.jti or seat.expires_ms <= entry.now_ms:
        return None
    if head is None or head.session_epoch != entry.session_epoch:
        return None
    seat.jti = ""
    return card(database, entry.user, raid.opened.day)


def keep(database: "FakeDatabase", checkpoints: Iterable[RaidCheckpoint]) -> int:
    """See `Store.keep_checkpoints`."""
    kept = 0
    for one in checkpoints:
        raid = database.raid_tables.raids.get(one.raid)
        if raid is None or raid.is_settled or raid.incarnation != one.incarnation:
            continue
        tick = raid.checkpoint.tick if raid.checkpoint else 0
        if one.tick >= tick and len(one.blob) <= CHECKPOINT_BYTES_MAX:
            raid.checkpoint = one
            kept += 1
    return kept


def orphans(database: "FakeDatabase", number: int, incarnation: int) -> list[OrphanRaid]:
    """See `Store.orphan_raids`."""
    found = [
        raid
        for raid in database.raid_tables.raids.values()
        if not raid.is_settled
        and not raid.is_run_by(number, incarnation)
        and (raid.number == number or not _is_led(database, raid))
    ]
    found.sort(key=lambda raid: (raid.opened.now_ms, raid.opened.raid))
    return [_orphan(raid) for raid in found[:ORPHANS_MAX]]


def _orphan(raid: FakeRaid) -> OrphanRaid:
    opened = raid.opened
    return OrphanRaid(
        *(opened.raid, opened.kind, opened.map, opened.seed, raid.state, raid.number),
        *(raid.incarnation, opened.season, opened.generation, raid.members()),
        raid.checkpoint.blob if raid.checkpoint else b"",
        *(raid.takeovers, opened.now_ms),
    )


def record(database: "FakeDatabase", number: int) -> RaidRecord | None:
    """See `Store.raid`."""
    raid = database.raid_tables.raids.get(number)
    if raid is None:
        return None
    opened, result = raid.opened, raid.result
    seats = sorted(raid.seats.values(), key=lambda seat: seat.member.seat)
    return RaidRecord(
        *(number, opened.kind, opened.map, opened.seed, raid.state),
        int(result.reason) if result else 0,
        *(raid.number, raid.incarnation),
        result.season if result else opened.season,
        result.generation if result else opened.generation,
        result.hp if result else 0,
        raid.members(),
        tuple((seat.member.user, seat.score) for seat in seats if seat.score is not None),
        result.inputs_hash if result else b"",
        result.replay if result else b"",
        *(opened.now_ms, raid.started_ms, result.now_ms if result else 0),
    )


# -- the board -------------------------------------------------------------------------------------


def _board(database: "FakeDatabase", season: int) -> list[RankingEntry]:
    """Best first; of equal scores the lower user id."""
    rows = sorted(
        (-rank.score, user)
        for (of, user), rank in database.raid_tables.ranking.items()
        if of == season
    )
    return [
        RankingEntry(place, user, _name(database, user), -below)
        for place, (below, user) in enumerate(rows, 1)
    ]


def _view(
    season: int, user: int, board: list[RankingEntry], rows: Iterable[RankingEntry]
) -> RankingView:
    own = next((entry for entry in board if entry.user == user), None)
    rank, score = (own.rank, own.score) if own else (0, 0)
    return RankingView(season, len(board), rank, score, tuple(rows))


def page(database: "FakeDatabase", season: int, user: int, start: int, count: int) -> RankingView:
    """See `Store.ranking_page`."""
    board = _board(database, season)
    return _view(season, user, board, board[start - 1 : start - 1 + count])


def around(database: "FakeDatabase", season: int, user: int, around: int) -> RankingView:
    """See `Store.ranking_around`."""
    board = _board(database, season)
    view = _view(season, user, board, ())
    if not view.own_rank:
        return view
    rows = board[max(0, view.own_rank - 1 - around) : view.own_rank + around]
    return msgspec.structs.replace(view, rows=tuple(rows))


def of_users(database: "FakeDatabase", season: int, user: int, users: Iterable[int]) -> RankingView:
    """See `Store.ranking_of`."""
    board, asked = _board(database, season), set(users)
    return _view(season, user, board, [entry for entry in board if entry.user in asked])


def _name(database: "FakeDatabase", user: int) -> str:
    return next(one.name for one in database.accounts.values() if one.user == user)
