"""A running season pass as its player sees it: part of what he is told on arrival and of his own
progress. No message of its own."""

import msgspec


class MissionView(msgspec.Struct, array_like=True, frozen=True):
    """One mission of a pass and how far the player is in it."""

    mission: int  # 1..
    event: str  # kill, raid, purchase, enhance, login
    progress: int
    goal: int
    exp: int
    done: int  # times finished


class PassView(msgspec.Struct, array_like=True, frozen=True):
    """A running pass of the player. `claimed` are (level, line) pairs."""

    pass_id: int
    name: str
    starts_ms: int
    ends_ms: int
    level_max: int
    level: int
    exp: int
    paid: bool
    price_cash: int
    claimed: list[tuple[int, int]]
    missions: list[MissionView]
