"""A canary: one node tries new code while its peers go on, and goes back when it is worse.

Owns what is compared and the judgement; the steps are those of `switching.Coordinator`. Called by
`reload --canary`.
"""

import asyncio
import time
from typing import Any

import msgspec

from mmo.cli.switching import Coordinator, Switched
from mmo.config import Reload
from mmo.errors import OperatorError
from mmo.node.bundle import Bundle
from mmo.store import CodeRow, LeaseRow

LOOK_S = 0.25
MESSAGES_MIN = 200
"""Fewer messages say nothing about times or shares."""
ERRORS_MIN = 3
"""So many failures of rules are never chance."""


class Tally(msgspec.Struct, frozen=True):
    """What a node counted over some time."""

    messages: int = 0
    errors: int = 0  # rules that raised, overran or returned nonsense
    refusals: int = 0
    busy_ns: int = 0

    @classmethod
    def of(cls, stats: dict[str, Any]) -> "Tally":
        """From a node's `stats`."""
        refusals = sum(
            int(value)
            for name, value in stats.items()
            if name.startswith("refused_") and name != "refused_internal_total"
        )
        return cls(
            int(stats.get("events_total", 0)),
            int(stats.get("rules_raised_total", 0)),
            refusals,
            int(stats.get("batch_ns_total", 0)),
        )

    def since(self, before: "Tally") -> "Tally":
        """The difference."""
        return Tally(
            self.messages - before.messages,
            self.errors - before.errors,
            self.refusals - before.refusals,
            self.busy_ns - before.busy_ns,
        )

    def plus(self, other: "Tally") -> "Tally":
        """The sum."""
        return self.since(Tally().since(other))

    @property
    def refused_permille(self) -> float:
        """Refusals of a thousand messages."""
        return 1_000 * self.refusals / max(1, self.messages)

    @property
    def message_us(self) -> float:
        """Microseconds a message, rules and machinery together."""
        return self.busy_ns / max(1, self.messages) / 1_000


def judge(ours: Tally, others: Tally, budget: Reload) -> str:
    """Why the canary is worse than `others`; empty: it is not."""
    allowed = max(ERRORS_MIN - 1, budget.canary_errors_permille_max * ours.messages / 1_000)
    usual = others.errors / max(1, others.messages) * ours.messages
    if ours.errors > allowed + usual:
        return f"{ours.errors} failures of rules in {ours.messages} messages"
    if min(ours.messages, others.messages) < MESSAGES_MIN:
        return ""
    more = ours.refused_permille - others.refused_permille
    if more > budget.canary_refusals_permille_max:
        return (
            f"{ours.refused_permille:.0f} refusals of a thousand messages; "
            f"{others.refused_permille:.0f} without the new code"
        )
    if ours.message_us > budget.canary_times_max * others.message_us:
        return (
            f"{ours.message_us:.0f} us a message; {others.message_us:.0f} us without the new code"
        )
    return ""


class Tried(msgspec.Struct, frozen=True):
    """What a canary came to. `why` empty: it was good and all nodes decide by it now."""

    node: str
    generation: int
    seconds: float
    why: str
    ours: Tally
    others: Tally
    switched: Switched | None = None


class Canary:
    """One try on one node."""

    def __init__(self, coordinator: Coordinator, settings: Reload) -> None:
        self._coordinator = coordinator
        self._settings = settings

    async def run(self, bundle: Bundle, name: str, for_s: float, note: str) -> Tried:
        """Try `bundle` on the node `name`; then all nodes take it, or none keeps it. Raises
        `OperatorError`."""
        coordinator = self._coordinator
        row = await coordinator.row()
        living = await coordinator.living()
        node = next((lease for lease in living if lease.name == name), None)
        if node is None:
            raise OperatorError("E0708", f"no node {name} is alive", "mmo-cluster status")
        await coordinator.keep(bundle)
        await coordinator.prepare(row.next, bundle.digest, [node])
        peers = [one for one in living if one.role == node.role and one.number != node.number]
        before = await self._tally([node])
        peers_before = await self._tally(peers)
        await coordinator.begin_canary(row, bundle.digest, node, for_s, note)
        began = time.monotonic()
        why, ours, others = "", Tally(), before
        try:
            while not why and time.monotonic() - began < for_s:
                await asyncio.sleep(min(LOOK_S, for_s))
                ours = (await self._tally([node])).since(before)
                beside = (await self._tally(peers)).since(peers_before)
                others = beside if beside.messages >= MESSAGES_MIN else before
                why = await self._wrong(node, row) or judge(ours, others, self._settings)
        except BaseException:
            await coordinator.end_canary(row.next, node, "the command was interrupted")
            raise
        seconds = round(time.monotonic() - began, 2)
        if why:
            why += await self._last_failure(node)
            await coordinator.end_canary(row.next, node, why)
            return Tried(name, row.next, seconds, why, ours, others)
        switched = await coordinator.promote(row, bundle, node, note)
        return Tried(name, row.next, seconds, "", ours, others, switched)

    async def _wrong(self, node: LeaseRow, row: CodeRow) -> str:
        """What is wrong whatever the counts say."""
        try:
            said = await self._coordinator.ask(node, {"ask": "generation"})
        except OperatorError:
            return f"{node.name} does not answer any more"
        if said.get("generation") != row.next:
            return f"{node.name} decides by generation {said.get('generation')} again"
        quarantined = said.get("quarantined") or []
        return f"quarantined {quarantined[0]}" if quarantined else ""

    async def _last_failure(self, node: LeaseRow) -> str:
        try:
            said = await self._coordinator.ask(node, {"ask": "generation"})
        except OperatorError:
            return ""
        return f"; last: {said['last_failure']}" if said.get("last_failure") else ""

    async def _tally(self, nodes: list[LeaseRow]) -> Tally:
        total = Tally()
        for node in nodes:
            try:
                stats = await self._coordinator.ask(node, {"ask": "stats"})
            except OperatorError:
                continue
            total = total.plus(Tally.of(stats))
        return total
