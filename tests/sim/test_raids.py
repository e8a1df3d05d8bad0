"""Raids on real nodes over one store: fought to the end, carried on elsewhere, settled once.

The raid role as it ships on a fake core and store with a virtual clock; two raid servers share the
store. What is settled is held against its own record.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from mmo.content.tables import load_content
from mmo.errors import StoreUnavailable
from mmo.ops.replay import judged
from mmo.roles import ROLES
from mmo.state.raid import RaidRecord, RaidSeatPrepared, RaidState, RaidTaken
from mmo.testing.fake_store import FakeStore
from mmo.testing.fake_tables import FakeDatabase
from mmo.testing.world import Client, World
from mmo.wire.messages.raid import (
    RaidAct,
    RaidActOk,
    RaidEnded,
    RaidEntered,
    RaidReady,
    RaidStart,
    RaidStruck,
)
from mmo.wire.messages.raid_link import (
    RaidOver,
    RaidRelease,
    RaidReserve,
    RaidReserved,
    RaidTeamFound,
    Seated,
)

RAID, OTHER_RAID = 7 << 32, 8 << 32
LEASE_MS = 6_000
SWEEP_MS = 1_000
CONTENT = load_content()
TICK_MS = CONTENT.raids.tick_ms
STEP_MS = 250
NAMES = ("ann", "bob")


class LostAnswer(FakeStore):
    """The database does the first taking over and goes away before it says so."""

    def __init__(self, database: FakeDatabase) -> None:
        super().__init__(database)
        self._is_lost = False

    async def write(self, row: Any) -> bool:
        """See `Store.write`."""
        held = await super().write(row)
        if isinstance(row, RaidTaken) and not self._is_lost:
            self._is_lost = self.database.is_down = True
            raise StoreUnavailable("the line broke after the commit")
        return held


class Server:
    """One raid server with its links, and the two members on it."""

    def __init__(self, number: int, store: Any = None) -> None:
        self.world = World(ROLES["raid"], content=CONTENT, number=number, store=store)
        self.matching = self.world.peer(41, "matching")
        self.center = self.world.peer(1, "center")
        self.clients: dict[int, Client] = {}

    def enters(self, user: int) -> Any:
        """A token for the seat, shown; the answer."""
        expires_ms = self.world.clock.now_ms + 60_000
        jti = f"{user}-{expires_ms}-{self.world.settings.number}"
        row = RaidSeatPrepared(RAID, user, 1, jti, expires_ms)
        assert self.world.run(self.world.store.write(row))
        client = self.world.client()
        client.user, client.epoch = user, 1
        self.clients[user] = client
        seq = self.world.show(client, user, "raid+jwt", jti=jti, room=RAID)
        self.world.settle()
        return client.answer(seq)

    def begins(self, users: list[int]) -> None:
        """All are here and ready."""
        for user in users:
            assert isinstance(self.enters(user), RaidEntered)
            self.clients[user].asks(RaidReady())
        self.world.move(2 * TICK_MS)

    def fights(self, ticks: int) -> None:
        """All strike as fast as they can for so many ticks."""
        for number in range(ticks):
            for client in self.clients.values():
                client.post(RaidAct(0, number))
                client.post(RaidAct(1, number))
            self.world.settle()
            self.world.move(TICK_MS)


class Game:
    """A raid server, two members with sessions, and the store that another server may share."""

    def __init__(self) -> None:
        self.first = Server(51)
        world = self.first.world
        self.users = [world.account(name) for name in NAMES]
        for user, name in zip(self.users, NAMES, strict=True):
            world.login(user, name)
        team = [Seated(user, 1, 1, user, f"name-{user}", 1, 0) for user in self.users]
        self.first.matching.post(RaidReserve(RAID, 1, team))
        world.settle()
        assert [said.held for said in self.heard(self.first.matching, RaidReserved)] == [True]
        self.made = [self.first]

    def heard(self, client: Client, kind: type) -> list[Any]:
        return [said for said in client.heard() if isinstance(said, kind)]

    def heir(self) -> Server:
        """Another raid server, after the first one died."""
        world = self.first.world
        world.run(world.store.leave(51, world.engine.env.node.incarnation))
        heir = self.joins(world.store)
        heir.world.move(LEASE_MS + 2 * SWEEP_MS)
        return heir

    def joins(self, store: Any) -> Server:
        """Another raid server, which starts now."""
        other = Server(52, store)
        other.world.clock.now_ms = self.first.world.clock.now_ms
        self.made.append(other)
        return other

    def move(self, by_ms: int) -> None:
        """The same time passes for all servers."""
        for _ in range(by_ms // STEP_MS):
            for server in self.made:
                server.world.move(STEP_MS)

    def record(self) -> tuple[RaidRecord, dict[int, bytes]]:
        """What the books hold, with the grants."""
        world = self.made[-1].world
        record = world.run(world.store.raid(RAID))
        grants = world.run(world.store.sweep(self.users)).grants
        return record, {grant.user: grant.bundle for grant in grants if grant.source_id == RAID}


@pytest.fixture
def game() -> Iterator[Game]:
    made = Game()
    yield made
    for server in made.made:
        server.world.close()


def test_raid_when_fought_on_a_node_then_is_settled_once_told_and_repeats(game: Game) -> None:
    first = game.first
    first.begins(game.users)
    ann, bob = (first.clients[user] for user in game.users)
    assert game.heard(ann, RaidStart) and game.heard(bob, RaidStart)
    first.fights(200)
    said = ann.heard()
    assert [type(one) for one in said if isinstance(one, RaidEnded)] == [RaidEnded]
    assert any(isinstance(one, RaidStruck) and one.damage for one in said)
    assert any(isinstance(one, RaidActOk) for one in said)
    record, grants = game.record()
    assert record.state is RaidState.FINISHED and len(record.scores) == 2
    ended = next(one for one in said if isinstance(one, RaidEnded))
    assert dict(record.scores) == {row.user: row.score for row in ended.scores}
    assert judged(record, grants).findings == []
    over = RaidOver(RAID, game.users, True)
    for peer in (first.center, first.matching):
        assert game.heard(peer, RaidOver) == [over]
    assert not first.world.engine.states["raids"].rooms
    assert first.world.log.events("error") == []


def test_raid_when_its_server_dies_in_battle_then_another_one_ends_it(game: Game) -> None:
    game.first.begins(game.users)
    game.first.fights(45)
    heir = game.heir()
    found = game.heard(heir.center, RaidTeamFound)
    assert [(one.user, one.number) for one in found] == [(user, 52) for user in game.users]
    entered = heir.enters(game.users[0])
    assert isinstance(entered, RaidEntered) and entered.hp < entered.hp_max
    assert entered.score > 0
    heir.begins([game.users[1]])
    heir.clients[game.users[0]].asks(RaidReady())
    heir.fights(200)
    record, grants = game.record()
    assert (record.state, record.number) == (RaidState.FINISHED, 52)
    assert judged(record, grants).findings == []
    scores = dict(record.scores)
    game.first.fights(200)  # the one that was only thought dead fights on, and its result is void
    assert game.record()[0] == record and dict(record.scores) == scores
    assert not game.first.world.engine.states["raids"].rooms
    assert not game.heard(game.first.center, RaidOver)


def test_raid_when_its_server_dies_and_nobody_returns_then_is_aborted(game: Game) -> None:
    game.first.begins(game.users)
    game.first.fights(45)
    heir = game.heir()
    heir.world.move(CONTENT.raids.return_wait_ms + 500)
    record, grants = game.record()
    assert record.state is RaidState.ABORTED and not grants and not record.scores
    assert game.heard(heir.center, RaidOver) == [RaidOver(RAID, game.users, False)]
    assert judged(record, grants).holds


@pytest.mark.parametrize("away_ms", [1_000, 15_000])
def test_raid_when_the_answer_to_its_taking_over_is_lost_then_it_goes_on_after_the_outage(
    game: Game, away_ms: int
) -> None:
    """Its row names the heir, so no look finds it any more: whoever does not ask for that answer
    again keeps its members out for ever."""
    game.first.begins(game.users)
    game.first.fights(45)
    world = game.first.world
    store = LostAnswer(world.store.database)
    heir = game.joins(store)
    heir.world.move(LEASE_MS + SWEEP_MS)
    world.run(world.store.leave(51, world.engine.env.node.incarnation))
    heir.world.move(2 * SWEEP_MS)
    assert store.database.raid_tables.raids[RAID].number == 52
    assert not heir.world.engine.states["raids"].rooms
    heir.world.move(away_ms)
    store.database.is_down = False
    heir.world.move(SWEEP_MS)
    found = game.heard(heir.center, RaidTeamFound)
    assert [(one.user, one.number) for one in found] == [(user, 52) for user in game.users]
    heir.begins(game.users)
    heir.fights(200)
    record, grants = game.record()
    assert (record.state, record.number) == (RaidState.FINISHED, 52)
    assert judged(record, grants).findings == [] and heir.world.engine.committer.is_idle


def test_raid_when_the_store_was_away_for_longer_than_a_lease_then_its_server_keeps_it(
    game: Game,
) -> None:
    """No lease holds then, and the other server may look before its own is renewed."""
    world = game.first.world
    other = game.joins(FakeStore(world.store.database)).world
    game.move(LEASE_MS + SWEEP_MS)
    world.store.database.is_down = True
    game.move(LEASE_MS + 2 * SWEEP_MS)
    world.store.database.is_down = False
    other.move(3 * SWEEP_MS)
    world.move(3 * SWEEP_MS)
    game.move(LEASE_MS + 2 * SWEEP_MS)
    record, _ = game.record()
    assert (record.state, record.number) == (RaidState.OPEN, 51)
    assert RAID in world.engine.states["raids"].rooms
    world.run(world.store.leave(51, world.engine.env.node.incarnation))
    other.move(2 * SWEEP_MS)  # of a server that is dead they are taken as soon as ever
    assert game.record()[0].number == 52


def test_raid_when_the_store_is_away_at_its_end_then_is_settled_when_it_is_back(
    game: Game,
) -> None:
    game.first.begins(game.users)
    game.first.world.store.database.is_down = True
    game.first.fights(200)
    ann = game.first.clients[game.users[0]]
    assert not game.heard(ann, RaidEnded)
    game.first.world.store.database.is_down = False
    game.first.world.move(1_000)
    assert len(game.heard(ann, RaidEnded)) == 1
    record, grants = game.record()
    assert record.state is RaidState.FINISHED and judged(record, grants).findings == []


def test_raid_when_a_member_comes_back_while_its_end_is_written_then_he_is_told(
    game: Game,
) -> None:
    game.first.begins(game.users)
    game.first.world.store.database.is_down = True
    game.first.fights(200)
    bob = game.users[1]
    game.first.clients[bob].leaves()
    game.first.world.store.database.is_down = False
    assert isinstance(
        game.first.enters(bob), RaidEntered
    )  # the row is offered again a little later
    game.first.world.move(1_000)
    for user in game.users:
        assert len(game.heard(game.first.clients[user], RaidEnded)) == 1
        assert game.first.clients[user].closed_reason


def test_raid_when_a_member_comes_while_its_start_is_written_then_he_hears_of_it(
    game: Game,
) -> None:
    ann, bob = game.users
    assert isinstance(game.first.enters(ann), RaidEntered)
    game.first.clients[ann].asks(RaidReady())
    game.first.world.move(CONTENT.raids.kinds[1].waiting_ms - 5 * TICK_MS)
    game.first.world.store.database.is_down = True
    game.first.world.move(6 * TICK_MS)
    game.first.world.store.database.is_down = False
    assert isinstance(game.first.enters(bob), RaidEntered)
    game.first.world.move(1_000)
    assert len(game.heard(game.first.clients[ann], RaidStart)) == 1
    assert len(game.heard(game.first.clients[bob], RaidStart)) == 1


def test_reservation_when_it_is_insisted_on_then_neither_others_nor_a_new_link_pass_it() -> None:
    server = Server(51)
    world = server.world
    names = (*NAMES, "cay", "dan")
    users = [world.account(name) for name in names]
    for user, name in zip(users, names, strict=True):
        world.login(user, name)
    first, second = (
        [Seated(user, 1, 1, user, f"name-{user}", 1, 0) for user in pair]
        for pair in (users[:2], users[2:])
    )
    world.store.database.is_down = True
    server.matching.post(RaidReserve(RAID, 1, first))
    world.settle()
    server.matching.post(RaidRelease(OTHER_RAID))
    world.settle()
    said = server.matching.heard()
    assert [(one.raid, one.held) for one in said] == [(OTHER_RAID, False)], "it waits for the first"
    again = world.peer(41, "matching")
    again.post(RaidRelease(RAID))
    world.settle()
    assert not again.heard(), "it was said not to be here, and opens a moment later"
    world.store.database.is_down = False
    world.move(1_000)
    again.post(RaidReserve(OTHER_RAID, 1, second))
    world.settle()
    answers = [one for one in again.heard() if isinstance(one, RaidReserved)]
    assert [(one.raid, one.held) for one in answers] == [(OTHER_RAID, True)]
    assert world.run(world.store.raid(RAID)).state is RaidState.ABORTED
    world.close()


def test_reservation_when_the_word_of_the_store_is_lost_then_the_room_opens_all_the_same() -> None:
    server = Server(51)
    world = server.world
    users = [world.account(name) for name in NAMES]
    for user, name in zip(users, NAMES, strict=True):
        world.login(user, name)
    world.store.faults.next_after = 1
    team = [Seated(user, 1, 1, user, f"name-{user}", 1, 0) for user in users]
    server.matching.post(RaidReserve(RAID, 1, team))
    server.matching.post(RaidRelease(RAID))  # it was not answered in time
    world.settle()
    assert not server.matching.heard() and not world.engine.committer.is_idle
    world.move(1_000)
    said = server.matching.heard()
    assert [(one.raid, one.held) for one in said if isinstance(one, RaidReserved)] == [(RAID, True)]
    assert [one for one in said if isinstance(one, RaidOver)] == [RaidOver(RAID, users, False)]
    assert world.run(world.store.raid(RAID)).state is RaidState.ABORTED
    assert world.engine.committer.is_idle
    world.close()
