"""Rooms of the tiny game: each counts its ticks; some fail, some write a row and end."""

from typing import Any, ClassVar

import msgspec

from mmo.contract import Env, Outcome, Role, broken, ticks
from mmo.state.change import Effect
from mmo.state.place import SessionClosed


class Den:
    """One room. `mood`: "calm", "raises", "wrong", "slow", "writes"."""

    def __init__(self, number: int, mood: str = "calm") -> None:
        self.number = number
        self.mood = mood
        self.ticked: list[int] = []  # times
        self.user = 0


class Hall:
    """The volatile state: rooms by number and how they ended."""

    def __init__(self) -> None:
        self.rooms: dict[int, Den] = {}
        self.ended: list[tuple[int, str]] = []
        self.work: Any = lambda: None  # what a slow room does


class Ticked(Effect, frozen=True):
    of: ClassVar[str] = "hall"

    number: int
    at_ms: int

    def apply(self, state: Hall) -> None:
        state.rooms[self.number].ticked.append(self.at_ms)


class Ended(Effect, frozen=True):
    of: ClassVar[str] = "hall"

    number: int
    how: str

    def apply(self, state: Hall) -> None:
        del state.rooms[self.number]
        state.ended.append((self.number, self.how))


@ticks(every_ms=50, of="hall", each="rooms")
def beat(room: Den, *, env: Env) -> Outcome:
    if room.mood == "raises":
        raise RuntimeError("this room is broken")
    if room.mood == "wrong":
        return Outcome(replies=(msgspec.Raw(b""),))
    if room.mood == "slow":
        env.content()
    if room.mood == "writes":
        return Outcome(
            row=SessionClosed(room.user, 1),
            effects=(Ended(room.number, "written"),),
            row_refused=Outcome(effects=(Ended(room.number, "refused"),)),
        )
    return Outcome(effects=(Ticked(room.number, env.now_ms),))


@broken(of="hall")
def end(room: Den, *, env: Env) -> Outcome:
    if room.number == 13:
        raise RuntimeError("this one cannot even end")
    return Outcome(effects=(Ended(room.number, "broken"),))


ROLE = Role(name="raid", systems=("rooms",), states={"hall": lambda content, node: Hall()})
