"""Following one player: what is told of his messages, and that nobody else pays for it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.node_game import messages as m
from tests.unit.node_game.roles import CHANNEL

from mmo.contract import Outcome
from mmo.errors import OperatorError
from mmo.node.handlers import ORIGINS, Table
from mmo.node.tracing import EVENTS_MAX, PLAYERS_MAX
from mmo.testing.fake_store import FakeStore
from mmo.testing.world import Client, World

GAME = "tests.unit.node_game"
MakeWorld = Callable[..., World]
FOR_MS = 3_000


def followed(world: MakeWorld, **settings: Any) -> tuple[World, Client]:
    """A node and a player whom it follows."""
    game = world(CHANNEL, systems_package=GAME, **settings)
    player = game.player("Ann")
    game.engine.tracing.follow(player.user, FOR_MS)
    return game, player


def seen(game: World, player: Client) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = game.engine.tracing.follow(player.user, FOR_MS)["events"]
    return events


def test_trace_when_a_message_is_simple_tells_its_times_and_its_answer(world: MakeWorld) -> None:
    game, player = followed(world)
    assert player.asks(m.Echo("hi")) == m.Echoed("hi", 1)
    (event,) = seen(game, player)
    assert (event["opcode"], event["outcome"]) == (str(m.ECHO), str(m.ECHOED))
    assert (event["user"], event["generation"]) == (player.user, game.settings.generation)
    assert event["lane_wait_us"] >= 0 and event["decide_us"] >= 0
    assert event["reply_us"] >= event["lane_wait_us"] + event["decide_us"]
    assert event["commit_us"] is None and event["op"] is None
    assert seen(game, player) == []


def test_trace_when_a_change_is_durable_tells_its_operation_and_commit(world: MakeWorld) -> None:
    game, player = followed(world)
    operation = player.operation()
    assert player.asks(m.Buy(operation, 5)) == m.Bought(5)
    (event,) = seen(game, player)
    assert event["op"] == list(operation)
    assert event["commit_us"] > 0


def test_trace_when_a_rule_refuses_tells_the_code(world: MakeWorld) -> None:
    game, player = followed(world)
    player.asks(m.Buy(player.operation(), 0))
    player.asks(b"\xc1", opcode=m.ECHO)
    outcomes = [event["outcome"] for event in seen(game, player)]
    assert outcomes == ["refused COOLDOWN", "refused BAD_MESSAGE"]


def test_trace_when_something_was_earned_tells_the_internal_message_too(world: MakeWorld) -> None:
    game, player = followed(world)
    assert player.asks(m.Strike(3)) == m.Struck(1)
    opcodes = [event["opcode"] for event in seen(game, player)]
    assert opcodes == [str(m.STRIKE), str(m.PAID)]


def test_trace_when_he_comes_on_a_new_connection_goes_on(world: MakeWorld) -> None:
    game, player = followed(world)
    again = game.resumes(player, "Ann")
    seen(game, player)
    again.asks(m.Echo("hi"))
    assert [event["opcode"] for event in seen(game, player)] == [str(m.ECHO)]


def test_trace_when_over_leaves_the_fast_path_as_it_was(world: MakeWorld) -> None:
    game, player = followed(world)
    source = game.engine.lanes.users[player.user].source
    assert source is not None and not any(route.simple for route in source.routes.values())
    game.move(FOR_MS + 1)
    assert not game.engine.traces
    assert source.routes is game.engine.residents.routes_of_users
    game.engine.tracing.follow(player.user, FOR_MS)
    game.engine.tracing.follow(player.user, 0)
    assert not game.engine.traces and source.routes is game.engine.residents.routes_of_users


def test_trace_of_another_player_is_not_touched(world: MakeWorld) -> None:
    game, player = followed(world)
    other = game.player("Bob")
    other.asks(m.Echo("hi"))
    source = game.engine.lanes.users[other.user].source
    assert source is not None and source.routes is game.engine.residents.routes_of_users
    assert seen(game, player) == []


def test_trace_when_nobody_reads_keeps_the_newest_and_counts_the_rest(world: MakeWorld) -> None:
    game, player = followed(world, lane_messages_max=4)
    for _ in range(EVENTS_MAX + 3):
        player.asks(m.Echo("hi"))
    said = game.engine.tracing.follow(player.user, FOR_MS)
    assert (len(said["events"]), said["lost"]) == (EVENTS_MAX, 3)


def test_trace_of_too_many_players_is_refused(world: MakeWorld) -> None:
    game = world(CHANNEL, systems_package=GAME, store=FakeStore())
    for user in range(1, PLAYERS_MAX + 1):
        game.engine.tracing.follow(user, FOR_MS)
    with pytest.raises(OperatorError, match="E0725"):
        game.engine.tracing.follow(99, FOR_MS)
    assert game.engine.tracing.follow(98, 0) == {"events": [], "lost": 0}


def test_a_followed_player_is_decided_by_the_newer_generation_at_once(world: MakeWorld) -> None:
    game, player = followed(world)
    engine, newer = game.engine, Table()
    for by in ORIGINS:
        newer.of(by).update(engine.table.of(by))
    newer.ticks = engine.table.ticks
    route = newer.user[m.ECHO] = copy.copy(engine.table.user[m.ECHO])
    route.bound = lambda message: Outcome(replies=(m.Echoed("newer", 7),))
    route.call = lambda message, player: route.bound(message)
    engine.decide_by(engine.role, engine.env, newer)
    assert player.asks(m.Echo("hi")) == m.Echoed("newer", 7)
    assert [event["opcode"] for event in seen(game, player)] == [str(m.ECHO)]
