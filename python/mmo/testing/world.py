"""One node in one process for tests: real router, lanes and committer over a fake core and store.

Owns the virtual clock, the fake core and the turning of the node's loop until nothing is left to
do, so a test reads as a conversation. Never waits for real time. Made by the `world` fixture of
`mmo.testing.plugin`.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from mmo.contract import Role
from mmo.node.generation import Generation
from mmo.node.node import Node, compose
from mmo.node.settings import NodeSettings
from mmo.state.place import AccountRegistered, PlacePrepared, SessionOpened
from mmo.state.roll import day_key, roll
from mmo.testing.clock import VirtualClock
from mmo.testing.fake_core import FakeConnection, FakeCore
from mmo.testing.fake_store import FakeStore
from mmo.testing.fake_tables import FakeDatabase
from mmo.testing.raised import raised
from mmo.wire.codec import decode, encode

ROLES = ("login", "center", "channel", "matching", "raid", "cash")
RESERVATION_MS = 60_000
STILL_TURNS = 12
ROLL_SECRET = b"the roll secret of every world, 32 bytes"


def node_settings(number: int = 11, name: str = "node-under-test", **changed: Any) -> NodeSettings:
    """Settings for tests; any field may be given."""
    fields: dict[str, Any] = {
        "number": number, "name": name, "host": "127.0.0.1", "link_host": "127.0.0.1",
        "client_port": 0, "link_port": 0, "admin_socket": "", "generation": 1,
        "pump_events_max": 256, "lane_messages_max": 32, "earned_waiting_max": 32,
        "group_members_max": 64, "groups_in_flight_max": 4, "lease_ms": 6_000,
        "lease_renew_ms": 1_000, "lease_fence_ms": 4_000, "sweep_ms": 1_000,
        "rule_budget_ms": 250, "rule_failures_max": 20, "rule_failures_window_ms": 10_000,
        "resume_grace_ms": 10_000, "resident_rest_ms": 2_000, "drain_ms": 5_000, "leave_ms": 4_000,
        "busy_ms": 60_000,
        "room_tick_ms_max": 60_000, "player_edges_max": 8,
        "failpoints": False, "seed": 7, "metrics_host": "127.0.0.1", "metrics_port": -1,
        "edges_running_max": 4, "waiting_max": 100, "waiting_per_address_max": 0,
        "ticket_ms": 15_000,
    }  # fmt: skip
    return NodeSettings(**(fields | changed))


def sign(claims: Mapping[str, object], typ: str) -> str:
    """A token that `World.show` reads back; no signature, since no gate checks it here."""
    return json.dumps({"typ": typ, "claims": {"iss": "mmo", "nbf": 0, **claims}})


def keyed_roll(uid: int, attempt: int, table: int, day: int) -> int:
    """The roll of every world: under the key of a secret that anyone may know."""
    return roll(day_key(ROLL_SECRET, day), uid, attempt, table)


class Lines:
    """A log that remembers. Of an exception it keeps under `raised` what it was and where."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def carry(self, **keys: Any) -> None:
        """Keys of all lines; not kept."""

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda event, **keys: self._keep(level, event, keys)

    def _keep(self, level: str, event: str, keys: dict[str, Any]) -> None:
        fault = keys.pop("exc_info", None)
        if fault is True:
            fault = sys.exc_info()[1]
        if fault:
            keys["raised"] = raised(fault)
        self.lines.append((level, event, keys))

    def events(self, level: str = "") -> list[str]:
        """What was logged, of one level or all."""
        return [event for found, event, _ in self.lines if not level or found == level]


