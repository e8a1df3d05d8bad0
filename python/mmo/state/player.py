"""The player aggregate as its owner keeps it in memory.

Owns the parts and the operation book; changes only through `state.change.Change.apply` after a
commit. Read by rules part by part, never written by them.
"""

import msgspec

from mmo.state.bag import Bag, Item
from mmo.state.counters import Counter
from mmo.state.growth import Growth
from mmo.state.pass_progress import PassProgress
from mmo.state.score import Score
from mmo.state.wallet import Wallet

OPERATIONS_KEPT_MAX = 64


class Head(msgspec.Struct, frozen=True, gc=False):
    """The fence: who owns the player, in which session, at which version."""

    user: int
    name: str
    version: int  # +1 with every commit
    session_epoch: int  # raised by every login
    place_number: int  # server that owns the player, 0 nobody
    place_epoch: int  # raised by every CLAIM
    operation_floor_epoch: int = 0  # operation ids of older epochs are refused
    last_login_ms: int = 0  # the login before the current one
    login_ms: int = 0  # the login that began this session


class OperationRecord(msgspec.Struct, frozen=True, gc=False):
    """One finished operation: what was asked (hash) and the encoded answer."""

    epoch: int
    counter: int
    request_hash: bytes  # 8 bytes
    answer_opcode: int
    answer: bytes


class OperationBook:
    """The last operations of a player: highest counter per epoch and the latest records."""

    __slots__ = ("highest", "records")

    def __init__(self, records: "list[OperationRecord] | tuple[OperationRecord, ...]" = ()) -> None:
        self.highest: dict[int, int] = {}
        self.records: dict[tuple[int, int], OperationRecord] = {}  # oldest first
        for record in sorted(records, key=lambda r: (r.epoch, r.counter)):
            self.add(record)

    def add(self, record: OperationRecord) -> None:
        """Remember one finished operation; the oldest beyond 64 is forgotten."""
        self.highest[record.epoch] = max(self.highest.get(record.epoch, 0), record.counter)
        self.records[record.epoch, record.counter] = record
        while len(self.records) > OPERATIONS_KEPT_MAX:
            del self.records[next(iter(self.records))]


class Player:
    """One resident player; every attribute but `operations` is a name usable in `needs`."""

    __slots__ = (
        "bag", "counters", "grants_claimed", "growth", "head", "operations", "pass_progress",
        "score", "wallet",
    )  # fmt: skip

    def __init__(
        self,
        head: Head,
        growth: Growth,
        wallet: Wallet,
        bag: Bag,
        score: Score,
        operations: OperationBook,
    ) -> None:
        self.head = head
        self.growth = growth
        self.wallet = wallet
        self.bag = bag
        self.score = score
        self.operations = operations
        self.pass_progress: dict[int, PassProgress] = {}
        self.counters: dict[tuple[int, int], Counter] = {}
        self.grants_claimed: frozenset[tuple[int, int]] = frozenset()

    @property
    def user(self) -> int:
        """The user id."""
        return self.head.user


class Snapshot(msgspec.Struct, array_like=True, frozen=True):
    """What Redis keeps of a player; used only when `version` equals the head's. Parts that are
    None were put by code that did not know them: then nothing of it is used."""

    version: int
    level: int
    exp: int
    gold: int
    cash: int
    mileage: int
    score_best: int
    items: list[Item]
    counters: list[tuple[int, int, int, int]] | None = None  # kind, key, window, count
    passes: list[PassProgress] | None = None
