"""The network of a simulation: cores, clients' connections and links, with latency and loss.

Owns who is connected to whom and when bytes arrive. A core keeps the promises of `_core.pyi` as
`FakeCore` does, with the gate's judgement of tokens; frames of one connection arrive in order, and
what is on the way when a connection ends is lost. Decides no fault: `simulation` does.
"""

import json
import random
from collections.abc import Callable
from typing import Any

from mmo.client.protocol import HEADER
from mmo.testing.fake_core import FakeConnection, FakeCore
from mmo.testing.virtual_loop import VirtualLoop
from mmo.wire.codec import encode
from mmo.wire.messages.session import Closing
from mmo.wire.opcode import CloseReason, Op

CLIENT_PORT = 10_000
LINK_PORT = 20_000
LATENCY_S = (0.0002, 0.004)
APART_S = 1e-6
"""Least time between two frames of one connection: what is due at the same time has no order."""

REDIAL_S = 0.3
LEEWAY_MS = 2_000
PUMP_EVENTS_MAX = 256
PING, PONG, ENTER = int(Op.PING), int(Op.PONG), int(Op.ENTER)


class SimConnection(FakeConnection):
    """One end at a core. `hears` is told frames as they arrive at the other end, `ends` its
    end."""

    def __init__(self, conn: int, peer: int = 0, role: str = "") -> None:
        super().__init__(conn, peer, role)
        self.hears: Callable[[int, int, bytes], None] = lambda opcode, seq, body: None
        self.ends: Callable[[int], None] = lambda reason: None
        self.up_at = self.down_at = 0.0  # when the last frame of each direction arrives
        self.said_at = -1.0  # when the frames of `saying` were said, which arrive together
        self.saying: list[tuple[int, int, bytes]] = []


