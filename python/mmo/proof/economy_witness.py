"""What a witness beside the bots saw on the wire: every numbered request and each of its answers.

Owns the record that the proofs of the economy compare with the database: it is taken from the bytes
themselves, below the bots' own bookkeeping. Judges nothing but whether answers are the same bytes.
"""

from typing import Any

from mmo.client.aio import Shell
from mmo.client.protocol import HEADER, ClientProtocol, Event, Push
from mmo.client.steps import Dial, Step
from mmo.wire.opcode import Op

Number = tuple[str, int, int]
"""An operation: name of the account, session epoch, counter."""

DIFFERENCES_MAX = 20


class Witness:
    """Requests sent and answers told, by operation. A refusal decides nothing and is only
    counted."""

    def __init__(self) -> None:
        self.sent: dict[Number, int] = {}
        self.told: dict[Number, bytes] = {}  # opcode and body of the first answer
        self.answers: dict[Number, int] = {}
        self.servers: dict[Number, set[int]] = {}  # client ports of those that answered
        self.refused: dict[Number, list[int]] = {}  # codes
        self.differences: list[str] = []

    def asked(self, number: Number) -> None:
        """One more copy of a request left."""
        self.sent[number] = self.sent.get(number, 0) + 1

    def answered(self, number: Number, server: int, opcode: int, body: bytes, code: int) -> None:
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

    def __init__(self, witness: Witness, name: str, port: int) -> None:
        super().__init__()
        self._witness = witness
        self._name = name
        self._port = port
        self._open: dict[int, Number] = {}
        self._bytes = bytearray()

    def ask(self, message: Any) -> tuple[int, bytes]:
        seq, data = super().ask(message)
        operation = getattr(message, "op", None)
        if operation is not None:
            number = (self._name, int(operation[0]), int(operation[1]))
            self._open[seq] = number
            self._witness.asked(number)
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
            number = None if isinstance(event, Push) else self._open.pop(event.seq, None)
            if number is not None and not isinstance(event, Push):
                opcode = event.message.opcode
                code = event.message.code if opcode == Op.REFUSED else 0
                body = bodies[event.seq, opcode]
                self._witness.answered(number, self._port, opcode, body, code)
        return events


class WitnessedShell(Shell):
    """A shell whose connections are all witnessed."""

    def __init__(self, source: str, witness: Witness, name: str) -> None:
        super().__init__(source)
        self._witness = witness
        self._name = name

    async def _do(self, step: Step) -> Any:
        result = await super()._do(step)
        if isinstance(step, Dial):
            protocol = WitnessedProtocol(self._witness, self._name, step.port)
            self.lanes[step.lane].protocol = protocol
        return result
