"""Raids in the books, asked of the dicts and of the real store alike."""

import asyncio

import msgspec
import pytest
from tests.contract.raid_books import (
    DAY,
    KIND,
    MAP,
    OTHER,
    SERVER,
    aborted,
    bundle,
    leased,
    members,
    opened,
    opening,
    raids_of,
    result,
    seat_token,
)
from tests.contract.stores import Cluster, commit_of

from mmo.state.bag import Item, ItemBorn, ItemKind
from mmo.state.change import Row
from mmo.state.grant import Grant, SourceKind
from mmo.state.place import SessionOpened
from mmo.state.raid import (
    EndReason,
    RaidCheckpoint,
    RaidEntry,
    RaidOpened,
    RaidScore,
    RaidSettled,
    RaidStarted,
    RaidState,
    RaidTaken,
)
from mmo.state.wallet import Account
from mmo.store import Store, Verdict

REPLAY_BYTES_MAX = 1_048_576
CHECKPOINT_BYTES_MAX = 262_144


async def state_of(store: Store, row: RaidOpened) -> RaidState:
    """Where the raid stands."""
    found = await store.raid(row.raid)
    assert found is not None
    return found.state


async def grants_of(store: Store, row: RaidOpened) -> set[Grant]:
    """What its members may claim."""
    return set((await store.sweep([member.user for member in row.members])).grants)


# -- opening ---------------------------------------------------------------------------------------


async def test_a_raid_opens_with_its_seats(cluster: Cluster, store: Store) -> None:
    row = await opened(cluster, store, 8, season=0)
    found = await store.raid(row.raid)
    assert found is not None
    assert (found.kind, found.map, found.seed, found.state) == (KIND, MAP, row.seed, RaidState.OPEN)
    assert (found.number, found.incarnation, found.generation) == (SERVER, row.incarnation, 3)
    assert found.members == row.members
    assert (found.scores, found.inputs_hash, found.replay, found.reason) == ((), b"", b"", 0)
    assert (found.opened_ms, found.started_ms, found.ended_ms) == (50, 0, 0)
    assert await raids_of(store, row) == [(row.raid, 1)] * 8
    assert await store.raid(row.raid + 10**6) is None


async def test_a_lost_answer_of_an_opening_may_be_asked_again(
    cluster: Cluster, store: Store
) -> None:
    row = await opened(cluster, store, entries_max=1)
    assert await store.write(row)
    assert not await store.write(msgspec.structs.replace(row, seed=5))
    assert not await store.write(msgspec.structs.replace(row, number=OTHER))
    assert await store.write(aborted(row))
    assert not await store.write(row)


async def test_nobody_is_in_two_unsettled_raids(cluster: Cluster, store: Store) -> None:
    first = await opened(cluster, store)
    (stranger,) = await members(cluster, store, 1)
    both = (stranger, msgspec.structs.replace(first.members[1], seat=1))
    second = opening(both, first.incarnation)
    assert not await store.write(second)
    assert await store.raid(second.raid) is None
    card = await store.card(stranger.user, DAY)
    assert card is not None and (card.raid, card.entries) == (0, ())
    assert await store.write(result(first, 3, 4))
    assert await store.write(second)


async def test_of_two_openings_at_once_one_gets_the_player(cluster: Cluster, store: Store) -> None:
    other = await cluster.store()
    incarnation = await leased(store)
    shared, *rest = await members(cluster, store, 3)
    rows = [
        opening((shared, msgspec.structs.replace(one, seat=1)), incarnation, entries_max=1)
        for one in rest
    ]
    held = await asyncio.gather(store.write(rows[0]), other.write(rows[1]))
    assert sorted(held) == [False, True]
    assert (await raids_of(store, rows[held.index(True)]))[0] == (rows[held.index(True)].raid, 1)


