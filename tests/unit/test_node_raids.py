"""The durable side of raids on a node: seats claimed once, checkpoints kept, orphans offered.

The real raid role on a fake core and store; what its rules decide is tested in `tests/systems`.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from mmo.content.tables import load_content
from mmo.errors import StoreUnavailable
from mmo.roles import ROLES
from mmo.state.raid import RaidCheckpoint, RaidSeatPrepared, RaidState
from mmo.testing.world import Client, World
from mmo.wire.messages.raid import RaidEntered, RaidReady, RaidReadyOk
from mmo.wire.messages.raid_link import RaidReserve, RaidReserved, Seated
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import CloseReason, Code

RAID = 7 << 32
LEASE_MS = 6_000
CONTENT = load_content()


class Game:
    """A raid server, its matching server, and two members with sessions."""

    def __init__(self) -> None:
        self.world = World(ROLES["raid"], content=CONTENT, number=51, name="raid-1")
        self.matching = self.world.peer(41, "matching")
        self.users = [self.world.account(name) for name in ("ann", "bob")]
        for user, name in zip(self.users, ("ann", "bob"), strict=True):
            self.world.login(user, name)

    @property
    def store(self) -> Any:
        return self.world.store

    def reserve(self) -> Any:
        team = [Seated(user, 1, 1, user, f"name-{user}", 1, 0) for user in self.users]
        self.matching.post(RaidReserve(RAID, 1, team))
        self.world.settle()
        return next(said for said in self.matching.heard() if isinstance(said, RaidReserved))

    def prepare(self, user: int, jti: str, epoch: int = 1) -> bool:
        expires_ms = self.world.clock.now_ms + 60_000
        row = RaidSeatPrepared(RAID, user, epoch, jti, expires_ms)
        return bool(self.world.run(self.store.write(row)))

    def enters(self, user: int, jti: str, epoch: int = 1) -> tuple[Client, Any]:
        client = self.world.client()
        client.user, client.epoch = user, epoch
        seq = self.world.show(client, user, "raid+jwt", jti=jti, room=RAID)
        self.world.settle()
        return client, client.answer(seq)


@pytest.fixture
def game() -> Iterator[Game]:
    made = Game()
    yield made
    made.world.close()


def test_member_when_his_token_is_shown_then_sits_and_speaks(game: Game) -> None:
    assert game.reserve().held
    ann = game.users[0]
    assert game.prepare(ann, "j1")
    client, answer = game.enters(ann, "j1")
    assert isinstance(answer, RaidEntered) and (answer.raid, answer.seat) == (RAID, 0)
    assert isinstance(client.asks(RaidReady()), RaidReadyOk)


def test_token_when_shown_twice_or_replaced_then_is_refused_and_closed(game: Game) -> None:
    game.reserve()
    ann, bob = game.users
    game.prepare(ann, "j1")
    game.enters(ann, "j1")
    game.prepare(bob, "old")
    game.prepare(bob, "new")
    for user, jti in ((ann, "j1"), (bob, "old"), (bob, "never"), (ann, "new")):
        client, answer = game.enters(user, jti)
        assert answer == Refused(Code.TOKEN_REFUSED), jti
        assert client.closed_reason == CloseReason.TOKEN_INVALID
    assert isinstance(game.enters(bob, "new")[1], RaidEntered)


def test_token_when_the_store_is_away_then_the_same_connection_may_show_it_again(
    game: Game,
) -> None:
    game.reserve()
    ann = game.users[0]
    game.prepare(ann, "j1")
    game.store.faults.next_before = 1
    client, answer = game.enters(ann, "j1")
    assert answer == Refused(Code.RETRY_LATER) and not client.closed_reason
    seq = game.world.show(client, ann, "raid+jwt", jti="j1", room=RAID)
    game.world.settle()
    assert isinstance(client.answer(seq), RaidEntered)


def test_member_when_he_logs_in_anew_then_the_old_seat_is_closed_within_a_sweep(
    game: Game,
) -> None:
    game.reserve()
    ann = game.users[0]
    game.prepare(ann, "j1")
    client, _ = game.enters(ann, "j1")
    game.world.move(1_500)
    assert client.closed_reason == 0  # who is owned elsewhere is no stranger here
    game.world.login(ann, "ann")
    game.world.move(1_500)
    assert int(client.closed_reason) == int(CloseReason.SESSION_TAKEN)
    assert game.prepare(ann, "j2", epoch=2)
    assert isinstance(game.enters(ann, "j2", epoch=2)[1], RaidEntered)


def test_member_when_he_comes_again_then_the_older_connection_is_closed(game: Game) -> None:
    game.reserve()
    ann = game.users[0]
    game.prepare(ann, "j1")
    first, _ = game.enters(ann, "j1")
    game.prepare(ann, "j2")
    _, answer = game.enters(ann, "j2")
    assert isinstance(answer, RaidEntered) and first.closed_reason == CloseReason.SESSION_TAKEN


def test_checkpoints_when_kept_then_the_newest_is_written_and_outages_are_survived(
    game: Game,
) -> None:
    game.reserve()
    incarnation = game.world.engine.env.node.incarnation
    raids = game.world.engine.raids
    for tick in (1, 2):
        raids.keep(RaidCheckpoint(RAID, incarnation, tick, b"state %d" % tick))
    game.store.faults.next_before = 1
    game.world.move(300)
    raids.keep(RaidCheckpoint(RAID, incarnation, 3, b"state 3"))
    game.world.move(600)
    counts = game.world.engine.metrics.counts
    assert (counts["checkpoints_failed_total"], counts["checkpoints_kept_total"]) == (1, 1)
    (orphan,) = game.world.run(game.store.orphan_raids(51, incarnation + 1))
    assert orphan.checkpoint == b"state 3"


def test_orphan_when_its_server_is_dead_then_is_settled_here_exactly_once(game: Game) -> None:
    game.reserve()
    store = game.store
    game.world.run(store.leave(51, game.world.engine.env.node.incarnation))
    heir = World(ROLES["raid"], content=CONTENT, number=52, name="raid-2", store=store)
    try:
        heir.clock.now_ms = game.world.clock.now_ms
        heir.move(LEASE_MS + 3_000)
        record = heir.run(store.raid(RAID))
        assert (record.state, record.number) == (RaidState.ABORTED, 52)
        assert msgspec.structs.asdict(record)["scores"] is not None
        game.world.move(60_000)  # the old server, were it alive, can settle nothing any more
        assert heir.run(store.raid(RAID)).number == 52
    finally:
        heir.close()


def test_orphan_of_our_own_number_when_found_at_the_start_then_is_ours_at_once(game: Game) -> None:
    """Who ran it had our number, and is gone."""
    game.reserve()
    again = World(ROLES["raid"], content=CONTENT, number=51, name="raid-1", store=game.store)
    try:
        again.move(1_100)
        record = again.run(game.store.raid(RAID))
        assert (record.state, record.number) == (RaidState.ABORTED, 51)
        assert record.incarnation == again.engine.env.node.incarnation
    finally:
        again.close()


def test_orphan_when_our_own_lease_was_not_renewed_then_is_left_until_it_was_for_a_lease(
    game: Game,
) -> None:
    game.reserve()
    store = game.store

    async def nobody_hears(row: Any, lease_ms: int) -> int:
        raise StoreUnavailable("the line is cut")

    other = World(ROLES["raid"], content=CONTENT, number=52, name="raid-2", store=store)
    try:
        other.move(LEASE_MS + 1_000)
        lease, store.lease = store.lease, nobody_hears
        other.move(LEASE_MS // 2 + 500)
        other.run(store.leave(51, game.world.engine.env.node.incarnation))
        other.move(2_000)
        store.lease = lease
        other.move(LEASE_MS)
        assert other.run(store.raid(RAID)).number == 51
        other.move(2_000)
        assert other.run(store.raid(RAID)).number == 52
    finally:
        other.close()