class Client:
    """One connection as a test sees it."""

    def __init__(self, world: "World", connection: FakeConnection) -> None:
        self._world = world
        self._seq = 0
        self._unread: list[tuple[int, int, bytes]] = []
        self.connection = connection
        self.user = 0
        self.epoch = 0
        self.counter = 0

    def post(self, message: Any, opcode: int = 0) -> int:
        """Send without letting the node run; returns the sequence number."""
        self._seq += 1
        body = message if isinstance(message, bytes) else encode(message)
        self._world.core.send(self.connection, opcode or message.opcode, self._seq, body)
        return self._seq

    def asks(self, message: Any, opcode: int = 0) -> Any:
        """Send, let the node run until it is quiet, and return the answer; None without one."""
        seq = self.post(message, opcode)
        self._world.settle()
        return self.answer(seq)

    def answer(self, seq: int) -> Any:
        """The first answer to `seq` so far."""
        for opcode, found, body in self.frames():
            if found == seq:
                return decode(opcode, body)
        return None

    def heard(self) -> list[Any]:
        """Everything since the last call, decoded, in order."""
        frames = self.frames()
        self._unread = []
        return [decode(opcode, body) for opcode, _, body in frames]

    def frames(self) -> list[tuple[int, int, bytes]]:
        """Opcode, sequence number and body of everything since the last `heard`."""
        self._unread += self.connection.take()
        return self._unread

    def operation(self) -> tuple[int, int]:
        """The next operation id of this session."""
        self.counter += 1
        return self.epoch, self.counter

    def leaves(self) -> None:
        """The connection breaks."""
        self._world.core.disconnect(self.connection)
        self._world.settle()

    @property
    def closed_reason(self) -> int:
        """Why the node or the core closed it; 0 while open."""
        return self.connection.closed_reason