@pytest.mark.parametrize("wrong", ["nobody", "unknown", "twice", "one seat"])
async def test_seats_that_cannot_be_are_refused(cluster: Cluster, store: Store, wrong: str) -> None:
    first, second = await members(cluster, store)
    seats = {
        "nobody": (),
        "unknown": (first, msgspec.structs.replace(second, user=10**9)),
        "twice": (first, msgspec.structs.replace(first, seat=1)),
        "one seat": (first, msgspec.structs.replace(second, seat=0)),
    }[wrong]
    row = opening(seats, await leased(store))
    assert not await store.write(row)
    assert await store.raid(row.raid) is None
    assert await store.write(opening((first, second), row.incarnation))


# -- seats -----------------------------------------------------------------------------------------


def entry(row: RaidOpened, jti: str, seat: int = 0, **fields: object) -> RaidEntry:
    """CLAIM of a seat."""
    user = row.members[seat].user
    asked = RaidEntry(row.raid, user, 1, jti, row.number, row.incarnation, 100)
    return msgspec.structs.replace(asked, **fields)


async def test_a_seat_is_claimed_once_by_its_newest_token(cluster: Cluster, store: Store) -> None:
    row = await opened(cluster, store)
    assert await store.write(seat_token(row, 0, "old"))
    assert await store.write(seat_token(row, 0, "new"))
    assert await store.raid_enter(entry(row, "old")) is None
    card = await store.raid_enter(entry(row, "new"))
    assert card is not None
    member = row.members[0]
    assert (card.user, card.name, card.session_epoch) == (member.user, member.name, 1)
    assert (card.raid, card.raid_kind, card.raid_seat) == (row.raid, KIND, 0)
    assert (card.raid_number, card.entries) == (SERVER, (KIND,))
    assert await store.raid_enter(entry(row, "new")) is None
    assert await store.raid_enter(entry(row, "")) is None
    assert await store.write(seat_token(row, 0, "rejoin"))
    assert await store.raid_enter(entry(row, "rejoin")) is not None


async def test_of_two_entries_at_once_one_is_let_in(cluster: Cluster, store: Store) -> None:
    other = await cluster.store()
    row = await opened(cluster, store)
    assert await store.write(seat_token(row, 1, "once"))
    entered = await asyncio.gather(
        *(one.raid_enter(entry(row, "once", 1)) for one in (store, other, store, other))
    )
    assert sum(card is not None for card in entered) == 1


async def test_a_seat_is_not_claimed_with_anything_wrong(cluster: Cluster, store: Store) -> None:
    row = await opened(cluster, store)
    assert await store.write(seat_token(row, 0, "jti", expires_ms=200))
    wrong: list[dict[str, object]] = [
        {"user": row.members[1].user},
        {"session_epoch": 2},
        {"number": OTHER},
        {"incarnation": row.incarnation + 1},
        {"raid": row.raid + 10**6},
        {"now_ms": 200},
        {"jti": "JTI"},
    ]
    for fields in wrong:
        asked = msgspec.structs.replace(entry(row, "jti"), **fields)
        assert await store.raid_enter(asked) is None, fields
    assert await store.raid_enter(entry(row, "jti", now_ms=199)) is not None


async def test_a_new_login_makes_older_seats_void(cluster: Cluster, store: Store) -> None:
    row = await opened(cluster, store)
    user = row.members[0].user
    assert await store.write(seat_token(row, 0, "jti"))
    assert await store.write(SessionOpened(user, 1, 1, "login", 2**50, 7))
    assert await store.raid_enter(entry(row, "jti")) is None
    assert not await store.write(seat_token(row, 0, "late"))
    assert await store.write(seat_token(row, 0, "again", session_epoch=2))
    found = await store.raid(row.raid)
    assert found is not None and found.members[0].session_epoch == 2
    card = await store.raid_enter(entry(row, "again", session_epoch=2))
    assert card is not None and card.raid == row.raid


async def test_seats_are_prepared_for_members_of_unsettled_raids(
    cluster: Cluster, store: Store
) -> None:
    row = await opened(cluster, store)
    (stranger,) = await members(cluster, store, 1)
    assert not await store.write(seat_token(row, 0, "x", user=stranger.user))
    assert not await store.write(seat_token(row, 0, "x", raid=row.raid + 10**6))
    assert await store.write(seat_token(row, 0, "kept"))
    assert await store.write(result(row, 1, 1))
    assert not await store.write(seat_token(row, 0, "x"))
    assert await store.raid_enter(entry(row, "kept")) is None


