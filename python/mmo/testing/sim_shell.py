"""Clients of a simulation: the real protocol and real journeys over a simulated network.

Owns the carrying out of steps, and what was asked and told by operation. Some requests leave
twice, as those of a client that doubts; some connections are cut. Called by `simulation`.
"""

import asyncio
import random
from collections import deque
from typing import Any

from mmo.client.protocol import HEADER, ClientProtocol, Event, frame
from mmo.client.shell import AsyncShell
from mmo.client.steps import Dial, Lost
from mmo.testing.sim_net import Network
from mmo.testing.virtual_loop import passes
from mmo.wire.messages.raid import DatagramKey
from mmo.wire.opcode import Op

Number = tuple[str, int, int]

DIAL_S = 0.001


class SimWitness:
    """Everything that was asked and told, by operation."""

    def __init__(self) -> None:
        self.told: dict[Number, tuple[int, bytes]] = {}
        self.asked: dict[Number, bytes] = {}
        self.asked_count = 0
        self.differing: list[str] = []
        self.doubled = 0.0  # share of requests with a number that leave twice
        self.lines: dict[tuple[str, str], SimLine] = {}

    def cut_one(self, rng: random.Random) -> None:
        """The network takes one connection away."""
        if self.lines:
            self.lines[rng.choice(sorted(self.lines))].cut(0)


class SimLine:
    """One connection of one player."""

    def __init__(self, shell: "SimShell", lane: str, port: int) -> None:
        opened = shell.network.connect(port, f"{shell.address}:{port}")
        if opened is None:
            raise Lost(lane, 0, f"nobody listens on {port}")
        self.core, self.connection = opened
        self.shell = shell
        self.lane = lane
        self.protocol = ClientProtocol()
        self.events: deque[Event] = deque()
        self.ended = False
        self.waiter: asyncio.Future[None] | None = None
        self._numbers: dict[int, Number] = {}
        self.connection.hears = self._hears
        self.connection.ends = self.cut

    def send(self, message: Any) -> int:
        """Write; the request's number."""
        seq, data = self.protocol.ask(message)
        witness, copies = self.shell.witness, 1
        operation = getattr(message, "op", None)
        if operation is not None:
            number = (self.shell.name, int(operation[0]), int(operation[1]))
            self._numbers[seq] = number
            witness.asked.setdefault(number, data[HEADER.size :])
            witness.asked_count += 1
            copies += self.shell.network.rng.random() < witness.doubled
        self.shell.network.up(self.core, self.connection, data, copies)
        return seq

    def _hears(self, opcode: int, seq: int, body: bytes) -> None:
        number = self._numbers.get(seq)
        if number is not None and opcode != Op.REFUSED and opcode not in _PUSHED:
            told = self.shell.witness.told.setdefault(number, (opcode, body))
            if told != (opcode, body):
                self.shell.witness.differing.append(f"{number} was answered in two ways")
            if seq not in self.protocol.waiting:
                return  # the answer to the copy that the network made
        elif number is not None and seq not in self.protocol.waiting:
            return
        events = self.protocol.receive(frame(opcode, seq, body))
        self.events.extend(events)
        self._wake()

    def cut(self, reason: int = 0) -> None:
        """The connection is over."""
        if not self.ended:
            self.ended = True
            self.shell.network.hang_up(self.core, self.connection)
            self.shell.witness.lines.pop((self.shell.name, self.lane), None)
            self._wake()

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def prove(self, key: DatagramKey) -> None:
        """The stream comes over the connection, as to whom no datagram reaches."""

    async def receive(self, wait_s: float) -> Event | None:
        """The next event, None after `wait_s`. Raises `Lost`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while not self.events:
            if self.ended:
                raise Lost(self.lane, self.protocol.reason)
            if loop.time() >= until:
                return None
            self.waiter = loop.create_future()
            handle = loop.call_at(until, self._wake)
            await self.waiter
            handle.cancel()
        return self.events.popleft()


_PUSHED = frozenset({int(Op.PASS_PROGRESS), int(Op.KILL_REWARD), int(Op.GRANT_REWARD)})


class SimShell(AsyncShell[SimLine]):
    """Carries out the steps of one walk."""

    def __init__(self, network: Network, witness: SimWitness, name: str, address: str) -> None:
        super().__init__()
        self.network = network
        self.witness = witness
        self.name = name
        self.address = address

    async def dial(self, step: Dial) -> SimLine:
        """Open a connection. Raises `Lost`."""
        await passes(DIAL_S)
        line = SimLine(self, step.lane, step.port)
        self.witness.lines[self.name, step.lane] = line
        return line

    async def pause(self, wait_s: float) -> None:
        """Let time pass."""
        await passes(wait_s)
