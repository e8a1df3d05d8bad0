"""The tables of the store in dicts, and the constraints that the schema would enforce.

Owns the rows, what makes a member's rows allowed, and their way into the tables; keeps no verdict,
no fault and no lease. Used by `fake_store`, which several servers share one `FakeDatabase` through.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from mmo.state.bag import Item
from mmo.state.counters import Counter
from mmo.state.grant import Bundle, SourceKind
from mmo.state.pass_progress import PassProgress
from mmo.state.place import PaymentBooked
from mmo.state.player import OperationRecord
from mmo.state.roll import DayKey
from mmo.state.wallet import COINS_MAX
from mmo.store import CodeRecord, LeaseRow
from mmo.store.ledger import MemberRows
from mmo.testing.fake_raids import FakeRaidTables

LEVEL_MAX = 1_000
SLOT_MAX = 9_999
GRANTS_A_USER_MAX = 32


@dataclass
class FakeAccount:
    """A row of `account`."""

    user: int
    name: str
    password_hash: str
    failures: int = 0
    locked_until_ms: int = 0


@dataclass
class FakeHead:
    """A row of `player_head`."""

    version: int = 0
    session_epoch: int = 0
    place_number: int = 0
    place_epoch: int = 0
    operation_floor_epoch: int = 0
    reservation_number: int = 0
    reservation_jti: str = ""
    reservation_expires_ms: int = 0
    level: int = 1
    exp: int = 0
    coins: tuple[int, int, int] = (0, 0, 0)
    score_best: int = 0
    login_ms: int = 0
    last_login_ms: int = 0

    def leave(self) -> None:
        """The place is emptied and the reservation cleared."""
        self.place_number = 0
        self.clear()

    def clear(self) -> None:
        """No reservation."""
        self.reservation_number, self.reservation_jti, self.reservation_expires_ms = 0, "", 0


@dataclass
class FakeLease:
    """A row of `node_lease`; `holder` is the store object of the process, None once it is gone."""

    row: LeaseRow
    until_ms: int
    holder: object | None


@dataclass
class FakeCode:
    """The one row of `code_generation`."""

    generation: int = 1
    bundle: str = ""
    rolling_from: int = 0
    canary: int = 0
    canary_number: int = 0


@dataclass
class FakeDatabase:
    """What all servers of a cluster share. `locked`: users whose row another transaction holds."""

    clock_ms: Callable[[], int] = lambda: 0
    accounts: dict[str, FakeAccount] = field(default_factory=dict)
    heads: dict[int, FakeHead] = field(default_factory=dict)
    items: dict[int, dict[int, Item]] = field(default_factory=dict)
    events: dict[tuple[int, int, int], OperationRecord] = field(default_factory=dict)
    versions: dict[int, list[int]] = field(default_factory=dict)
    coins: list[tuple[int, ...]] = field(default_factory=list)
    item_lines: list[tuple[int, ...]] = field(default_factory=list)
    grants: dict[tuple[int, int, int], bytes] = field(default_factory=dict)
    claimed: dict[tuple[int, int, int], int] = field(default_factory=dict)
    rolls: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict)
    counters: dict[int, dict[tuple[int, int], Counter]] = field(default_factory=dict)
    passes: dict[int, dict[int, PassProgress]] = field(default_factory=dict)
    payments: dict[str, PaymentBooked] = field(default_factory=dict)
    roll_keys: dict[int, DayKey] = field(default_factory=dict)
    leases: dict[int, FakeLease] = field(default_factory=dict)
    online: dict[int, tuple[str, int]] = field(default_factory=dict)
    code: FakeCode = field(default_factory=FakeCode)
    bundles: dict[str, bytes] = field(default_factory=dict)
    bundles_ms: dict[str, int] = field(default_factory=dict)
    decided_by: dict[tuple[int, int, int], int] = field(default_factory=dict)
    generations: dict[int, CodeRecord] = field(default_factory=dict)
    locked: set[int] = field(default_factory=set)
    raid_tables: FakeRaidTables = field(default_factory=FakeRaidTables)
    incarnation: int = 1
    is_down: bool = False


def is_in_time(database: FakeDatabase, rows: MemberRows) -> bool:
    """The statements that ask the database's clock: rewards and lines are of a season that runs,
    items die whose days are over."""
    now_ms = database.clock_ms()
    owned = database.items.get(rows.user, {})
    known = database.passes.get(rows.user, {}).keys() | rows.passes.keys()
    return (
        all(int(row[5]) <= now_ms < int(row[6]) for row in rows.claims)
        and all(row[1] in known and int(row[2]) <= now_ms < int(row[3]) for row in rows.opened)
        and all(
            _is_same(owned.get(uid), before, False) and 0 < owned[uid].expires_ms <= now_ms
            for uid, before in rows.expired.items()
        )
    )


def is_allowed(database: FakeDatabase, rows: MemberRows, coins: tuple[int, int, int]) -> bool:
    """The constraints of the schema and the counts of guarded statements."""
    gold, cash, mileage = coins
    grants = _grants_of(rows)
    return (
        0 <= gold <= COINS_MAX
        and -COINS_MAX <= cash <= COINS_MAX
        and 0 <= mileage <= COINS_MAX
        and 1 <= rows.level <= LEVEL_MAX
        and rows.exp >= 0
        and all(line[5] for line in rows.coins)
        and _are_items_allowed(database, rows)
        and _is_progress_allowed(database, rows)
        and len(grants) == len(rows.grants)
        and grants <= database.grants.keys() - database.claimed.keys()
    )


def were_claimed(database: FakeDatabase, rows: MemberRows) -> bool:
    """Whether a grant of these rows was claimed before."""
    return not database.claimed.keys().isdisjoint(_grants_of(rows))


def _grants_of(rows: MemberRows) -> set[tuple[int, int, int]]:
    return {(int(row[0]), int(row[1]), int(row[2])) for row in rows.grants}


def _are_items_allowed(database: FakeDatabase, rows: MemberRows) -> bool:
    owned = database.items.get(rows.user, {})
    rolls = {(int(row[0]), int(row[1])) for row in rows.rolls}
    return (
        all(line[7] for line in rows.item_lines)
        and not rows.born.keys() & owned.keys()
        and all(_is_item(item) for item in rows.born.values())
        and all(
            _is_item(after) and _is_same(owned.get(uid), before, uid in rows.moved)
            for uid, (before, after) in rows.kept.items()
        )
        and all(_is_same(owned.get(uid), before, False) for uid, before in rows.died.items())
        and len(rolls) == len(rows.rolls)
        and not rolls & database.rolls.keys()
        and all(
            int(row[7]) == int(row[6]) + (int(row[9]) < int(row[8]))
            and 0 <= int(row[9]) < 1_000_000
            for row in rows.rolls
        )
    )


def _is_item(item: Item) -> bool:
    return item.count > 0 and 0 <= item.slot <= SLOT_MAX


def _is_same(owned: Item | None, before: Item, is_whole: bool) -> bool:
    if owned is None or (owned.code, owned.count) != (before.code, before.count):
        return False
    return not is_whole or (owned.enhance, owned.attempts) == (before.enhance, before.attempts)


def _is_progress_allowed(database: FakeDatabase, rows: MemberRows) -> bool:
    counters = database.counters.get(rows.user, {})
    passes = database.passes.get(rows.user, {})
    claims = [(int(row[1]), int(row[2]), int(row[3])) for row in rows.claims]
    return (
        all(
            (key in counters) != raised.is_new and raised.count >= 0
            for key, raised in rows.counters.items()
        )
        and all(
            (number in passes) != moved.is_new and moved.level >= 0 and moved.exp >= 0
            for number, moved in rows.passes.items()
        )
        and len(set(claims)) == len(claims)
        and all(
            number in passes and (level, line) not in passes[number].claimed
            for number, level, line in claims
        )
    )


def put_rows(database: FakeDatabase, rows: MemberRows) -> None:
    """What an allowed member writes apart from his head and his log."""
    owned = database.items.setdefault(rows.user, {})
    owned |= rows.born
    owned |= {uid: after for uid, (_, after) in rows.kept.items()}
    for uid in (*rows.died, *rows.expired):
        del owned[uid]
    database.coins += [tuple(map(int, line)) for line in rows.coins]
    database.item_lines += [tuple(map(int, line)) for line in rows.item_lines]
    for roll in rows.rolls:
        database.rolls[int(roll[0]), int(roll[1])] = tuple(map(int, roll))
    counters = database.counters.setdefault(rows.user, {})
    for key, raised in rows.counters.items():
        counters[key] = Counter(raised.window, raised.count)
    passes = database.passes.setdefault(rows.user, {})
    for number, moved in rows.passes.items():
        claimed = passes[number].claimed if number in passes else frozenset()
        passes[number] = PassProgress(
            number, moved.level, moved.exp, moved.paid, moved.missions, claimed
        )
    for row in rows.opened:
        passes[int(row[1])] = msgspec.structs.replace(passes[int(row[1])], paid=True)
    for row in rows.claims:
        number, level, line = int(row[1]), int(row[2]), int(row[3])
        claimed = passes[number].claimed | {(level, line)}
        passes[number] = msgspec.structs.replace(passes[number], claimed=claimed)
    for user, source_kind, source_id, version in rows.grants:
        database.claimed[int(user), int(source_kind), int(source_id)] = int(version)


def book(database: FakeDatabase, row: PaymentBooked) -> bool:
    """A payment order with its grant; see `mmo.store.payments`."""
    orders = database.payments
    if row.order in orders or row.user not in database.heads:
        return False
    if row.refund_of:
        charge = orders.get(row.refund_of)
        if charge is None or charge.user != row.user or charge.refund_of or row.amount >= 0:
            return False
        given = sum(one.amount for one in orders.values() if one.refund_of == row.refund_of)
        if charge.amount + given + row.amount < 0:
            return False
    elif row.amount <= 0:
        return False
    orders[row.order] = row
    kind = SourceKind.REFUND if row.refund_of else SourceKind.PAYMENT
    bundle = msgspec.msgpack.encode(Bundle(cash=row.amount))
    database.grants[row.user, int(kind), len(orders)] = bundle
    return True
