"""Reading the files of a history: operations, claims, payments, samples and faults.

Owns the form of what was read. Judges nothing. Called by the command.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OPEN_REFUSALS = frozenset({2, 3, 4, 11, 13})
"""RETRY_LATER, BUSY, WRONG_PLACE, TIMEOUT, NOT_ENTERED: they decide nothing."""

MISMATCH = 9
"""OPERATION_MISMATCH: another request was asked under the same number; says nothing of it."""

Number = tuple[str, int, int]


@dataclass(slots=True)
class Operation:
    """One numbered request: its copies, its answers, and when."""

    opcode: int = 0
    body: bytes = b""
    hash: bytes = b""
    others: list[bytes] = field(default_factory=list)  # hashes of other requests of its number
    sent: list[tuple[int, int, bytes]] = field(default_factory=list)  # at, port, hash
    answer: tuple[int, bytes] | None = None  # the first: opcode and body
    answers: list[tuple[int, int]] = field(default_factory=list)  # at, port
    answered: set[bytes] = field(default_factory=set)  # hashes of the requests that were answered
    differing: list[bytes] = field(default_factory=list)
    refusals: list[tuple[int, int]] = field(default_factory=list)  # at, code
    open_copies: int = 0  # sent, and neither answered nor given up
    left_open: int = 0  # the same when the last refusal came

    @property
    def was_refused(self) -> bool:
        """The last word was a final no, and it was never acknowledged. A copy that was on its way
        then is decided anew, on a state that others changed meanwhile: its fate is open."""
        last = self.refusals[-1] if self.refusals else (0, 2)
        decides = last[1] not in OPEN_REFUSALS and last[1] != MISMATCH
        is_last = not self.left_open and last[0] > self.sent[-1][0]
        return self.answer is None and decides and not self.others and is_last


@dataclass(slots=True)
class Claim:
    """A token shown, a login, a return to the lobby or a logout."""

    name: str
    port: int
    what: str
    token: str
    typ: str
    at: int
    answered_at: int = 0
    opcode: int = 0
    told: bytes = b""  # body of a welcome
    epoch: int = 0  # session epoch of the token shown; 0: none, as in files of before
    epoch_told: int = 0  # that the answer names, the same


@dataclass(slots=True)
class Payment:
    """A notice of the payment service; `amount` is negative for a refund."""

    account: str
    amount: int
    at: int
    booked_at: int = 0


@dataclass(slots=True)
class Fault:
    """One fault. `recovered`: when operations succeeded again everywhere, 0: never seen.
    `uncertain`: nobody can say whether it was done; it excuses what it would."""

    what: str
    target: str
    began: int
    ended: int
    recovered: int
    uncertain: bool = False


@dataclass(slots=True)
class Heard:
    """What a player was told of a raid or of a reward; `fields` are those of its kind."""

    name: str
    what: str
    at: int
    fields: dict[str, Any]


@dataclass(slots=True)
class Sample:
    """Versions by user. Redis was read at `looked` or later, MySQL after it and before `at`; files
    of before have no `looked`, and are read as if it were `at`."""

    looked: int
    at: int
    held: dict[int, int]
    heads: dict[int, int]


class History:
    """All files of a directory."""

    def __init__(self, directory: Path) -> None:
        self.users: dict[str, int] = {}
        self.operations: dict[Number, Operation] = {}
        self.claims: dict[int, Claim] = {}
        self.payments: dict[str, Payment] = {}
        self.samples: list[Sample] = []
        self.faults: list[Fault] = []
        self.heard: list[Heard] = []
        self.lines = 0
        self.quiet_at = 0  # from here on nothing was asked any more
        for path in sorted(directory.glob("*.jsonl")):
            self._read(path)

    def _read(self, path: Path) -> None:
        first = (max(self.claims) + 1) if self.claims else 0
        for row in _rows(path):
            self.lines += 1
            kind = row["kind"]
            if kind in ("intent", "ok", "refused", "unknown"):
                self._operation(kind, row)
            elif kind == "claim":
                claim = Claim(*(row[key] for key in ("name", "port", "what", "token", "typ", "at")))
                claim.epoch = row.get("epoch", 0)
                self.claims[first + row["claim"]] = claim
            elif kind == "claimed":
                claim = self.claims[first + row["claim"]]
                claim.answered_at, claim.opcode = row["at"], row["opcode"]
                claim.told = bytes.fromhex(row.get("body", ""))
                claim.epoch_told = row.get("epoch", 0)
            elif kind == "heard":
                self.heard.append(Heard(row["name"], row["what"], row["at"], row))
            elif kind == "user":
                self.users[row["name"]] = row["user"]
            elif kind == "payment":
                self.payments.setdefault(
                    row["order"], Payment(row["account"], row["amount"], row["at"])
                )
            elif kind == "booked":
                payment = self.payments[row["order"]]
                payment.booked_at = payment.booked_at or row["at"]
            elif kind == "sample":
                held, heads = (
                    {int(user): version for user, version in row[key].items()}
                    for key in ("redis", "mysql")
                )
                self.samples.append(Sample(row.get("looked", row["at"]), row["at"], held, heads))
            elif kind == "fault":
                words = ("what", "target", "began", "ended", "recovered")
                fault = Fault(*(row[key] for key in words))
                fault.uncertain = row.get("uncertain", False)
                self.faults.append(fault)
            elif kind == "quiet":
                self.quiet_at = row["at"]

    def _operation(self, kind: str, row: dict[str, Any]) -> None:
        name, epoch, counter = row["op"]
        operation = self.operations.setdefault((name, epoch, counter), Operation())
        operation.open_copies += 1 if kind == "intent" else -1
        if kind == "intent":
            body = bytes.fromhex(row["body"])
            asked = request_hash(row["opcode"], body)
            operation.sent.append((row["at"], row["port"], asked))
            if not operation.hash:
                operation.opcode, operation.body, operation.hash = row["opcode"], body, asked
            elif asked != operation.hash:
                operation.others.append(asked)
        elif kind == "refused":
            operation.refusals.append((row["at"], row["code"]))
            operation.left_open = operation.open_copies
        elif kind == "ok":
            answer = (row["opcode"], bytes.fromhex(row["body"]))
            operation.answers.append((row["at"], row["port"]))
            operation.answered.add(request_hash(operation.opcode, bytes.fromhex(row["asked"])))
            if operation.answer is None:
                operation.answer = answer
            elif answer != operation.answer:
                operation.differing.append(answer[1])


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                if line.endswith(b"\n"):
                    raise
                return  # the writer was killed within its last line


def request_hash(opcode: int, body: bytes) -> bytes:
    """8 bytes over a request, as the log of operations keeps them (documented form)."""
    return hashlib.blake2b(body, digest_size=8, salt=opcode.to_bytes(8, "little")).digest()