class SimCore(FakeCore):
    """A core of one simulated process. `held`: the process stands still, `is_waiting`: it lets its
    input wait; nothing is handed over then."""

    def __init__(self, network: "Network", number: int, role: Any) -> None:
        super().__init__()
        super().finish_shutdown()  # the descriptor of the fake is not needed
        self.network = network
        self.number = number
        self.role = role
        self.held = False
        self.is_waiting = False
        self.dead = False
        self.tail_arrives = False  # what it had said before it died, as a kernel sends it
        self.on_batch: Callable[[list[Any]], None] | None = None
        self._asked = False

    def start(self) -> dict[str, int]:
        """Reachable from now on."""
        self.network.cores[self.number] = self
        return {"client": CLIENT_PORT + self.number, "link": LINK_PORT + self.number}

    def fileno(self) -> int:
        """The loop of a simulation reads none."""
        return -1

    def _new(self, peer: int = 0, role: str = "") -> FakeConnection:
        self._conns += 1
        connection = SimConnection(self._conns, peer, role)
        self.connections[connection.conn] = connection
        return connection

    def _put(self, event: Any) -> None:
        """What the process itself brings about is handed over when it is done."""
        self._events.append(event)
        if not self._asked and not self.dead:
            self._asked = True
            self.network.loop.call_soon(self.pump_now)

    def arrived(self, *events: Any) -> None:
        """What comes from outside finds nothing of the process running: it is handed over at
        once."""
        self._events.extend(events)
        self.pump_now()

    def _quiet(self) -> None:
        """Nothing to quieten."""

    def pump_now(self) -> None:
        """Hand over what waits, unless the process stands still or does not want it yet."""
        self._asked = False
        while self._events and self.on_batch is not None and not self.dead:
            if self.held or self.is_waiting:
                return
            events = [self._events.popleft() for _ in range(min(PUMP_EVENTS_MAX, self.waiting))]
            self.on_batch(events)

    def hold(self, held: bool) -> None:
        """The process lets its input wait, or goes on with it."""
        self.is_waiting = held
        self._soon()

    def go_on(self) -> None:
        """The process runs again."""
        self.held = False
        self._soon()

    def _soon(self) -> None:
        if self._events and not self._asked:
            self._asked = True
            self.network.loop.call_soon(self.pump_now)

    def send_many(self, messages: Any) -> list[int]:
        """Each on its way to whoever hears the connection; the conns that are gone come back."""
        refused: dict[int, None] = {}
        for conn, opcode, seq, body in messages:
            found = self.connections.get(conn)
            if found is None:
                refused[conn] = None
            else:
                self._sent_total += 1
                self.network.down(self, found, opcode, seq, body)
        return list(refused)

    def close(self, conn: int, reason: int) -> None:
        """Tell the other end why, then CLOSED."""
        found = self.connections.pop(conn, None)
        if found is None:
            return
        found.closed_reason = int(reason)
        if found.peer:
            self._put((conn, found.peer, int(Op.PEER_DOWN), int(reason), b""))
            self.network.link_ended(self, found)
            return
        body = encode(Closing(int(reason)))
        self.network.down(self, found, int(Op.CLOSING), 0, body, last=int(reason))
        self._put((conn, found.user, int(Op.CLOSED), int(reason), b""))

    def dial(self, peer: int, address: str) -> None:
        """Keep a link, from now on."""
        if self.dialled.get(peer) != address:
            self.dialled[peer] = address
            self.network.link_soon(self, peer)

    def undial(self, peer: int) -> None:
        """Forget it and end the link."""
        self.dialled.pop(peer, None)
        for found in [c for c in self.connections.values() if c.peer == peer]:
            self.close(found.conn, CloseReason.LINK_LOST)

    def finish_shutdown(self) -> None:
        """Unreachable from now on; what it said before arrives."""
        self.dead = self.tail_arrives = True

    def heard(self, connection: FakeConnection, opcode: int, seq: int, body: bytes) -> None:
        """A frame of a client arrived: through the gate."""
        if self.dead or connection.conn not in self.connections:
            return
        if opcode == PING:
            self.network.down(self, connection, PONG, seq, body)
        elif opcode == ENTER:
            self._enter(connection, seq, body)
        elif not self._stopping:
            source = connection.peer or connection.user
            self.arrived((connection.conn, source, opcode, seq, body))

    def _enter(self, connection: FakeConnection, seq: int, body: bytes) -> None:
        try:
            shown = json.loads(body)
            claims = shown["claims"]
        except (ValueError, KeyError, TypeError):
            self.close(connection.conn, CloseReason.TOKEN_INVALID)
            return
        here = claims["aud"] in (self.role.name, str(self.number), "session")
        if shown["typ"] not in self.role.token_types or not here:
            self.close(connection.conn, CloseReason.TOKEN_INVALID)
        elif claims["exp"] * 1000 + LEEWAY_MS < self.network.now_ms():
            self.close(connection.conn, CloseReason.TOKEN_EXPIRED)
        else:
            self.enter(connection, int(claims["sub"]), seq, shown["typ"], claims)


