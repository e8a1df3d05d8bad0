"""Season passes of the tests: small ones that run in a period of their own."""

from typing import Any

import msgspec
from tests.systems.game import CENTER, CONTENT, Game

from mmo.content.passes import MissionRow, Reward, Season

STARTS, ENDS = 1_000_000, 2_000_000
FREE, PAID = 0, 1


def mission(number: int = 1, event: str = "kill", goal: int = 1, exp: int = 1, times: int = 99) -> (
    MissionRow
):  # fmt: skip
    """A mission of the tests."""
    return MissionRow(number, event, goal, exp, times)


def reward(level: int = 1, line: int = FREE, **gives: Any) -> Reward:
    """A reward; 5 gold when nothing else is said."""
    fields = {"kind": -1, "code": 0, "count": 1, "days": 0, "gold": 0, "mileage": 0}
    return Reward(level, line, **{**fields, **(gives or {"gold": 5})})


def season(number: int = 1, *, exp_need: tuple[int, ...] = (2, 3, 4), **changed: Any) -> Season:
    """A pass of the tests with one mission and a reward on each line of level 1."""
    rewards = changed.pop("rewards", (reward(), reward(line=PAID)))
    fields: dict[str, Any] = {
        "number": number,
        "name": f"Season {number}",
        "starts_ms": STARTS,
        "ends_ms": ENDS,
        "exp_need": exp_need,
        "price_cash": 50,
        "missions": (mission(),),
        "rewards": {(each.level, each.line): each for each in rewards},
    }
    return Season(**{**fields, **changed})


def at(now_ms: int, *seasons: Season) -> Game:
    """A center at one moment whose content has these passes only."""
    game = Game("center", CENTER)
    passes = msgspec.structs.replace(
        CONTENT.passes, seasons={each.number: each for each in seasons}
    )
    game.content = msgspec.structs.replace(CONTENT, passes=passes)
    game.now_ms = now_ms
    return game
