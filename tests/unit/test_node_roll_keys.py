"""Keys of the rolls on a node: promised ahead, told to players, revealed when nobody can roll."""

from collections.abc import Callable

import pytest

from mmo.content import load_content
from mmo.errors import OperatorError
from mmo.node.roll_keys import RollKeys, publish
from mmo.roles.channel import ROLE
from mmo.state.roll import DAY_MS, REVEAL_AFTER_MS, commitment, day_key, day_of, rolls_until_ms
from mmo.testing.world import ROLL_SECRET, World
from mmo.wire.messages.enhance import RollKeyRow, RollKeysAsk, RollKeysOk

AHEAD = 7


def key_of(day: int) -> bytes:
    return day_key(ROLL_SECRET, day)


def told(game: World, first_day: int) -> list[RollKeyRow]:
    """What a new player is told from a day on."""
    answer = game.player(f"player-{len(game.store.database.accounts)}").asks(RollKeysAsk(first_day))
    assert isinstance(answer, RollKeysOk)
    return answer.keys


@pytest.fixture
def game(world: Callable[..., World]) -> World:
    return world(ROLE, content=load_content())


def test_commitments_are_public_before_their_day_and_keys_are_not(game: World) -> None:
    game.run(RollKeys(game.engine, key_of, AHEAD).refresh())
    today = day_of(game.clock())
    days = [day_of(game.clock() + ahead * DAY_MS) for ahead in range(AHEAD + 1)]
    assert told(game, today) == [RollKeyRow(day, commitment(key_of(day))) for day in days]


def test_a_key_is_public_once_no_session_of_its_day_can_roll(game: World) -> None:
    keeper = RollKeys(game.engine, key_of, AHEAD)
    game.run(keeper.refresh())
    today = day_of(game.clock())
    game.clock.move(rolls_until_ms(today) + REVEAL_AFTER_MS - 1 - game.clock())
    game.run(keeper.refresh())
    assert told(game, today)[0].key == b""
    game.clock.move(1)
    game.run(keeper.refresh())
    first, second = told(game, today)[:2]
    assert (first.day, first.key, second.key) == (today, key_of(today), b"")
    assert commitment(first.key) == first.commitment


def test_a_secret_that_was_not_promised_stops_the_start(game: World) -> None:
    game.run(publish(game.store, key_of, game.clock(), AHEAD))
    with pytest.raises(OperatorError, match="E0110"):
        game.run(publish(game.store, lambda day: day_key(b"x" * 32, day), game.clock(), AHEAD))


def test_a_store_that_is_away_is_asked_again(game: World) -> None:
    keeper = RollKeys(game.engine, key_of, AHEAD)
    game.store.faults.next_before = 1
    game.run(keeper.refresh())
    assert game.store.database.roll_keys == {}
    assert "roll keys not refreshed" in game.log.events("warning")
    game.run(keeper.refresh())
    assert len(game.store.database.roll_keys) == AHEAD + 1


@pytest.mark.parametrize(
    ("day", "until"), [(20260101, "2026-01-03"), (20251231, "2026-01-02"), (20240228, "2024-03-01")]
)
def test_a_day_rolls_until_the_end_of_the_next(day: int, until: str) -> None:
    last = rolls_until_ms(day)
    assert last % DAY_MS == 0 and f"{day_of(last)}" == until.replace("-", "")