class Network:
    """All cores by number, and everything on its way."""

    def __init__(self, loop: VirtualLoop, rng: random.Random, now_ms: Callable[[], int]) -> None:
        self.loop = loop
        self.rng = rng
        self.now_ms = now_ms
        self.cores: dict[int, SimCore] = {}
        self.slow_s = 0.0  # added to every latency
        self._links: dict[SimConnection, tuple[SimCore, SimConnection]] = {}

    def _latency_s(self) -> float:
        low, high = LATENCY_S
        return low + (high - low) * self.rng.random() + self.slow_s * self.rng.random()

    def down(
        self, core: SimCore, found: Any, opcode: int, seq: int, body: bytes, last: int = 0
    ) -> None:
        """A frame on its way from a core; `last`: the connection ends with it."""
        now_s, said = self.loop.now_s, (opcode, seq, body)
        if found.said_at == now_s and not last:
            found.saying.append(said)  # in one segment with what was said before
            return
        at = max(found.down_at + APART_S, now_s + self._latency_s())
        found.down_at, found.said_at, found.saying = at, now_s, [said]
        arrive = self._arrive_at_peer if found.peer else self._arrive
        self.loop.call_at(at, arrive, core, found, found.saying, last)

    def _arrive_at_peer(self, core: SimCore, near: SimConnection, saying: Any, last: int) -> None:
        pair = None if core.dead else self._links.get(near)
        if pair is not None:
            other, far = pair
            if not other.dead and far.conn in other.connections and not other._stopping:
                other.arrived(*((far.conn, far.peer, *said) for said in saying))

    def _arrive(self, core: SimCore, found: SimConnection, saying: Any, last: int) -> None:
        is_lost = core.dead and not core.tail_arrives
        for said in [] if is_lost else saying:
            found.hears(*said)
        if last:  # whether it is told why or not, it ends
            found.ends(0 if is_lost else last)

    def connect(self, port: int, address: str) -> tuple[SimCore, SimConnection] | None:
        """A client's connection to a port; None when nobody listens."""
        core = self.cores.get(port - CLIENT_PORT)
        if core is None or core.dead:
            return None
        connection = core.connect(address)
        assert isinstance(connection, SimConnection)
        return core, connection

    def up(self, core: SimCore, found: SimConnection, data: bytes, copies: int = 1) -> None:
        """Bytes of a client's frame on their way to a core; `copies`: some requests are sent
        twice by whoever doubts that they arrived."""
        _, opcode, seq = HEADER.unpack_from(data)
        body = data[HEADER.size :]
        for _ in range(copies):
            at = max(found.up_at + APART_S, self.loop.now_s + self._latency_s())
            found.up_at = at
            self.loop.call_at(at, core.heard, found, opcode, seq, body)

    def hang_up(self, core: SimCore, found: SimConnection) -> None:
        """A client is gone; the core learns of it a little later."""
        found.hears = lambda opcode, seq, body: None
        found.ends = lambda reason: None
        self.loop.call_later(self._latency_s(), self._gone, core, found)

    def _gone(self, core: SimCore, found: SimConnection) -> None:
        if not core.dead:
            core.disconnect(found)

    def link_soon(self, core: SimCore, peer: int) -> None:
        """Dial until it is up."""
        self.loop.call_later(self._latency_s(), self._link, core, peer)

    def _link(self, core: SimCore, peer: int) -> None:
        if core.dead or peer not in core.dialled:
            return
        if any(found.peer == peer for found in core.connections.values()):
            return
        other = self.cores.get(peer)
        if other is None or other.dead:
            self.loop.call_later(REDIAL_S, self._link, core, peer)
            return
        near = core.link(peer, other.role.name)
        far = other.link(core.number, core.role.name)
        assert isinstance(near, SimConnection) and isinstance(far, SimConnection)
        self._links[near], self._links[far] = (other, far), (core, near)

    def link_ended(self, core: SimCore, found: Any) -> None:
        """One end is gone: the other notices, and whoever dialled dials again."""
        pair = self._links.pop(found, None)
        if pair is not None:
            other, far = pair
            self._links.pop(far, None)
            if not other.dead and far.conn in other.connections:
                self.loop.call_later(
                    self._latency_s(), other.close, far.conn, int(CloseReason.LINK_LOST)
                )
        if found.peer in core.dialled:
            self.loop.call_later(REDIAL_S, self._link, core, found.peer)

    def cut_link(self) -> bool:
        """One link ends; what is on it is lost. False without any."""
        ends = [near for near in self._links if near.conn in self._links[near][0].connections]
        if not self._links or not ends:
            return False
        near = self.rng.choice(sorted(ends, key=lambda one: (one.peer, one.conn)))
        core = self._links[self._links[near][1]][0]
        core.close(near.conn, CloseReason.LINK_LOST)
        return True

    def core_died(self, core: SimCore) -> None:
        """The kernel of its machine ends all its connections; what the process had handed to it for
        clients arrives before that, or is lost with the machine."""
        if not core.dead:  # else it ended in order
            core.tail_arrives = self.rng.random() < 0.5
        core.dead = True
        for found in list(core.connections.values()):
            if found.peer:
                self.link_ended(core, found)
            else:
                assert isinstance(found, SimConnection)
                at = max(found.down_at + APART_S, self.loop.now_s + self._latency_s())
                self.loop.call_at(at, found.ends, 0)
        core.connections.clear()
        if self.cores.get(core.number) is core:
            del self.cores[core.number]
