"""A raid server to play on: reservations, members with cards, ticks of one room.

Calls the rules as a node does, row by row, and remembers what would have been written and sent.
"""

from collections.abc import Callable
from typing import Any

from tests.systems.game import Game, done

from mmo.contract import Outcome, PlayerCard, Refuse, ToRole, ToUser, ToUsers
from mmo.state.raid_battle import Battle
from mmo.state.raid_room import Room
from mmo.systems import raid, raid_seats
from mmo.wire.messages.raid import RaidAct, RaidLeave, RaidReady
from mmo.wire.messages.raid_link import RaidReserve, Seated
from mmo.wire.messages.session import Claims, Disconnected, Entered
from mmo.wire.opcode import CloseReason

RAID = 9_001
RAID_SERVER = 31
TICK_MS = 50


class RaidGame(Game):
    """One raid server. `rows` are the rows in order, `heard` what each user was told."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__("raid", RAID_SERVER, seed)
        self.rows: list[Any] = []
        self.heard: dict[int, list[Any]] = {}
        self.links: list[tuple[str, Any]] = []
        self.kept: list[Any] = []
        self.closed: list[int] = []
        self.guard: Callable[[Any], bool] = lambda row: True
        self.conns: dict[int, int] = {}

    @property
    def room(self) -> Room:
        """The room of the one raid."""
        return self.raids.rooms[RAID]

    @property
    def battle(self) -> Battle:
        """The battle of that room."""
        battle = self.room.battle
        assert battle is not None, "it did not begin"
        return battle

    def does(self, outcome: Outcome | Refuse) -> Outcome:
        """All of an outcome, as the node does it."""
        said = done(outcome)
        if said.row is not None:
            self.rows.append(said.row)
            if not self.guard(said.row):
                assert isinstance(said.row_refused, Outcome)
                return self.does(said.row_refused)
        self.apply(said)
        for send in said.sends:
            if isinstance(send, ToUser):
                self.heard.setdefault(send.user, []).append(send.message)
            elif isinstance(send, ToUsers):
                for user in send.users:
                    self.heard.setdefault(user, []).append(send.message)
            elif isinstance(send, ToRole):
                self.links.append((send.role, send.message))
            else:
                self.kept.append(send)
        self.closed += [close.user for close in said.closes]
        return said

    def reserve(self, *users: int, kind: int = 1, number: int = RAID, level: int = 1) -> Any:
        """The answer to a reservation for these users."""
        team = [Seated(user, 1, 2, 100 + user, f"name{user}", level, 0) for user in users]
        message = RaidReserve(number, kind, team)
        said = self.does(raid_seats.reserve(message, raids=self.raids, env=self.env(peer=21)))
        return said.replies[0]

    def enter(
        self,
        user: int,
        *,
        level: int = 1,
        best: int = 0,
        worn: tuple[tuple[int, int, int], ...] = (),
        number: int = RAID,
        conn: int = 0,
    ) -> Any:
        """The answer to a member who shows his token."""
        self.conns[user] = conn or 100 + user
        claims = Claims("mmo", "31", str(user), 0, 0, "jti", 1, f"name{user}", number)
        card = PlayerCard(user, f"name{user}", 1, level, best, worn)
        message = Entered("raid+jwt", claims, False, card=card)
        env = self.env(user, conn=self.conns[user])
        return self.does(raid_seats.enter(message, raids=self.raids, env=env)).replies[0]

    def ready(self, user: int) -> Any:
        """He says that he can start."""
        env = self.env(user, conn=self.conns.get(user, 0))
        return self.does(raid_seats.ready(RaidReady(), raids=self.raids, env=env)).replies[0]

    def part(self, user: int, conn: int = 0) -> Outcome:
        """His connection ends."""
        message = Disconnected(user, CloseReason.PEER_CLOSED)
        env = self.env(user, conn=conn or self.conns.get(user, 0))
        return self.does(raid_seats.parted(message, raids=self.raids, env=env))

    def leave(self, user: int) -> Any:
        """He gives his seat up."""
        env = self.env(user, conn=self.conns.get(user, 0))
        return self.does(raid_seats.leave(RaidLeave(), raids=self.raids, env=env)).replies[0]

    def act(self, user: int, action: int = 0, number: int = 1) -> Outcome | Refuse:
        """One input; its effects hold."""
        env = self.env(user, conn=self.conns.get(user, 0))
        said = raid.act(RaidAct(action, number), raids=self.raids, env=env)
        return said if isinstance(said, Refuse) else self.does(said)

    def tick(self, count: int = 1, number: int = RAID) -> None:
        """Time goes on by ticks of one room while it exists."""
        for _ in range(count):
            self.now_ms += TICK_MS
            room = self.raids.rooms.get(number)
            if room is not None:
                self.does(raid.tick_room(room, env=self.env()))

    def begin(self, *users: int, kind: int = 1, level: int = 1) -> None:
        """A raid in which all members are here and ready, at its first tick."""
        assert self.reserve(*users, kind=kind, level=level).held
        for user in users:
            self.enter(user, level=level)
            self.ready(user)
        self.tick()
        assert self.room.fighting

    def told(self, user: int, kind: type) -> list[Any]:
        """What a user heard of one kind."""
        return [message for message in self.heard.get(user, []) if isinstance(message, kind)]

    def rows_of(self, kind: type) -> list[Any]:
        """The rows of one kind."""
        return [row for row in self.rows if isinstance(row, kind)]