async def test_a_card_shows_what_is_worn(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store)
    worn = Item(7_000_000 + player.user, ItemKind.EQUIPMENT, 0, 101, 1, 3, True, 2**45, 5)
    other = Item(8_000_000 + player.user, ItemKind.EQUIPMENT, 1, 102, 1)
    changes = [ItemBorn(one, Account.MINT_HUNT) for one in (worn, other)]
    assert await store.commit([commit_of(player, *changes)]) == [Verdict.COMMITTED]
    card = await store.card(player.user, DAY)
    assert card is not None
    assert (card.name, card.level, card.score_best) == (player.head.name, 1, 0)
    assert card.worn == ((101, 3, 2**45),)
    assert (card.raid, card.raid_kind, card.raid_seat, card.raid_number) == (0, 0, 0, 0)
    assert await store.card(10**9, DAY) is None


# -- start and result ------------------------------------------------------------------------------


def start(row: RaidOpened, **fields: object) -> RaidStarted:
    """The battle runs."""
    started = RaidStarted(row.raid, row.number, row.incarnation, 60)
    return msgspec.structs.replace(started, **fields)


async def test_a_raid_starts_once_at_its_server(cluster: Cluster, store: Store) -> None:
    row = await opened(cluster, store)
    assert not await store.write(start(row, number=OTHER))
    assert not await store.write(start(row, incarnation=row.incarnation + 1))
    assert await store.write(start(row))
    assert await store.write(start(row))  # its answer was lost
    assert not await store.write(start(row, now_ms=61))
    assert await state_of(store, row) is RaidState.RUNNING
    assert await store.write(result(row, 1, 2))
    assert not await store.write(start(row))


async def test_a_result_is_written_once_with_all_that_follows(
    cluster: Cluster, store: Store
) -> None:
    row = await opened(cluster, store, 3)
    assert await store.write(start(row))
    settled = result(row, 10, 0, 7, reason=EndReason.TIME_OVER, hp=5, generation=4)
    none = msgspec.structs.replace(settled.scores[1], bundle=b"")
    settled = msgspec.structs.replace(settled, scores=(settled.scores[0], none, settled.scores[2]))
    assert await store.write(settled)
    found = await store.raid(row.raid)
    assert found is not None
    assert (found.state, found.reason, found.hp) == (RaidState.FINISHED, EndReason.TIME_OVER, 5)
    users = [member.user for member in row.members]
    assert found.scores == ((users[0], 10), (users[1], 0), (users[2], 7))
    assert (found.inputs_hash, found.replay) == (settled.inputs_hash, settled.replay)
    assert (found.started_ms, found.ended_ms, found.generation) == (60, 90, 4)
    kind = int(SourceKind.RAID)
    assert await grants_of(store, row) == {
        Grant(users[0], kind, row.raid, bundle(10)),
        Grant(users[2], kind, row.raid, bundle(7)),
    }
    assert await raids_of(store, row) == [(0, 1)] * 3


async def test_a_settled_raid_stays_as_it_is(cluster: Cluster, store: Store) -> None:
    row = await opened(cluster, store)
    settled = result(row, 10, 7)
    other_score = RaidScore(row.members[1].user, 1, 8, bundle(8))
    assert await store.write(settled)
    assert await store.write(settled)
    for fields in (
        {"hp": 1},
        {"reason": EndReason.TIME_OVER},
        {"inputs_hash": bytes(32)},
        {"season": 9},
        {"scores": settled.scores[:1]},
        {"scores": (settled.scores[0], other_score)},
        {"incarnation": row.incarnation + 1},
    ):
        assert not await store.write(msgspec.structs.replace(settled, **fields)), fields
    assert not await store.write(aborted(row))
    found = await store.raid(row.raid)
    assert found is not None and [score for _, score in found.scores] == [10, 7]
    assert len(await grants_of(store, row)) == 2