class World:
    """A started node. `store`: a `FakeStore` unless given. `generation`: rules from a bundle, which
    the row of the store must name. Close it at the end."""

    def __init__(
        self,
        role: Role,
        *,
        store: Any = None,
        content: Any = None,
        passwords: Any = None,
        systems_package: str = "mmo.systems",
        edges_package: str = "mmo.edges",
        waits_for_threads: bool = False,
        generation: Generation | None = None,
        **settings: Any,
    ) -> None:
        self.clock = VirtualClock()
        self.waits_for_threads = waits_for_threads
        self.log = Lines()
        self.core = FakeCore()
        self.store = store if store is not None else self._fake_store()
        if generation is not None:
            role, content = generation.role, generation.content
            systems_package = generation.systems_package
            settings["generation"] = generation.number
        self.settings = node_settings(**settings)
        self.engine = compose(
            self.settings, role, self.store, content, log=self.log, passwords=passwords,
            systems_package=systems_package, edges_package=edges_package, sign=sign,
            roll=keyed_roll, clock_ms=self.clock, deadline_clock_ms=self.clock,
            generation=generation,
        )  # fmt: skip
        self.engine.work_s = lambda: self.clock() / 1_000  # work takes no time, however slow it is
        make: Any = lambda incarnation, fields: self.core  # noqa: E731
        self.node = Node(self.engine, make, ROLES)
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self.node.start(own_timers=False))
        self.crash: BaseException | None = None  # a bug of the machinery; `settle` or `close` tells
        self.engine.on_crash = self._crash
        self.settle()

    def _fake_store(self) -> Any:
        return FakeStore(FakeDatabase(clock_ms=self.clock))

    def _crash(self, fault: BaseException) -> None:
        self.crash = fault

    def _raise_crash(self) -> None:
        crash, self.crash = self.crash, None
        if crash is not None:
            raise crash

    def run(self, work: Any) -> Any:
        """Await something of the store in the world's loop."""
        return self.loop.run_until_complete(work)

    def settle(self) -> None:
        """Let the node run until nothing waits but time."""
        self.loop.run_until_complete(self._rest())

    async def _rest(self) -> None:
        """Turn the loop until nothing happens in it for a while: what is left waits for time or is
        held back by the test. With `waits_for_threads`: until no task is left."""
        still, before = 0, (0, 0)
        while still < STILL_TURNS or (self.waits_for_threads and self.engine.tasks):
            while self.core.waiting and not self.engine.generations.is_held:
                self.core.pump(self.engine.router.on_batch, self.settings.pump_events_max)
            self._raise_crash()
            if not self.engine.tasks:
                return
            await asyncio.sleep(0)
            now = (self.engine.spawned, self.core.stats()["frames_out_total"])
            still, before = (still + 1 if now == before else 0), now

    def move(self, by_ms: int) -> None:
        """Let time pass, timer by timer."""
        self.loop.run_until_complete(self._move(by_ms))

    async def _move(self, by_ms: int) -> None:
        until_ms = self.clock.now_ms + by_ms
        timers = self.engine.timers
        while (due_ms := timers.next_due_ms()) is not None and due_ms <= until_ms:
            self.clock.move(max(0, due_ms - self.clock.now_ms))
            timers.run_due()
            await self._rest()
        self.clock.move(until_ms - self.clock.now_ms)

    def stop(self, grace_ms: int) -> int:
        """Drain and stop as by SIGTERM; returns the exit code."""

        async def stop() -> int:
            self.node.stop(grace_ms)
            await self._rest()
            return await self.node.run()

        return self.loop.run_until_complete(stop())

    def client(self, address: str = "192.0.2.1:1000") -> Client:
        """A connection without a token."""
        client = Client(self, self.core.connect(address))
        self.settle()
        return client

    def show(self, client: Client, user: int, typ: str, **claims: Any) -> int:
        """Let a client show a token that the gate verified; returns the sequence number."""
        client._seq += 1
        fields = {
            "iss": "mmo", "aud": str(self.settings.number), "sub": str(user), "exp": 0, "nbf": 0,
            "jti": "", "epoch": client.epoch, "name": "", **claims,
        }  # fmt: skip
        self.core.enter(client.connection, user, client._seq, typ, fields)
        return client._seq

    def account(self, name: str) -> int:
        """Register an account in the store; returns its user id."""
        row = AccountRegistered(name=name, password_hash="-", now_ms=self.clock.now_ms)
        assert self.run(self.store.write(row)), f"{name} is taken"
        credentials = self.run(self.store.credentials(name))
        return int(credentials.user)

    def login(self, user: int, name: str) -> tuple[int, str]:
        """Open a session for this node; returns its epoch and the jti of its login token."""
        known = self.run(self.store.credentials(name))
        epoch = known.session_epoch + 1
        jti = f"login-{user}-{epoch}"
        row = SessionOpened(
            user=user, session_epoch=epoch - 1, center_number=self.settings.number, jti=jti,
            expires_ms=self.clock.now_ms + RESERVATION_MS, now_ms=self.clock.now_ms,
        )  # fmt: skip
        assert self.run(self.store.write(row)), "another login came first"
        return epoch, jti

    def player(self, name: str, user: int = 0) -> Client:
        """A player who logged in, came here by his token and was let in. `user`: an existing
        account, which logs in anew."""
        user = user or self.account(name)
        epoch, jti = self.login(user, name)
        typ = "login+jwt"
        if typ not in self.engine.role.token_types:
            typ, jti = "move+jwt", f"move-{user}-{epoch}"
            prepared = PlacePrepared(
                user=user, session_epoch=epoch, target_number=self.settings.number, jti=jti,
                expires_ms=self.clock.now_ms + RESERVATION_MS,
            )  # fmt: skip
            assert self.run(self.store.write(prepared)), "the session is over"
        client = self.client()
        client.user, client.epoch = user, epoch
        self.show(client, user, typ, jti=jti, name=name)
        self.settle()
        return client

    def resumes(self, player: Client, name: str = "") -> Client:
        """The same session on a new connection."""
        client = self.client()
        client.user, client.epoch, client.counter = player.user, player.epoch, player.counter
        self.show(client, player.user, "session+jwt", name=name)
        self.settle()
        return client

    def peer(self, number: int, role: str) -> Client:
        """A server with a link to this node."""
        client = Client(self, self.core.link(number, role))
        self.settle()
        return client

    def close(self) -> None:
        """End the node without ceremony. Raises what it broke by that nobody has looked at."""
        for task in list(self.engine.tasks):
            task.cancel()
        if self.engine.tasks:
            self.loop.run_until_complete(asyncio.wait(self.engine.tasks))
        if self.core.fileno() >= 0:
            self.loop.remove_reader(self.core.fileno())
        self.core.finish_shutdown()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self._raise_crash()
