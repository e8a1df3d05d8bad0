"""Links: what is dialled, asked, answered, and what happens when nobody answers."""

from collections.abc import Callable
from typing import Any

from tests.unit.node_game import messages as m
from tests.unit.node_game.roles import CENTER, CHANNEL

from mmo.store import LeaseRow
from mmo.testing.fake_store import FakeStore
from mmo.testing.fake_tables import FakeDatabase
from mmo.testing.world import Client, World
from mmo.wire.messages.link import LeaseSeen
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import CloseReason, Code

GAME = "tests.unit.node_game"
MakeWorld = Callable[..., World]


def a_world(world: MakeWorld, role: Any = CHANNEL, **settings: Any) -> tuple[World, FakeStore]:
    store = FakeStore(FakeDatabase())
    game = world(role, store=store, systems_package=GAME, **settings)
    store.database.clock_ms = game.clock
    game.run(store.lease(game.node.lease.row, game.settings.lease_ms))
    return game, store


def lease(number: int, role: str, link_port: int = 7_000) -> LeaseRow:
    return LeaseRow(number, role, f"{role}-{number}", 0, "h", 1, "10.0.0.1", link_port, True)


def test_dial_when_leases_are_read_links_the_roles_of_this_one(world: MakeWorld) -> None:
    game, store = a_world(world, CENTER, number=3)
    other = FakeStore(store.database)
    for row in (lease(2, "center"), lease(4, "center", 7_004), lease(11, "channel")):
        game.run(other.lease(row, 6_000))
    game.move(1_000)
    assert game.core.dialled == {4: "10.0.0.1:7004"}  # the lower number dials the higher


def test_dial_when_a_lease_ends_drops_the_link(world: MakeWorld) -> None:
    game, store = a_world(world)
    game.run(FakeStore(store.database).lease(lease(2, "center"), 3_000))
    game.move(1_000)
    assert game.core.dialled == {2: "10.0.0.1:7000"}
    game.move(4_000)
    assert game.core.dialled == {}


def asker(game: World) -> tuple[Client, Client]:
    player, center = game.player("Ann"), game.peer(2, "center")
    player.heard()
    return player, center


def test_ask_when_answered_is_decided_in_the_askers_lane(world: MakeWorld) -> None:
    game, _ = a_world(world)
    player, center = asker(game)
    seq = player.post(m.AskKin(2))
    player.post(m.Echo("later"))
    game.settle()
    assert player.heard() == []  # the lane is closed until the answer
    [kin] = [x for x in center.heard() if isinstance(x, m.Kin)]
    assert kin.user == player.user
    center.post(m.KinOk(kin.request + 100, "of nobody"))
    center.post(m.KinOk(kin.request, "hello"))
    center.post(m.KinOk(kin.request, "twice"))
    game.settle()
    assert player.heard() == [m.Echoed("hello Ann", seq), m.Echoed("later", 1)]


def test_ask_when_another_server_answers_is_not_taken(world: MakeWorld) -> None:
    game, _ = a_world(world)
    player, center = asker(game)
    other = game.peer(9, "center")
    player.post(m.AskKin(2))
    game.settle()
    [kin] = [x for x in center.heard() if isinstance(x, m.Kin)]
    other.post(m.KinOk(kin.request, "forged"))
    game.settle()
    assert player.heard() == []


def test_ask_when_nobody_is_linked_is_refused_at_once(world: MakeWorld) -> None:
    game, _ = a_world(world)
    player = game.player("Ann")
    assert player.asks(m.AskKin(2)) == Refused(Code.SERVER_AWAY)
    assert player.asks(m.Echo("on")) == m.Echoed("on", 1)


def test_ask_when_the_answer_is_late_is_refused(world: MakeWorld) -> None:
    game, _ = a_world(world)
    player, center = asker(game)
    player.post(m.AskKin(2))
    game.settle()
    [kin] = [x for x in center.heard() if isinstance(x, m.Kin)]
    game.move(2_000)
    assert player.heard() == [Refused(Code.SERVER_AWAY)]
    center.post(m.KinOk(kin.request, "too late"))
    game.settle()
    assert player.heard() == []


def test_ask_when_the_link_ends_is_refused_now(world: MakeWorld) -> None:
    game, _ = a_world(world)
    player, center = asker(game)
    player.post(m.AskKin(2))
    game.settle()
    game.core.close(center.connection.conn, CloseReason.LINK_LOST)
    game.settle()
    assert player.heard() == [Refused(Code.SERVER_AWAY)]


def test_peer_message_when_about_a_player_waits_for_his_lane(world: MakeWorld) -> None:
    game, _ = a_world(world)
    player, center = asker(game)
    player.post(m.AskKin(2))
    game.settle()
    [kin] = [x for x in center.heard() if isinstance(x, m.Kin)]
    center.post(m.Kin(77, player.user))
    game.settle()
    assert [x for x in center.heard() if isinstance(x, m.KinOk)] == []
    center.post(m.KinOk(kin.request, "first"))
    game.settle()
    assert center.heard() == [m.KinOk(77, f"kin of {player.user}")]


def test_peer_message_when_undecodable_is_counted_only(world: MakeWorld) -> None:
    game, _ = a_world(world)
    _, center = asker(game)
    for opcode in (m.KIN, m.KIN_OK, 30, 99):
        center.post(b"\xc1", opcode)
    game.settle()
    assert game.engine.metrics.counts["messages_undecodable_total"] == 4
    assert [x for x in center.heard() if not isinstance(x, LeaseSeen)] == []


def test_lease_when_lost_while_others_renew_fences_the_node(world: MakeWorld) -> None:
    game, store = a_world(world)
    player, center = asker(game)
    store.database.is_down = True
    for _ in range(4):
        game.move(1_000)
        center.post(LeaseSeen(100))
        game.settle()
    game.move(1_000)
    assert game.node.lease.is_lost
    assert player.closed_reason == CloseReason.NODE_FENCED
    assert game.loop.run_until_complete(game.node.run()) == 3


def test_lease_when_nobody_can_renew_stays_and_combat_goes_on(world: MakeWorld) -> None:
    game, store = a_world(world)
    player, center = asker(game)
    store.database.is_down = True
    for second in range(1, 31):
        game.move(1_000)
        center.post(LeaseSeen(second * 1_000))
        game.settle()
    assert not game.node.lease.is_lost
    assert player.asks(m.Strike(1)) == m.Struck(1)
    store.database.is_down = False
    game.move(2_000)
    assert player.asks(m.Buy(player.operation(), 1)) == m.Bought(2)


def test_lease_when_the_number_was_taken_fences_the_node(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = game.player("Ann")
    held = store.database.leases[11]
    held.row = lease(11, "channel")
    game.move(2_000)
    assert player.closed_reason == CloseReason.NODE_FENCED
    assert game.loop.run_until_complete(game.node.run()) == 3


def test_node_when_ready_tells_others_that_its_lease_is_fresh(world: MakeWorld) -> None:
    game, _ = a_world(world)
    center = game.peer(2, "center")
    game.move(3_000)
    told = [x.renewed_ms for x in center.heard() if isinstance(x, LeaseSeen)]
    assert len(told) == 3 and max(told) <= 1_000