async def test_two_who_settle_at_once_write_one_result(cluster: Cluster, store: Store) -> None:
    other = await cluster.store()
    row = await opened(cluster, store)
    held = await asyncio.gather(store.write(result(row, 10, 7)), other.write(aborted(row)))
    assert sorted(held) == [False, True]
    finished = held[0]
    assert await raids_of(store, row) == [(0, 1 if finished else 0)] * 2
    assert len(await grants_of(store, row)) == (2 if finished else 0)


def _wrong_results(row: RaidOpened) -> list[RaidSettled]:
    good, (first, second) = result(row, 1, 2), row.members
    stranger = RaidScore(10**9, 0, 1, b"")
    return [
        msgspec.structs.replace(good, **fields)
        for fields in (
            {"number": OTHER},
            {"incarnation": row.incarnation + 1},
            {"raid": row.raid + 10**6},
            {"scores": (stranger,)},
            {"scores": (RaidScore(first.user, second.seat, 1, b""),)},
            {"scores": (RaidScore(first.user, 0, -1, b""),)},
            {"scores": (good.scores[0], good.scores[0])},
            {"inputs_hash": b""},
            {"hp": -1},
            {"replay": bytes(REPLAY_BYTES_MAX + 1)},
        )
    ]


async def test_a_wrong_result_changes_nothing(cluster: Cluster, store: Store) -> None:
    row = await opened(cluster, store)
    for wrong in _wrong_results(row):
        assert not await store.write(wrong)
        assert await state_of(store, row) is RaidState.OPEN
        assert await grants_of(store, row) == set()
        assert await raids_of(store, row) == [(row.raid, 1)] * 2
    most = result(row, 1, 2, replay=bytes(REPLAY_BYTES_MAX))
    assert await store.write(most)


async def test_a_result_needs_no_scores(cluster: Cluster, store: Store) -> None:
    row = await opened(cluster, store)
    assert await store.write(result(row, reason=EndReason.ALL_GONE, hp=500))
    found = await store.raid(row.raid)
    assert found is not None and (found.scores, found.hp) == ((), 500)


# -- checkpoints and takeover ----------------------------------------------------------------------


def checkpoint(row: RaidOpened, tick: int, blob: bytes, **fields: object) -> RaidCheckpoint:
    """The state of a running raid."""
    kept = RaidCheckpoint(row.raid, row.incarnation, tick, blob)
    return msgspec.structs.replace(kept, **fields)


async def blob_of(store: Store, row: RaidOpened) -> bytes:
    """What a new server would go on from."""
    found = [one for one in await store.orphan_raids(OTHER, 1) if one.raid == row.raid]
    assert found
    return found[0].checkpoint


async def test_the_newest_checkpoints_are_kept(cluster: Cluster, store: Store) -> None:
    rows = [await opened(cluster, store, 1) for _ in range(3)]
    last = rows[-1]
    assert await store.keep_checkpoints([]) == 0
    assert await store.keep_checkpoints([checkpoint(row, 5, b"five\x00\xff") for row in rows]) == 3
    newer = [checkpoint(rows[1], 9, b"nine"), checkpoint(rows[0], 4, b"four")]
    assert await store.keep_checkpoints(newer) == 1
    assert await store.write(result(last, 1))
    gone = [
        checkpoint(last, 9, b"late"),
        checkpoint(rows[0], 9, b"other", incarnation=last.incarnation + 1),
        checkpoint(rows[1], 10, bytes(CHECKPOINT_BYTES_MAX + 1)),
    ]
    assert await store.keep_checkpoints(gone) == 0
    assert [await blob_of(store, row) for row in rows[:2]] == [b"five\x00\xff", b"nine"]


async def test_many_large_checkpoints_are_kept_at_once(cluster: Cluster, store: Store) -> None:
    rows = [await opened(cluster, store, 1) for _ in range(12)]
    large = [checkpoint(row, 1, bytes([index]) * CHECKPOINT_BYTES_MAX)
             for index, row in enumerate(rows)]  # fmt: skip
    assert await store.keep_checkpoints(large) == 12
    assert await blob_of(store, rows[0]) == large[0].blob


async def orphaned(store: Store, number: int, incarnation: int) -> set[int]:
    """Raids that this server may take."""
    return {one.raid for one in await store.orphan_raids(number, incarnation)}


