"""The check of what waits for a player: who stays is given it.

Owns from when on it is due. Called by the command.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from mmo.proof.checker.books import PAYMENT, REFUND
from mmo.proof.checker.findings import Findings
from mmo.proof.checker.history import Claim, Fault, Heard, Payment
from mmo.proof.checker.operations import LOGOUT_OK, SESSION_OK, WELCOME, Owned
from mmo.proof.checker.raids import RAID_GRANT
from mmo.proof.checker.truth import PlayerBooks

STAYED_NS = 20_000_000_000
"""A server looks once a second for what waits for its players. One who stayed for so long after the
last fault, and after the last that was left for him, was looked at many times."""

SLOTS = 10
"""Of each kind of item. What does not fit waits, and may."""


class Due:
    """When the last of what may wait was left for each player, and what was promised him."""

    def __init__(
        self,
        heard: Iterable[Heard],
        payments: Iterable[Payment],
        faults: Iterable[Fault],
        users: dict[str, int],
    ) -> None:
        self._calm = max((max(one.ended, one.recovered) for one in faults), default=0)
        self._left: dict[str, int] = {}
        self._promised: set[tuple[str, int]] = set()
        for told in heard:
            if told.what != "raidended":
                continue
            mine = users.get(told.name)
            if any(user == mine and granted for user, _, granted in told.fields["scores"]):
                self._promised.add((told.name, told.fields["raid"]))
                self._leave(told.name, told.at)
        for payment in payments:
            self._leave(payment.account, payment.booked_at)

    def _leave(self, name: str, at: int) -> None:
        self._left[name] = max(self._left.get(name, 0), at)

    def since(self, name: str) -> int:
        """From when on nothing new was left for a player, and no fault struck."""
        return max(self._calm, self._left.get(name, 0))

    def is_due(self, name: str, kind: int, source: int) -> bool:
        """Whether a grant is among what was left by then."""
        is_promised = kind == RAID_GRANT and (name, source) in self._promised
        return is_promised or kind in (PAYMENT, REFUND)


def check_waiting(
    name: str, books: PlayerBooks, mine: Owned, claims: list[Claim], due: Due, found: Findings
) -> None:
    """Rewards and payments of a player who stayed, from his last arrival to the last that he was
    told, are his, but for what does not fit into his bag."""
    arrived = [one.answered_at for one in claims if one.opcode in (WELCOME, SESSION_OK)]
    left = [one.answered_at for one in claims if one.opcode == LOGOUT_OK]
    told = [at for _, operation in mine for at, _ in operation.answers]
    if not arrived:
        return
    stayed_ns = max([*arrived, *left, *told]) - max(due.since(name), *arrived)
    if stayed_ns < STAYED_NS:
        return
    for kind, source, bundle, version in books.grants:
        if version is None and due.is_due(name, kind, source) and _fits(books, bundle):
            text = f"{name} stayed, and grant {kind}/{source} still waits for him"
            found.add("once", "lost", text)


def _fits(books: PlayerBooks, bundle: bytes) -> bool:
    """Whether he has a slot for whatever a grant gives."""
    held = Counter(item[0] for item in books.items.values())
    given = msgspec.msgpack.decode(bundle, type=list)[4:5]
    return all(held[item[0]] < SLOTS for items in given for item in items)
