"""What bots meant to do and what they were told, as JSON lines for a checker of another process.

Owns the form of the files (`docs/operations.md` lists it) and the order of writing: an intent is in
the file before its bytes leave, an outcome right after they were read. Judges nothing. Filled by
witnessed connections, by the payment service and by whoever makes faults; one line is one `write`,
about five microseconds. Moments are nanoseconds of the machine's monotonic clock.
"""

import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from mmo.proof.economy_witness import Number, Watcher
from mmo.wire import codec
from mmo.wire.messages.hunt import GrantReward
from mmo.wire.messages.raid import RaidEnded
from mmo.wire.messages.raid_queue import RaidFreed, RaidMatched
from mmo.wire.opcode import Code, Op

OPEN_REFUSALS = frozenset(
    map(int, (Code.RETRY_LATER, Code.BUSY, Code.TIMEOUT, Code.WRONG_PLACE, Code.NOT_ENTERED))
)
"""Refusals that decide nothing: the request may still be asked again."""

RECENT_MAX = 4
"""Finished requests of each bot that are kept to be asked again at the end."""


class History(Watcher):
    """One file of lines. Also keeps what asks again at the end need: what each bot does not know
    the fate of, its last finished requests, and when it last was told of a success."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        # One unbuffered write a line: what was intended is in the file whatever happens next.
        self._file = (directory / f"history-{time.time_ns()}.jsonl").open("ab", buffering=0)
        self._claims = 0
        self.told: dict[str, int] = {}  # operations acknowledged, by bot
        self.last_ns: dict[str, int] = {}  # when a bot was last told of a success
        self.unknown: dict[Number, tuple[int, bytes]] = {}  # requests without a final answer
        self.recent: dict[str, list[tuple[int, bytes]]] = {}

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def line(self, kind: str, **fields: Any) -> None:
        """One line; `at` is now unless it is given."""
        fields.setdefault("at", time.monotonic_ns())
        self._file.write(json.dumps({"kind": kind, **fields}).encode() + b"\n")

    def asked(self, number: Number, port: int, opcode: int, body: bytes) -> None:
        """An intent, before it leaves."""
        self.unknown[number] = (opcode, body)
        self.line("intent", op=number, port=port, opcode=opcode, body=body.hex())

    def answered(
        self, number: Number, server: int, opcode: int, body: bytes, code: int, asked: bytes = b""
    ) -> None:
        """An outcome: `ok` with the answer's bytes, or `refused` with the code."""
        now_ns = time.monotonic_ns()
        if opcode == Op.REFUSED:
            if code not in OPEN_REFUSALS:
                self.unknown.pop(number, None)
            self.line("refused", at=now_ns, op=number, port=server, code=code)
            return
        request = self.unknown.pop(number, None)
        name = number[0]
        if request is not None:
            self.told[name] = self.told.get(name, 0) + 1
            recent = self.recent.setdefault(name, [])
            recent.append(request)
            del recent[:-RECENT_MAX]
        self.last_ns[name] = now_ns
        self.line(
            "ok", at=now_ns, op=number, port=server, opcode=opcode, body=body.hex(),
            asked=asked.hex(),
        )  # fmt: skip

    def unanswered(self, number: Number, server: int) -> None:
        """An outcome: `unknown`, until it is asked again."""
        self.line("unknown", op=number, port=server)

    def claims(self, name: str, port: int, what: str, token: str) -> int:
        """A token is shown, or a login, a return to the lobby, a logout or a raid asked for."""
        self._claims += 1
        digest = hashlib.blake2b(token.encode(), digest_size=16).hexdigest() if token else ""
        self.line(
            "claim", claim=self._claims, name=name, port=port, what=what, token=digest,
            typ=str(_part_of(token, 0).get("typ", "")), epoch=_epoch_of(token),
        )  # fmt: skip
        return self._claims

    def claimed(self, claim: int, opcode: int, body: bytes) -> None:
        """Its answer; of a welcome, all that it tells, and of each that names it the session."""
        told = body.hex() if opcode == Op.WELCOME else ""
        self.line("claimed", claim=claim, opcode=opcode, body=told, epoch=_epoch_told(opcode, body))

    def heard(self, name: str, port: int, message: Any) -> None:
        """What was told of a raid or a reward."""
        self.line(
            "heard", name=name, port=port, what=type(message).__name__.lower(), **_of(message)
        )


def _of(message: Any) -> dict[str, Any]:
    """The parts of it that the books must have."""
    if isinstance(message, RaidMatched):
        return {"raid": message.raid, "seat": message.seat}
    if isinstance(message, RaidEnded):
        rows = [(row.user, row.score, row.granted) for row in message.scores]
        return {"raid": message.raid, "scores": rows}
    if isinstance(message, RaidFreed):
        return {"raid": message.raid, "finished": message.finished}
    if isinstance(message, GrantReward):
        return {"source_kind": message.source_kind, "source": message.source_id}
    return {}


def _epoch_told(opcode: int, body: bytes) -> int:
    """The session epoch that an answer names, 0 for one that names none."""
    if not body or opcode not in (Op.LOGIN_OK, Op.WELCOME, Op.SESSION_OK):
        return 0
    told = codec.decode(opcode, body)
    return _epoch_of(told.token) if opcode == Op.LOGIN_OK else int(told.session_epoch)


def _epoch_of(token: str) -> int:
    """The session epoch of a JWT, 0 for what is none."""
    return int(_part_of(token, 1).get("epoch", 0))


def _part_of(token: str, place: int) -> dict[str, Any]:
    """A part of a JWT, 0: its header, 1: its claims; empty for what is none."""
    try:
        part = token.split(".")[place]
        told = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, IndexError):
        return {}
    return told if isinstance(told, dict) else {}
