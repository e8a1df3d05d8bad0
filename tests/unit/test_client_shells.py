"""Both shells walk the same journey over real loopback sockets and notice the same ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial

import pytest
from tests.unit.client_realm import CENTER_PORT, LOGIN_PORT, Realm

from mmo.client import aio, connection
from mmo.client.hero import Hero
from mmo.client.journeys import JOURNEYS, walk_guarded
from mmo.client.protocol import HEADER, Ping, Pong, Token, frame
from mmo.client.steps import Lost
from mmo.wire import codec
from mmo.wire.messages import account, presence
from mmo.wire.messages.session import Closing
from mmo.wire.opcode import CloseReason, Op

ROLES = (LOGIN_PORT, CENTER_PORT, 11, 12)


class TcpRealm(Realm):
    """The realm behind one real port a role; `closing` ends a connection instead of the next
    answer."""

    def __init__(self) -> None:
        super().__init__()
        self.ports: dict[int, int] = {}
        self.closing = 0

    async def serve(
        self, role: int, reader: asyncio.StreamReader, out: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length, opcode, seq = HEADER.unpack(await reader.readexactly(HEADER.size))
                message = self.opened(opcode, await reader.readexactly(length - 6))
                if self.closing:
                    body = codec.encode(Closing(self.closing))
                    out.write(frame(Op.CLOSING, 0, body))
                    break
                for at, answer in enumerate(self._answer(role, message)):
                    self.write(out, answer, seq if at == 0 else 0)
        out.close()

    def opened(self, opcode: int, body: bytes) -> object:
        if opcode == Op.ENTER:
            return Token(body.decode())
        return Ping(body) if opcode == Op.PING else codec.decode(opcode, body)

    def write(self, out: asyncio.StreamWriter, answer: object, seq: int) -> None:
        if isinstance(answer, Pong):
            out.write(frame(Op.PONG, seq, answer.body))
            return
        if isinstance(answer, account.LoginOk):
            answer = account.LoginOk(7, answer.token, "127.0.0.1", self.ports[CENTER_PORT], 2)
        if isinstance(answer, presence.MoveOk):
            port = self.ports[answer.number]
            answer = presence.MoveOk(answer.number, "127.0.0.1", port, answer.token)
        out.write(frame(codec_opcode(answer), seq, codec.encode(answer)))

    def player_of(self) -> Hero:
        hero = self.hero()
        hero.logins = [("127.0.0.1", self.ports[LOGIN_PORT])]
        return hero


def codec_opcode(answer: object) -> int:
    return int(getattr(answer, "opcode"))  # noqa: B009 (set by the message decorator)


@pytest.fixture
async def realm() -> AsyncIterator[TcpRealm]:
    realm = TcpRealm()
    servers = []
    for role in ROLES:
        server = await asyncio.start_server(partial(realm.serve, role), "127.0.0.1", 0)
        realm.ports[role] = server.sockets[0].getsockname()[1]
        servers.append(server)
    yield realm
    for server in servers:
        server.close()


async def test_the_asynchronous_shell_walks_the_tour(realm: TcpRealm) -> None:
    me = realm.player_of()
    await aio.walk_alone(walk_guarded(me, JOURNEYS["tour"], 1), "127.0.0.77")
    assert me.meter.findings == []
    assert me.meter.actions >= JOURNEYS["tour"].floor(1)


async def test_the_synchronous_shell_walks_the_tour(realm: TcpRealm) -> None:
    me = realm.player_of()
    shell = connection.Shell("127.0.0.78")
    await asyncio.to_thread(shell.walk, walk_guarded(me, JOURNEYS["tour"], 1))
    shell.cut_all()
    assert me.meter.findings == []
    assert me.meter.actions >= JOURNEYS["tour"].floor(1)


async def test_a_close_reason_reaches_the_caller_of_either_shell(realm: TcpRealm) -> None:
    realm.closing = int(CloseReason.SESSION_TAKEN)
    port = realm.ports[LOGIN_PORT]
    with pytest.raises(Lost) as ended:
        await (await aio.Connection.open("127.0.0.1", port)).ask(Ping())
    assert ended.value.reason == CloseReason.SESSION_TAKEN

    def ask_once() -> None:
        connection.Connection("127.0.0.1", port).ask(Ping())

    with pytest.raises(Lost) as ended:
        await asyncio.to_thread(ask_once)
    assert ended.value.reason == CloseReason.SESSION_TAKEN


async def test_a_port_where_nobody_listens_is_a_lost_connection() -> None:
    with pytest.raises(Lost, match="cannot dial"):
        await aio.Connection.open("127.0.0.1", 1)
    with pytest.raises(Lost, match="cannot dial"):
        connection.Connection("127.0.0.1", 1)
