"""Check 5 for reads: what a server tells on arrival.

Owns this judgement over one player at a time: the place of fields in a welcome, and the walk
through the books that it is compared with. Called by the command.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from itertools import accumulate

import msgspec

from mmo.proof.checker.answers import counts_of
from mmo.proof.checker.findings import Findings
from mmo.proof.checker.history import Claim
from mmo.proof.checker.operations import WELCOME, Owned
from mmo.proof.checker.truth import PlayerBooks

COINS = slice(7, 10)
ITEMS = slice(12, 15)
"""Places in a welcome: gold, cash, mileage; the three inventories."""


class Bounds:
    """Which versions may be told between two moments: nothing older than what was acknowledged
    before, nothing that was asked for only afterwards."""

    def __init__(self, books: PlayerBooks, mine: Owned) -> None:
        version = {(event.epoch, event.counter): event.version for event in books.events}
        known = [
            (version[number[1], number[2]], operation)
            for number, operation in mine
            if operation.sent and (number[1], number[2]) in version
        ]
        answered = sorted((one.answers[0][0], at) for at, one in known if one.answers)
        asked = sorted((one.sent[0][0], at) for at, one in known)
        self._answered = [moment for moment, _ in answered]
        self._highest = list(accumulate((at for _, at in answered), max))
        self._asked = [moment for moment, _ in asked]
        self._lowest = list(accumulate((at for _, at in reversed(asked)), min))[::-1]

    def between(self, asked: int, told: int) -> tuple[int, int]:
        """The least and the highest version."""
        before, after = bisect_left(self._answered, asked), bisect_right(self._asked, told)
        least = self._highest[before - 1] if before else 0
        return least, self._lowest[after] - 1 if after < len(self._lowest) else 1 << 62


class Arrival:
    """One welcome and the versions that it may have told."""

    def __init__(self, claim: Claim, bounds: Bounds) -> None:
        told = msgspec.msgpack.decode(claim.told, type=list)
        self.claim = claim
        self.coins = list(told[COINS])
        # A counter, for which an item that is no more is the same as one that never was.
        self.counts = Counter(counts_of([item for items in told[ITEMS] for item in items]))
        self.least, self.most = bounds.between(claim.at, claim.answered_at)


def check_arrivals(books: PlayerBooks, mine: Owned, claims: list[Claim], found: Findings) -> int:
    """Each welcome tells coins and items as the books held them at a moment between the request and
    the answer; returns how many were compared."""
    if books.floor:
        return 0  # what older versions did is purged
    bounds = Bounds(books, mine)
    welcomes = [claim for claim in claims if claim.opcode == WELCOME and claim.told]
    open_ones = sorted((Arrival(claim, bounds) for claim in welcomes), key=lambda one: -one.least)
    lines, births = defaultdict(list), defaultdict(list)
    for at, _, currency, amount in books.lines:
        lines[at].append((currency, amount))
    for at, uid, _, delta in books.births:
        births[at].append((uid, delta))
    coins, counts = [0, 0, 0], Counter[int]()
    now: list[Arrival] = []
    for at in range(books.version + 1):
        for currency, amount in lines.pop(at, ()):
            coins[currency] += amount
        for uid, delta in births.pop(at, ()):
            counts[uid] += delta
        while open_ones and open_ones[-1].least <= at:
            now.append(open_ones.pop())
        now = [one for one in now if not (one.coins == coins and one.counts == counts)]
        for one in [one for one in now if one.most <= at]:
            now.remove(one)
            _untrue(books, one, found)
    for one in (*now, *open_ones):
        _untrue(books, one, found)
    return len(welcomes)


def _untrue(books: PlayerBooks, one: Arrival, found: Findings) -> None:
    told = f"{one.coins} coins and {len(one.counts)} items"
    text = f"user {books.user} was told {told} by port {one.claim.port} on arrival: the books held "
    text += f"nothing like it from version {one.least} to {min(one.most, books.version)}"
    found.add("order", "stale-arrival", text)
