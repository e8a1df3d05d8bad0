"""A whole cluster in one process: real nodes, rules and roles over fake cores and one fake store.

Owns the links between the nodes (frames are carried over when a node is quiet), one time for all of
them and the steps every player takes. No socket, no thread but the password pool, no real time.
"""

import json
from typing import Any

from mmo.content import Content, load_content
from mmo.node.passwords import PasswordPool
from mmo.roles import ROLES
from mmo.testing.fake_core import FakeConnection
from mmo.testing.fake_store import FakeDatabase, FakeStore
from mmo.testing.world import Client, World
from mmo.wire.messages.account import Login, LoginOk, Register, RegisterOk
from mmo.wire.messages.hunt import ChannelEnter, ChannelEnterOk, Hit, HitOk, KillReward
from mmo.wire.messages.presence import Move, MoveOk, Welcome
from mmo.wire.opcode import CloseReason

PASSWORD = "correct horse"
SERVERS = (
    (1, "login"),
    (2, "center"),
    (3, "center"),
    (11, "channel"),
    (12, "channel"),
    (21, "matching"),
    (31, "raid"),
    (41, "cash"),
)
STEP_MS = 250
CARRIES_MAX = 1_000


class Realm:
    """All servers of a small cluster, linked as their roles ask."""

    def __init__(self, servers: tuple[tuple[int, str], ...] = SERVERS, **settings: Any) -> None:
        self.content: Content = load_content()
        self.database = FakeDatabase()
        self.passwords = PasswordPool(1, 8, 1, b"pepper of the tests")
        self.worlds: dict[int, World] = {}
        self._links: list[tuple[World, FakeConnection, World, FakeConnection]] = []
        self._settings = settings
        self._servers = servers
        for number, role in servers:
            self.worlds[number] = self._world(number, role)
        self.database.clock_ms = self.worlds[servers[0][0]].clock
        for number, role in servers:
            for other, other_role in servers:
                if other_role in ROLES[role].dials and (role != other_role or number < other):
                    self._link(number, role, other, other_role)
        self.settle()
        self.move(2 * STEP_MS)

    def _world(self, number: int, role: str) -> World:
        return World(
            ROLES[role],
            store=FakeStore(self.database),
            content=self.content,
            passwords=self.passwords if role == "login" else None,
            waits_for_threads=role == "login",
            number=number,
            name=f"{role}-{number}",
            **self._settings,
        )

    def kill(self, number: int) -> None:
        """A server dies: its links end, what it held in memory is gone."""
        world = self.worlds.pop(number)
        for here, near, there, far in self._links:
            if here is world:
                there.core.close(far.conn, CloseReason.LINK_LOST)
            elif there is world:
                here.core.close(near.conn, CloseReason.LINK_LOST)
        self._links = [row for row in self._links if world not in (row[0], row[2])]
        world.close()
        self.settle()

    def revive(self, number: int) -> None:
        """A server that died starts again with nothing but its number; its lease had ended."""
        self.database.leases.pop(number, None)
        role = dict(self._servers)[number]
        self.worlds[number] = world = self._world(number, role)
        world.clock.move(self.database.clock_ms() - world.clock.now_ms)
        for other, other_role in self._servers:
            if other == number or other not in self.worlds:
                continue
            if other_role in ROLES[role].dials and (role != other_role or number < other):
                self._link(number, role, other, other_role)
            elif role in ROLES[other_role].dials and (role != other_role or other < number):
                self._link(other, other_role, number, role)
        self.settle()

    def _link(self, number: int, role: str, other: int, other_role: str) -> None:
        here, there = self.worlds[number], self.worlds[other]
        self._links.append(
            (here, here.core.link(other, other_role), there, there.core.link(number, role))
        )

    def settle(self) -> None:
        """Let every node run and carry what they tell each other, until all is quiet."""
        for _ in range(CARRIES_MAX):
            for world in self.worlds.values():
                world.settle()
            if not self._carry():
                return
        raise AssertionError("the servers never stop talking")

    def _carry(self) -> int:
        carried = 0
        for here, near, there, far in self._links:
            for source, target, world in ((near, far, there), (far, near, here)):
                for opcode, seq, body in source.take():
                    world.core.send(target, opcode, seq, body)
                    carried += 1
        return carried

    def move(self, by_ms: int) -> None:
        """Let the same time pass for all."""
        while by_ms > 0:
            step_ms = min(STEP_MS, by_ms)
            for world in self.worlds.values():
                world.move(step_ms)
            self.settle()
            by_ms -= step_ms

    def close(self) -> None:
        """End all nodes."""
        for world in self.worlds.values():
            world.close()
        self.passwords.close()

    # what players do

    def asks(self, client: Client, message: Any) -> Any:
        """Ask, let all servers work, and return the answer; None without one."""
        seq = client.post(message)
        self.settle()
        return client.answer(seq)

    def register(self, name: str, password: str = PASSWORD) -> None:
        """A new account."""
        answer = self.asks(self.worlds[1].client(), Register(name, password))
        assert isinstance(answer, RegisterOk), answer

    def log_in(self, name: str) -> LoginOk:
        """A login token for a center."""
        answer = self.asks(self.worlds[1].client(), Login(name, PASSWORD))
        assert isinstance(answer, LoginOk), answer
        return answer

    def enter(self, number: int, token: str) -> tuple[Client, Any]:
        """Show a token at a server, as its gate would let it pass; connection and answer."""
        shown = json.loads(token)
        claims = shown["claims"]
        world = self.worlds[number]
        assert shown["typ"] in world.engine.role.token_types, "the gate would refuse the type"
        assert claims["aud"] in (world.engine.role.name, str(number), "session"), claims["aud"]
        client = world.client()
        client.user, client.epoch = int(claims["sub"]), claims["epoch"]
        seq = world.show(client, client.user, shown["typ"], **claims)
        self.settle()
        return client, client.answer(seq)

    def arrive(self, name: str) -> tuple[Client, Welcome]:
        """Log in and enter the center; the connection and its WELCOME."""
        ticket = self.log_in(name)
        client, answer = self.enter(ticket.number, ticket.token)
        assert isinstance(answer, Welcome), answer
        return client, answer

    def travel(self, center: Client, number: int) -> tuple[Client, Welcome]:
        """Move to a channel server; the connection there and its WELCOME."""
        answer = self.asks(center, Move(number))
        assert isinstance(answer, MoveOk), answer
        client, welcome = self.enter(number, answer.token)
        assert isinstance(welcome, Welcome), welcome
        return client, welcome

    def hunt(self, client: Client, channel: int, kills: int) -> list[KillReward]:
        """Enter a channel and kill; the rewards."""
        entered = self.asks(client, ChannelEnter(channel))
        assert isinstance(entered, ChannelEnterOk), entered
        monsters = [row for row in entered.monsters if row.kind]
        rewards: list[KillReward] = []
        while len(rewards) < kills:
            monster = monsters[0]
            answer = self.asks(client, Hit(monster.number))
            assert isinstance(answer, HitOk), answer
            if answer.killed:
                monsters.pop(0)
                rewards += [m for m in client.heard() if isinstance(m, KillReward)]
            self.move(self.content.combat.attack_cooldown_ms)
        return rewards

    def seen(self, user: int) -> tuple[str, int] | None:
        """What Redis would say of a player."""
        return self.database.online.get(user)
