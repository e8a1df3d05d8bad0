"""A server of the bare core: PING is echoed in Rust, HIT through a Python `def`.

Owns one `NetCore` and the smallest possible use of it: pump, call, send_many. No router, no lanes,
no codec; what it costs is the seam itself. Measured by `bench loopback`, `bench seam` and
`bench connections`.
"""

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

from mmo._core import NetCore
from mmo.testing.measured.life import announce, pin, serve, until_stopped
from mmo.testing.measured.settings import core_settings
from mmo.wire.opcode import Op

if TYPE_CHECKING:
    from mmo._core import Event

BATCH_EVENTS_MAX = 256
HIT, HIT_OK = int(Op.HIT), int(Op.HIT_OK)
EMPTY_ARRAY = b"\x90"

Answer = tuple[int, int, int, bytes]


def rule(body: bytes) -> bytes:
    """Bytes in, bytes out: the least that a game can do in Python."""
    return body


class EchoIntake:
    """Batches out of the core, one call of the rule a message, one `send_many` a batch."""

    def __init__(self, core: NetCore) -> None:
        self.core = core
        self.messages = 0
        self.opened = 0
        self.closed = 0

    def readable(self) -> None:
        """The core has events."""
        self.core.pump(self.on_batch, BATCH_EVENTS_MAX)

    def on_batch(self, events: "list[Event]") -> None:
        """Answer every request of one batch."""
        # Local names: reading a global costs more than reading a variable, three times a message.
        hit, hit_ok, answer = HIT, HIT_OK, rule
        answers: list[Answer] = [
            (conn, hit_ok, seq, answer(body))
            for conn, _, opcode, seq, body in events
            if opcode == hit
        ]
        if len(answers) < len(events):
            for conn, _, opcode, seq, _ in events:
                if opcode != HIT:
                    self.lifecycle(conn, opcode, seq, answers)
        self.messages += len(answers)
        if answers:
            self.core.send_many(answers)

    def lifecycle(self, conn: int, opcode: int, seq: int, answers: list[Answer]) -> None:
        """Let every proved player in without asking a store; count beginnings and ends."""
        if opcode == Op.ENTER:
            answers.append((conn, int(Op.WELCOME), seq, EMPTY_ARRAY))
        elif opcode == Op.OPENED:
            self.opened += 1
        elif opcode == Op.CLOSED:
            self.closed += 1


async def run(public_key: bytes, key_id: str, connections_max: int) -> dict[str, Any]:
    """Serve until stopped; what was counted."""
    settings = core_settings(
        public_key=public_key,
        key_id=key_id,
        user_opcodes=[Op.HIT],
        connections_max=connections_max,
    )
    core = NetCore(settings)
    intake = EchoIntake(core)
    ports = core.start()
    asyncio.get_running_loop().add_reader(core.fileno(), intake.readable)
    announce(ports["client"])
    await until_stopped()
    asyncio.get_running_loop().remove_reader(core.fileno())
    stats = core.stats()
    core.begin_shutdown(0)
    core.finish_shutdown()
    return {
        "messages": intake.messages,
        "opened": intake.opened,
        "closed": intake.closed,
        "stats": stats,
    }


def main() -> None:
    """Command line of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--public-key", required=True, help="Ed25519 public key in hex")
    parser.add_argument("--key-id", required=True)
    parser.add_argument("--connections-max", type=int, default=1_024)
    parser.add_argument("--cpu", type=int, default=-1)
    given = parser.parse_args()
    pin(given.cpu)
    serve(lambda: run(bytes.fromhex(given.public_key), given.key_id, given.connections_max))


if __name__ == "__main__":
    main()
