"""What a witness beside the bots saw on the wire: every numbered request and each of its answers.

Owns the record that the proofs of the economy compare with the database: it is taken from the bytes
themselves, below the bots' own bookkeeping. Judges nothing but whether answers are the same bytes.
`history` keeps the same record in files, for a checker of another process.
"""

from collections.abc import Callable
from typing import Any

from mmo.client.aio import Connection, Shell
from mmo.client.protocol import HEADER, ClientProtocol, Event, Push, Token
from mmo.client.steps import Dial
from mmo.wire.messages.account import Login
from mmo.wire.messages.hunt import GrantReward
from mmo.wire.messages.presence import Lobby, Logout
from mmo.wire.messages.raid import RaidEnded
from mmo.wire.messages.raid_queue import (
    RaidCancel,
    RaidFreed,
    RaidMatched,
    RaidQueue,
    RaidRejoin,
    RaidUnmatched,
)
from mmo.wire.opcode import Op

Number = tuple[str, int, int]
"""An operation: name of the account, session epoch, counter."""

DIFFERENCES_MAX = 20


OF_PLACES = (Login, Lobby, Logout, RaidQueue, RaidCancel, RaidRejoin)
"""Requests besides a token that change who owns a player, or his way into a raid."""

OF_RAIDS = (RaidMatched, RaidUnmatched, RaidEnded, RaidFreed, GrantReward)
"""What is told of raids and rewards, asked or not."""


class Watcher:
    """What is told of every witnessed connection; all of it may be ignored."""

    def asked(self, number: Number, port: int, opcode: int, body: bytes) -> None:
        """One more copy of a numbered request is about to leave for the server at a port."""

    def answered(
        self, number: Number, server: int, opcode: int, body: bytes, code: int, asked: bytes = b""
    ) -> None:
        """One more answer came from the server at a port; `code` is 0 unless it is a refusal;
        `asked`: body of the copy that it answers."""

    def unanswered(self, number: Number, server: int) -> None:
        """The connection ended before the answer came."""

    def claims(self, name: str, port: int, what: str, token: str) -> int:
        """A request that may change who owns the player, or his way into a raid, is about to
        leave; names it."""
        return 0

    def claimed(self, claim: int, opcode: int, body: bytes) -> None:
        """Its answer came."""

    def heard(self, name: str, port: int, message: Any) -> None:
        """The server at a port told something of a raid or a reward."""


class Witness(Watcher):
    """Requests sent and answers told, by operation. A refusal decides nothing and is only
    counted."""

    def __init__(self) -> None:
        self.sent: dict[Number, int] = {}
        self.told: dict[Number, bytes] = {}  # opcode and body of the first answer
        self.answers: dict[Number, int] = {}
        self.servers: dict[Number, set[int]] = {}  # client ports of those that answered
        self.refused: dict[Number, list[int]] = {}  # codes
        self.differences: list[str] = []

    def asked(self, number: Number, port: int, opcode: int, body: bytes) -> None:
        """One more copy of a request left."""
        self.sent[number] = self.sent.get(number, 0) + 1

    def answered(
        self, number: Number, server: int, opcode: int, body: bytes, code: int, asked: bytes = b""
    ) -> None:
        """One more answer came from the server at a port; `code` is 0 unless it is a refusal."""
        if opcode == Op.REFUSED:
            self.refused.setdefault(number, []).append(code)
            return
        answer = opcode.to_bytes(2, "little") + body
        first = self.told.setdefault(number, answer)
        self.answers[number] = self.answers.get(number, 0) + 1
        self.servers.setdefault(number, set()).add(server)
        if first != answer and len(self.differences) < DIFFERENCES_MAX:
            self.differences.append(
                f"operation {number} was answered {first.hex()}, then {answer.hex()}"
            )


class WitnessedProtocol(ClientProtocol):
    """The client protocol of one connection, with a witness who reads the bytes beside it."""

    def __init__(self, witness: Watcher, name: str, port: int) -> None:
        super().__init__()
        self._witness = witness
        self._name = name
        self._port = port
        self._open: dict[int, tuple[Number, bytes]] = {}
        self._claims: dict[int, int] = {}
        self._bytes = bytearray()

    def ask(self, message: Any) -> tuple[int, bytes]:
        seq, data = super().ask(message)
        operation = getattr(message, "op", None)
        if operation is not None:
            number = (self._name, int(operation[0]), int(operation[1]))
            self._open[seq] = (number, data[HEADER.size :])
            self._witness.asked(number, self._port, message.opcode, data[HEADER.size :])
        elif isinstance(message, Token):
            self._claims[seq] = self._witness.claims(self._name, self._port, "token", message.text)
        elif isinstance(message, OF_PLACES):
            what = type(message).__name__.lower()
            self._claims[seq] = self._witness.claims(self._name, self._port, what, "")
        return seq, data

    def receive(self, data: bytes) -> list[Event]:
        self._bytes += data
        # A push may repeat the number of a request: only number and opcode name an answer.
        bodies: dict[tuple[int, int], bytes] = {}
        while len(self._bytes) >= HEADER.size:
            length, opcode, seq = HEADER.unpack_from(self._bytes)
            if len(self._bytes) < 4 + length:
                break
            bodies[seq, opcode] = bytes(self._bytes[HEADER.size : 4 + length])
            del self._bytes[: 4 + length]
        events = super().receive(data)
        for event in events:
            if isinstance(event.message, OF_RAIDS):
                self._witness.heard(self._name, self._port, event.message)
            if isinstance(event, Push):
                continue
            opcode = event.message.opcode if hasattr(event.message, "opcode") else 0
            asked, claim = self._open.pop(event.seq, None), self._claims.pop(event.seq, None)
            if asked is not None:
                code = event.message.code if opcode == Op.REFUSED else 0
                body = bodies[event.seq, opcode]
                self._witness.answered(asked[0], self._port, opcode, body, code, asked[1])
            elif claim is not None:
                self._witness.claimed(claim, opcode, bodies.get((event.seq, opcode), b""))
        return events

    def ended(self) -> None:
        """The connection is over: what waits for an answer will get none here."""
        for number, _ in self._open.values():
            self._witness.unanswered(number, self._port)
        self._open.clear()


class WitnessedShell(Shell):
    """A shell whose connections are all witnessed. `via`: where a dialled port is really reached,
    such as through a proxy that breaks connections."""

    def __init__(
        self,
        source: str,
        witness: Watcher,
        name: str,
        via: Callable[[int], int] = lambda port: port,
    ) -> None:
        super().__init__(source)
        self._witness = witness
        self._name = name
        self._via = via

    async def dial(self, step: Dial) -> Connection:
        """Open a connection that is witnessed. Raises `Lost`."""
        connection = await super().dial(Dial(step.lane, step.host, self._via(step.port)))
        connection.protocol = WitnessedProtocol(self._witness, self._name, step.port)
        return connection

    def drop(self, name: str) -> None:
        """End one without a word."""
        lane = self.lanes.get(name)
        super().drop(name)
        if lane is not None and isinstance(lane.protocol, WitnessedProtocol):
            lane.protocol.ended()
