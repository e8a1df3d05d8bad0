"""What a login tells of season passes, and that what moves them is durable at once."""

import msgspec
from tests.systems.game import CENTER, CONTENT, Game, applied, done, parts, player

from mmo.content.passes import Season
from mmo.state.counters import CounterRaised
from mmo.state.pass_progress import MissionCount, PassMoved, PassProgress
from mmo.state.player import Player
from mmo.systems.season_pass import count_event
from mmo.systems.welcome import welcome
from mmo.wire import codec
from mmo.wire.messages.presence import Welcome
from mmo.wire.messages.season_pass import PassEvent
from mmo.wire.opcode import Op

SEASON: Season = next(iter(CONTENT.passes.seasons.values()))
DELIVERED = ("head", "growth", "wallet", "bag", "score", "pass_progress")


def at(now_ms: int) -> Game:
    """A center at one moment."""
    game = Game("center", CENTER)
    game.now_ms = now_ms
    return game


def told(game: Game, resident: Player) -> Welcome:
    """WELCOME as a client reads it off the wire."""
    answer = welcome(
        **parts(resident, *DELIVERED), operation_counter=0, session_token="", env=game.env(1)
    )
    read: Welcome = codec.decode(Op.WELCOME, codec.encode(answer))
    return read


def test_season_pass_when_running_then_a_login_tells_period_levels_exp_and_line() -> None:
    resident = player(1)
    resident.pass_progress[SEASON.number] = PassProgress(SEASON.number, 2, 1, paid=True)
    (view,) = told(at(SEASON.starts_ms), resident).passes
    assert (view.starts_ms, view.ends_ms) == (SEASON.starts_ms, SEASON.ends_ms)
    assert (view.level_max, view.level, view.exp, view.paid) == (SEASON.level_max, 2, 1, True)


def test_season_pass_when_rewards_are_claimed_then_a_login_names_each_with_level_and_line() -> None:
    claimed = frozenset((level, line) for level in range(64) for line in (0, 1) if level % 3)
    resident = player(1)
    resident.pass_progress[SEASON.number] = PassProgress(SEASON.number, 5, 0, claimed=claimed)
    (view,) = told(at(SEASON.starts_ms), resident).passes
    assert {tuple(pair) for pair in view.claimed} == claimed
    assert len(view.claimed) == len(claimed)


def test_season_pass_when_outside_its_period_then_a_login_does_not_name_it() -> None:
    resident = player(1)
    resident.pass_progress[SEASON.number] = PassProgress(SEASON.number, 2, 1)
    assert told(at(SEASON.ends_ms - 1), resident).passes
    for moment_ms in (SEASON.starts_ms - 1, SEASON.ends_ms, SEASON.ends_ms + 1):
        assert told(at(moment_ms), resident).passes == []


def test_season_pass_when_an_event_moves_it_then_level_and_exp_are_a_durable_change() -> None:
    resident, game = player(1), at(SEASON.starts_ms)
    login = next(row for row in SEASON.missions if row.event == "login")
    outcome = done(
        count_event(
            PassEvent(1, "login"), **parts(resident, "pass_progress", "counters"), env=game.env(1)
        )
    )
    moved, counted = outcome.changes
    assert isinstance(moved, PassMoved) and isinstance(counted, CounterRaised)
    assert moved.missions == (MissionCount(login.number, 0, 1),)
    applied(resident, outcome)
    (view,) = told(game, resident).passes
    assert (view.level, view.exp) == (moved.level, moved.exp) != (0, 0)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(moved), type=PassMoved) == moved
