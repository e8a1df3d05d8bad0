"""A state with rooms for tests of generations: each room keeps what its rule said at each tick."""

from typing import Any, ClassVar

from mmo.state.change import Effect


class Halls:
    """Rooms by number, and the room of each user."""

    def __init__(self) -> None:
        self.rooms: dict[int, list[str]] = {}
        self.where: dict[int, int] = {}

    def pin_of(self, user: int) -> int:
        return self.where.get(user, 0)


class HallOpened(Effect, frozen=True):
    of: ClassVar[str] = "halls"

    number: int
    user: int

    def apply(self, state: Halls) -> None:
        state.rooms[self.number] = []
        state.where[self.user] = self.number


class HallClosed(Effect, frozen=True):
    of: ClassVar[str] = "halls"

    number: int

    def apply(self, state: Halls) -> None:
        state.rooms.pop(self.number, None)


class HallTicked(Effect, frozen=True):
    of: ClassVar[str] = "halls"

    room: Any
    word: str

    def apply(self, state: Halls) -> None:
        self.room.append(self.word)
