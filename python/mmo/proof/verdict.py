"""What a proof found: what it tried, what did not hold, and its figures.

Owns the form that `prove --json` prints; scripts of others rely on it. Judges nothing itself: a
proof says what it expected. Filled by proofs, printed by the command.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from mmo.proof.origin import origin

FINDINGS_MAX = 100
"""Findings kept as text; all are counted in the figure `findings_total`."""


class Verdict(msgspec.Struct, frozen=True):
    """The documented form. Under `figures` stand also `code` and `arguments`, by which the proof
    was made."""

    name: str
    held: bool
    tried: list[str]
    findings: list[str]
    figures: dict[str, Any]


class Trial:
    """A proof being run. `say` is told each line as it happens."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self.name = name
        self._say = say
        self._tried: list[str] = []
        self._findings: list[str] = []
        self._figures: dict[str, Any] = {}
        self._expected = 0
        self._broken = 0
        self._origin = origin()  # of the beginning: files may change while a proof runs

    def tried(self, text: str) -> None:
        """One thing that was done to the cluster."""
        self._tried.append(text)
        self._say(text)

    def expect(self, holds: bool, otherwise: str) -> bool:
        """One thing that must hold; `otherwise` is the finding when it does not. Returns
        `holds`."""
        self._expected += 1
        if not holds:
            self.found(otherwise)
        return holds

    def found(self, text: str) -> None:
        """One thing that does not hold."""
        self._broken += 1
        if len(self._findings) < FINDINGS_MAX:
            self._findings.append(text)
        self._say(f"DOES NOT HOLD: {text}")

    def figure(self, name: str, value: Any) -> None:
        """One measured figure."""
        self._figures[name] = value

    def verdict(self) -> Verdict:
        """The end. A trial that expected nothing has proved nothing and does not hold."""
        if not self._expected:
            self.found("nothing was checked")
        counted = {"checks": self._expected, "findings_total": self._broken}
        figures = {**self._figures, **counted, **self._origin}
        return Verdict(self.name, not self._broken, self._tried, self._findings, figures)
