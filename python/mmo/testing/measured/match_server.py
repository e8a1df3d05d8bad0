"""A matching server as it is measured: the real node, rules and codec over a fake core.

Owns the server, the links of centers and raid servers to it, the tickets that are put, the answers
of the raid servers, and the judgement of every team: each ticket at most once, parties whole,
nobody lost. The load itself is `match_load`.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from mmo.content import load_content
from mmo.log import open_log
from mmo.node.node import Node, compose
from mmo.roles import ROLES
from mmo.testing.fake_core import FakeConnection, FakeCore
from mmo.testing.fake_store import FakeStore
from mmo.testing.world import node_settings
from mmo.wire.codec import decode, encode
from mmo.wire.messages.link import ServerLoad
from mmo.wire.messages.raid_link import RaidReserve, RaidReserved, TicketPut, TicketRow
from mmo.wire.opcode import Op

NUMBER, CENTERS, RAIDS = 21, (2, 3), tuple(range(31, 51))
STEP_S, LOADS_EVERY_S = 0.005, 0.25
LEVEL_MAX = 15


async def pause(seconds: float) -> None:
    """The pace of the load: let the node run meanwhile."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(seconds, over.set_result, None)
    await over


class MatchServer:
    """One matching server and all that talks to it."""

    def __init__(self) -> None:
        content = load_content()
        self.sizes = {number: row.team_size for number, row in content.raids.kinds.items()}
        self.level_min = {number: row.level_min for number, row in content.raids.kinds.items()}
        self.core = FakeCore()
        self.engine = compose(
            node_settings(NUMBER, "matching", seed=1),
            ROLES["matching"],
            FakeStore(),
            content,
            log=open_log("measured", level="error"),
            systems_package="mmo.systems",
            edges_package="mmo.edges",
            clock_ms=lambda: time.time_ns() // 1_000_000,
        )
        self.node = Node(self.engine, self._make_core, tuple(ROLES))
        self.links: dict[int, FakeConnection] = {}
        self.rooms = dict.fromkeys(RAIDS, 0)  # free
        self.rooms_return = False  # every raid ends at once
        self.intended_s = 0.0
        self.told_s = 0.0
        self.tickets = 0
        self.parties = 0
        self.made: dict[int, int] = {}  # size of a party -> how many
        self.arrived_s: dict[int, float] = {}  # ticket -> intended arrival; until it is decided
        self.party_of: dict[int, tuple[int, ...]] = {}  # ticket -> tickets of its party
        self.freed_s: deque[float] = deque()  # rooms without a team yet
        self.decided_ms: list[float] = []
        self.found: dict[int, int] = {}  # ticket -> times it was told a seat
        self.refused = 0
        self.doubled = 0
        self.split = 0

    def _make_core(self, incarnation: int, fields: Mapping[str, Any]) -> Any:
        return self.core

    async def start(self) -> None:
        """Start the node and bring the links up."""
        await self.node.start()
        for number in CENTERS:
            self.links[number] = self.core.link(number, "center")
        for number in RAIDS:
            self.links[number] = self.core.link(number, "raid")
        self.tell_loads()
        await self.drained()

    async def stop(self) -> None:
        """End the node."""
        self.node.stop(0)
        await self.node.run()

    def tell_loads(self) -> None:
        """Every center lives; every raid server has `rooms` free."""
        self.told_s = time.perf_counter()
        for number in CENTERS:
            self._send(number, ServerLoad(number, "center", f"c{number}", "", 1, 0, 0, True))
        for number in RAIDS:
            self.tell_load(number)

    def tell_load(self, number: int) -> None:
        """The rooms that one raid server has left."""
        load = ServerLoad(number, "raid", f"r{number}", "h", 1, 0, self.rooms[number], True)
        self._send(number, load)

    def _send(self, number: int, message: Any) -> None:
        self.core.send(self.links[number], int(message.opcode), 0, encode(message))

    def puts(self, kind: int, size: int) -> Iterator[tuple[int, bytes, int]]:
        """One party of `size`, or one alone: (center, encoded TICKET_PUT, ticket) of each."""
        code = ""
        if size > 1:
            self.parties += 1
            code = f"P{self.parties}"
        self.made[size] = self.made.get(size, 0) + 1  # of every size as many in each group
        lowest = self.level_min[kind]
        level = lowest + self.made[size] * 7 % (LEVEL_MAX + 1 - lowest)
        first = self.tickets + 1
        mine = tuple(range(first, first + size))
        for ticket in mine:
            self.tickets = ticket
            self.party_of[ticket] = mine
            row = TicketRow(ticket, ticket, 1, kind, level, 10, time.time_ns() // 1_000_000,
                            f"name{ticket}", code, size if code else 0)  # fmt: skip
            yield CENTERS[ticket % 2], encode(TicketPut(ticket, row)), ticket

    def put(self, center: int, body: bytes, ticket: int, at_s: float) -> None:
        """A ticket arrives."""
        self.arrived_s[ticket] = at_s
        self.core.send(self.links[center], int(Op.TICKET_PUT), 0, body)

    async def fill(self, kind: int, size: int, tickets: int) -> None:
        """Let `tickets` players wait."""
        while self.tickets < tickets:
            for _ in range(64):
                for center, body, ticket in self.puts(kind, size):
                    self.put(center, body, ticket, time.perf_counter())
            await self.drained()

    async def drained(self) -> None:
        """The node has read everything."""
        while self.core.waiting:
            await asyncio.sleep(0)
            self.answer()

    def answer(self) -> None:
        """Read what the node sent: raid servers keep every seat at once, centers count. And tell
        the loads again when it is time."""
        now_s = time.perf_counter()
        if now_s - self.told_s > LOADS_EVERY_S:
            self.tell_loads()
        for number in RAIDS:
            for opcode, _, body in self.links[number].take():
                if opcode == Op.RAID_RESERVE:
                    self._reserved(number, decode(opcode, body), now_s)
        for number in CENTERS:
            for opcode, _, body in self.links[number].take():
                if opcode == Op.RAID_TEAM_FOUND:
                    ticket = decode(opcode, body).ticket
                    self.found[ticket] = self.found.get(ticket, 0) + 1
                elif opcode == Op.TICKET_PUT_OK:
                    self.refused += decode(opcode, body).code != 0

    def _reserved(self, number: int, asked: RaidReserve, now_s: float) -> None:
        tickets = [seated.ticket for seated in asked.team]
        arrivals = [self.arrived_s.pop(ticket, -1.0) for ticket in tickets]
        self.doubled += arrivals.count(-1.0)
        self.split += any(set(self.party_of[one]) - set(tickets) for one in tickets)
        self.split += len(tickets) != self.sizes[asked.kind]
        possible_s = self.freed_s.popleft() if self.freed_s else max(arrivals)
        self.decided_ms.append((now_s - possible_s) * 1_000)
        self.rooms[number] -= not self.rooms_return
        self._send(number, RaidReserved(asked.raid, number, True, "h", 1))

    async def paced(self, seconds: float, steps: Iterator[None], per_s: float) -> None:
        """Take one of `steps` every 1 / `per_s` seconds of intended time."""
        begun_s = time.perf_counter()
        for count in range(int(seconds * per_s)):
            self.intended_s = begun_s + count / per_s
            while time.perf_counter() < self.intended_s:
                await pause(STEP_S)
                self.answer()
            next(steps)
        await self.rest()

    async def rest(self) -> None:
        """Until nothing is decided for half a second."""
        still_s = time.perf_counter()
        decided = len(self.decided_ms)
        while time.perf_counter() - still_s < 0.5:
            await pause(STEP_S)
            self.answer()
            if len(self.decided_ms) != decided:
                decided, still_s = len(self.decided_ms), time.perf_counter()

    def books(self) -> dict[str, int]:
        """What must hold at the end of a phase."""
        state = self.engine.states["matching"]
        waiting = {ticket.ticket for ticket in state.tickets.values()}
        decided = {ticket for ticket, times in self.found.items() if times}
        return {
            "put": self.tickets,
            "waiting": len(waiting),
            "seated": len(decided),
            "lost": self.tickets - len(waiting | decided),
            "seated_twice": sum(times - 1 for times in self.found.values())
            + len(waiting & decided) + self.doubled,
            "split_or_wrong": self.split,
            "refused": self.refused,
            "rules_raised": self.engine.metrics.counts["rules_raised_total"],
        }  # fmt: skip