async def test_raids_of_a_dead_server_are_found_whole(cluster: Cluster, store: Store) -> None:
    row = await opened(cluster, store)
    other = await leased(store, OTHER)
    assert await store.write(start(row))
    assert await store.keep_checkpoints([checkpoint(row, 7, b"state")]) == 1
    assert row.raid not in await orphaned(store, OTHER, other)
    assert row.raid not in await orphaned(store, SERVER, row.incarnation)
    await store.leave(SERVER, row.incarnation)
    (found,) = [one for one in await store.orphan_raids(OTHER, other) if one.raid == row.raid]
    assert (found.kind, found.map, found.seed, found.season) == (KIND, MAP, row.seed, 0)
    assert (found.state, found.number) == (RaidState.RUNNING, SERVER)
    assert (found.incarnation, found.generation) == (row.incarnation, 3)
    assert (found.members, found.checkpoint) == (row.members, b"state")
    assert (found.takeovers, found.opened_ms) == (0, 50)
    assert row.raid not in await orphaned(store, SERVER, row.incarnation)


async def test_a_server_finds_what_its_earlier_life_left(cluster: Cluster, store: Store) -> None:
    row = await opened(cluster, store)
    again = await leased(store)
    assert row.raid in await orphaned(store, SERVER, again)
    assert await store.write(RaidTaken(row.raid, SERVER, row.incarnation, SERVER, again))
    assert row.raid not in await orphaned(store, SERVER, again)
    assert not await store.write(result(row, 1, 2))
    assert await store.write(result(row, 1, 2, incarnation=again))
    assert row.raid not in await orphaned(store, SERVER, again + 1)


async def test_a_raid_is_taken_by_one_and_only_from_the_dead(
    cluster: Cluster, store: Store
) -> None:
    row = await opened(cluster, store)
    other = await leased(store, OTHER)
    taken = RaidTaken(row.raid, SERVER, row.incarnation, OTHER, other)
    assert not await store.write(taken)
    await store.leave(SERVER, row.incarnation)
    rival = msgspec.structs.replace(taken, number=OTHER + 1, incarnation=other + 1)
    held = await asyncio.gather(store.write(taken), store.write(rival))
    assert sorted(held) == [False, True]
    winner = taken if held[0] else rival
    assert await store.write(winner)  # its answer was lost
    found = await store.raid(row.raid)
    assert found is not None
    assert (found.number, found.incarnation) == (winner.number, winner.incarnation)
    late: tuple[Row, ...] = (start(row), result(row, 1, 2), aborted(row))
    for old in late:
        assert not await store.write(old)
    assert await store.keep_checkpoints([checkpoint(row, 9, b"old")]) == 0
    fields = {"number": winner.number, "incarnation": winner.incarnation}
    assert await store.write(aborted(row, **fields, reason=EndReason.SERVER_LOST))
    assert not await store.write(winner)
    assert await raids_of(store, row) == [(0, 0)] * 2


async def test_a_taken_raid_is_entered_at_its_new_server(cluster: Cluster, store: Store) -> None:
    row = await opened(cluster, store)
    assert await store.write(seat_token(row, 0, "jti"))
    again = await leased(store)
    assert await store.write(RaidTaken(row.raid, SERVER, row.incarnation, SERVER, again))
    assert await store.raid_enter(entry(row, "jti")) is None
    card = await store.raid_enter(entry(row, "jti", incarnation=again))
    assert card is not None and card.raid == row.raid


async def test_orphans_come_oldest_first_and_bounded(cluster: Cluster, store: Store) -> None:
    incarnation = await leased(store, OTHER + 7)
    rows = []
    for index in range(34):
        row = opening(
            await members(cluster, store, 1), incarnation, number=OTHER + 7, now_ms=40 - index
        )
        assert await store.write(row)
        rows.append(row)
    await store.leave(OTHER + 7, incarnation)
    found = [one.raid for one in await store.orphan_raids(OTHER + 7, incarnation + 1)]
    assert len(found) == 32
    mine = [row.raid for row in reversed(rows)]
    assert [raid for raid in found if raid in set(mine)] == mine[: len(set(found) & set(mine))]
