"""Counts of what bots did: actions, errors, refusals, and how long answers took.

Owns numbers only; many bots share one. Percentiles are exact over all samples kept.
"""

from array import array
from collections.abc import Collection, Mapping
from itertools import chain

import msgspec

FINDINGS_MAX = 50
"""Texts of errors kept; all are counted."""


class Summary(msgspec.Struct, frozen=True):
    """What `bot --json` prints, field for field."""

    journey: str
    players: int
    actions: int
    errors: int
    refusals: int
    p50_ms: float
    p99_ms: float
    p999_ms: float


class Cut(msgspec.Struct, frozen=True):
    """One connection that ended under a bot: by the bot's clock, which, the server's port (0: not
    known), and the reason that the server told (0: none)."""

    at_s: float
    lane: str
    port: int
    reason: int = 0


class Meter:
    """`actions` got a final answer (refusals that the script expects included); `errors` did not,
    or got one that the script does not expect; `retries` were told to come again and did; `lost`
    connections ended under a bot that came back."""

    def __init__(self) -> None:
        self.actions = 0
        self.errors = 0
        self.refusals = 0
        self.retries = 0
        self.displacements = 0  # tokens that were refused
        self.repeats = 0  # answered requests that were sent again on purpose
        self.lost = 0
        self.findings: list[str] = []
        self.losses: dict[str, int] = {}
        self.cuts: list[Cut] = []
        self.logins_forced = 0  # a password was shown again because no session was left
        self.pauses_ms = array("d")
        self.by_kind: dict[str, array[float]] = {}

    def action(self, kind: str, took_ms: float) -> None:
        """One action got its final answer after `took_ms`."""
        self.actions += 1
        self.by_kind.setdefault(kind, array("d")).append(took_ms)

    def count(self, kind: str) -> int:
        """Actions of one kind."""
        return len(self.by_kind.get(kind, ()))

    def error(self, text: str) -> None:
        """One thing went wrong; `text` says what, for whom."""
        self.errors += 1
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(text)

    def refused(self, kind: str, code: str) -> None:
        """The final answer to an action was a refusal."""
        self.refusals += 1

    def retry(self, what: str, why: str) -> None:
        """Something had no final answer and is tried again."""
        self.retries += 1

    def displaced(self, lane: str, why: str) -> None:
        """A token was not honoured; `why` is the name of the refusal or of the end."""
        self.displacements += 1

    def repeated(self, *, elsewhere: bool) -> None:
        """An answered request was sent again on purpose and answered again, by another server or by
        the same one."""
        self.repeats += 1

    def loss(self, text: str, cut: Cut) -> None:
        """A connection ended under a bot, which comes back; `text` says how."""
        self.lost += 1
        self.losses[text] = self.losses.get(text, 0) + 1
        self.cuts.append(cut)

    def login_forced(self) -> None:
        """A bot has to show its password again."""
        self.logins_forced += 1

    def came_back(self, took_ms: float) -> None:
        """A bot plays again, `took_ms` after it noticed that its connection ended."""
        self.pauses_ms.append(took_ms)

    def mark(self) -> dict[str, int]:
        """How many actions of each kind there are by now, for `percentile_ms`."""
        return {kind: len(taken) for kind, taken in self.by_kind.items()}

    def percentile_ms(
        self,
        share: float,
        kinds: Collection[str] | None = None,
        since: Mapping[str, int] | None = None,
    ) -> float:
        """The smallest sample that at least `share` of all do not exceed; 0 without samples.
        `kinds`: of these actions alone; `since`: of those after a `mark`."""
        chosen = self.by_kind if kinds is None else self.by_kind.keys() & set(kinds)
        first = since or {}
        ordered = sorted(
            chain.from_iterable(self.by_kind[kind][first.get(kind, 0) :] for kind in chosen)
        )
        if not ordered:
            return 0.0
        place = max(0, min(len(ordered) - 1, -(-int(share * 1000) * len(ordered) // 1000) - 1))
        return round(ordered[place], 3)

    def summary(self, journey: str, players: int) -> Summary:
        """The figures of one run."""
        return Summary(
            journey=journey,
            players=players,
            actions=self.actions,
            errors=self.errors,
            refusals=self.refusals,
            p50_ms=self.percentile_ms(0.5),
            p99_ms=self.percentile_ms(0.99),
            p999_ms=self.percentile_ms(0.999),
        )
