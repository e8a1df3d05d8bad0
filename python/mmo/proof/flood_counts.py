"""What a flood sent and what the servers counted of it, and whether the two agree.

Owns the sums: a packet counts when a server judged it, by that server's own counters, and hostile
clients saw the same end of every connection. Pure: sends nothing, asks nobody. Called by `flood`.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from mmo.proof.verdict import Trial
from mmo.wire.opcode import CloseReason, Code

REJECTIONS = (
    CloseReason.PROTOCOL_ERROR,
    CloseReason.FRAME_TOO_LARGE,
    CloseReason.UNKNOWN_OPCODE,
    CloseReason.FORBIDDEN_OPCODE,
    CloseReason.TOKEN_INVALID,
    CloseReason.TOKEN_EXPIRED,
    CloseReason.UNPROVED_BYTES,
)
"""Reasons to end a connection over what was in a packet; no honest client meets one."""

ENOUGH = 0.99
"""So much of the promised number has to be judged."""

_REFUSED = f"refused_{Code.BAD_MESSAGE.name.lower()}_total"


class Sent(msgspec.Struct):
    """What the generator printed of its floods. `closers`, `bodies`, `datagrams`: packets sent, by
    kind; `connections` by state; `closed`: connections that heard why they end, by the number of
    the reason; `refused`: malformed messages that were answered as such; `odd`: what must not
    be. `proofs`: genuine ones, that honest players sent meanwhile."""

    closers: Counter[str] = msgspec.field(default_factory=Counter)
    bodies: Counter[str] = msgspec.field(default_factory=Counter)
    datagrams: Counter[str] = msgspec.field(default_factory=Counter)
    connections: Counter[str] = msgspec.field(default_factory=Counter)
    closed: Counter[str] = msgspec.field(default_factory=Counter)
    refused: Counter[str] = msgspec.field(default_factory=Counter)
    odd: Counter[str] = msgspec.field(default_factory=Counter)
    seconds: float = 0.0
    proofs: int = 0

    @classmethod
    def read(cls, printed: dict[str, Any]) -> "Sent":
        """One flood."""
        counts = {name: Counter(printed[name]) for name in cls.__struct_fields__[:-2]}
        return cls(**counts, seconds=float(printed["seconds"]), proofs=0)

    def add(self, other: "Sent") -> None:
        """One flood more."""
        for name in self.__struct_fields__[:-2]:
            getattr(self, name).update(getattr(other, name))
        self.seconds += other.seconds
        self.proofs += other.proofs

    @property
    def closed_by_name(self) -> dict[str, int]:
        """`closed` by the names of the reasons."""
        known = CloseReason._value2member_map_
        named = {
            CloseReason(int(number)).name.lower() if int(number) in known else number: count
            for number, count in self.closed.items()
        }
        return {name: count for name, count in sorted(named.items()) if count}


class Counted(msgspec.Struct):
    """What the servers counted: rejections by close reason, malformed messages refused, datagrams
    refused, and datagrams believed. `dropped`: datagrams that found a server's socket full, by the
    count of the system; no server saw them. `unearned`: believed beyond the genuine ones, flood by
    flood."""

    closed: Counter[str] = msgspec.field(default_factory=Counter)
    refused: int = 0
    datagrams: int = 0
    believed: int = 0
    dropped: int = 0
    unearned: int = 0

    @classmethod
    def read(cls, nodes: Iterable[dict[str, Any]], dropped: int) -> "Counted":
        """The sums over the counters of these nodes."""
        found = cls(dropped=dropped)
        for stats in nodes:
            for reason in REJECTIONS:
                name = reason.name.lower()
                found.closed[name] += int(stats[f"core_closed_{name}_total"])
            found.refused += int(stats.get(_REFUSED, 0))
            found.datagrams += int(stats["core_datagrams_refused_total"])
            found.believed += int(stats["core_datagrams_proved_total"])
        return found

    def since(self, before: "Counted") -> "Counted":
        """What was counted after `before`."""
        closed = Counter(self.closed)
        closed.subtract(before.closed)
        return Counted(
            closed=closed,
            refused=self.refused - before.refused,
            datagrams=self.datagrams - before.datagrams,
            believed=self.believed - before.believed,
            dropped=self.dropped - before.dropped,
        )

    def weigh(self, sent: Sent) -> None:
        """What of one flood was believed though nobody honest had sent it."""
        self.unearned = max(0, self.believed - sent.proofs)

    def add(self, other: "Counted") -> None:
        """One flood more."""
        self.closed.update(other.closed)
        self.refused += other.refused
        self.datagrams += other.datagrams
        self.believed += other.believed
        self.dropped += other.dropped
        self.unearned += other.unearned

    @property
    def taken(self) -> int:
        """Datagrams whose fate is known, genuine ones included."""
        return self.datagrams + self.dropped + self.believed

    @property
    def total(self) -> int:
        """Packets that a server judged and rejected."""
        return self.closed.total() + self.refused + self.datagrams

    @property
    def closed_by_name(self) -> dict[str, int]:
        """`closed` without the reasons that never came."""
        return {name: count for name, count in sorted(self.closed.items()) if count}


def agree(sent: Sent, counted: Counted) -> bool:
    """The servers are done with what was sent: every connection was closed for what was in a
    packet, every malformed message refused, every datagram judged or dropped by the system."""
    return (
        counted.closed.total() >= sent.connections.total()
        and counted.refused >= sent.bodies.total()
        and counted.taken >= sent.datagrams.total() + sent.proofs
    )


def judge(trial: Trial, sent: Sent, counted: Counted, packets: int) -> None:
    """What must hold of the whole flood of `packets`."""
    connections, bodies = sent.connections.total(), sent.bodies.total()
    closed, datagrams = counted.closed.total(), sent.datagrams.total()
    trial.tried(
        f"{counted.total} malformed packets were judged and rejected one by one, by the servers' "
        f"own counters: {closed} ended their connection, {counted.refused} messages were refused, "
        f"{counted.datagrams} datagrams proved nothing; {counted.dropped} datagrams more were "
        "dropped by the system on their way and do not count"
    )
    trial.expect(
        counted.total >= packets * ENOUGH, f"only {counted.total} of {packets} packets were judged"
    )
    trial.expect(connections > 0 and bodies > 0, "nothing was sent over TCP")
    trial.expect(
        closed == connections, f"{closed} of {connections} connections were closed for a packet"
    )
    trial.expect(
        counted.closed_by_name == sent.closed_by_name,
        f"the servers counted {counted.closed_by_name}, clients were told {sent.closed_by_name}",
    )
    trial.expect(
        counted.refused == bodies == sent.refused.total(),
        f"of {bodies} malformed messages servers refused {counted.refused}, clients were told of "
        f"{sent.refused.total()}",
    )
    trial.expect(
        counted.taken == datagrams + sent.proofs,
        f"of {datagrams} datagrams {counted.datagrams} were judged and {counted.dropped} dropped; "
        f"of {sent.proofs} genuine ones {counted.believed} believed",
    )
    trial.expect(counted.unearned == 0, f"{counted.unearned} malformed datagrams were believed")
    for name, text in (
        ("accepted", "answers were no refusals"),
        ("unexplained", "connections ended without a word"),
        ("open", "hostile connections were left open"),
        ("away", "servers could not be dialled"),
    ):
        trial.expect(sent.odd[name] == 0, f"{sent.odd[name]} {text}")


def tell(trial: Trial, sent: Sent, counted: Counted) -> None:
    """The figures, by kind."""
    trial.figure("judged", counted.total)
    trial.figure("connections", sent.connections.total())
    trial.figure("closed", counted.closed.total())
    trial.figure("refused", counted.refused)
    trial.figure("datagrams_sent", sent.datagrams.total())
    trial.figure("datagrams_judged", counted.datagrams)
    trial.figure("datagrams_dropped", counted.dropped)
    trial.figure("genuine_sent", sent.proofs)
    trial.figure("genuine_believed", counted.believed)
    for name in ("accepted", "unexplained", "open", "away"):
        trial.figure(name, sent.odd[name])
    trial.figure("seconds", round(sent.seconds, 1))
    trial.figure("judged_per_s", round(counted.total / max(sent.seconds, 1e-9)))
    trial.figure("closed_by_reason", counted.closed_by_name)
    trial.figure("connections_by_state", dict(sent.connections))
    trial.figure("sent_to_close", dict(sent.closers))
    trial.figure("sent_as_body", dict(sent.bodies))
    trial.figure("sent_as_datagram", dict(sent.datagrams))
