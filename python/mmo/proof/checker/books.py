"""Checks 3 and 7: money, items, answers, payments, grants, tokens and rolls.

Owns these judgements over one player at a time and over all payments. Derivations of keys and
rolls are written out here from their published form. Called by the command.
"""

import hashlib
import hmac
import struct
from collections import Counter, defaultdict

import msgspec

from mmo.proof.checker.answers import FIELDS, items_told, promise_of
from mmo.proof.checker.findings import Findings
from mmo.proof.checker.history import Claim, Payment
from mmo.proof.checker.operations import WELCOME, Owned
from mmo.proof.checker.truth import PlayerBooks

OF_GRANTS = (2, 3, 6, 103, 105)
"""Accounts on the other side of what grants give and take."""
PAYMENT, REFUND = 1, 2
CURRENCIES = ("gold", "cash", "mileage")
PARTS = 1_000_000
RAID_ENTERED = 1100
SPENT_ONCE = ("login+jwt", "move+jwt", "raid+jwt")


def check_books(books: PlayerBooks, mine: Owned, found: Findings) -> None:
    """Balances are the sums of their lines, items of theirs, and each answer was true when it was
    told."""
    held = [0, 0, 0]
    counts: Counter[int] = Counter()
    lines, births = defaultdict(list), defaultdict(list)
    for version, account, currency, amount in books.lines:
        lines[version].append((account, currency, amount))
    for version, uid, _, delta in books.births:
        births[version].append((uid, delta))
    asked = {(number[1], number[2]): operation for number, operation in mine}
    rolls = {(row[0], row[1]): row for row in books.attempts}
    for event in books.events:
        for _, currency, amount in lines.pop(event.version, ()):
            held[currency] += amount
        for uid, delta in births.pop(event.version, ()):
            counts[uid] += delta
        operation = asked.get((event.epoch, event.counter))
        if operation is None or operation.answer is None or books.floor:
            continue
        what = f"user {books.user} {event.epoch}/{event.counter}, version {event.version}"
        try:
            promise = promise_of(*operation.answer, operation.body)
        except (ValueError, IndexError, TypeError) as fault:
            found.add("books", "answer", f"{what}: {fault}")
            continue
        if promise is None:
            continue
        for currency, balance in promise.balances.items():
            if held[currency] != balance:
                found.add(
                    "books", "balance-told", f"{what}: {balance} {CURRENCIES[currency]} told, "
                    f"the lines add up to {held[currency]}",
                )  # fmt: skip
        for uid, count in promise.counts.items():
            if counts[uid] != count:
                text = f"{what}: item {uid} told as {count}, its book says {counts[uid]}"
                found.add("books", "item-told", text)
        if promise.roll is not None:
            uid, attempt, rolled, after = promise.roll
            row = rolls.get((uid, attempt))
            if row is None or (row[8], row[6], row[2]) != (rolled, after, event.version):
                text = f"{what}: attempt {attempt} on item {uid} is not as told: {row}"
                found.add("once", "roll-told", text)
    for version in (*lines, *births):
        if not books.floor:
            found.add("books", "line", f"user {books.user}: lines of version {version}, no log")
    _totals(books, found)
    if not books.floor:
        _last_told(books, found)


def _last_told(books: PlayerBooks, found: Findings) -> None:
    """Items that are still there lie, and are worn, as the log told them last. Log and items are of
    one view, so nothing that was lost, repeated or late on the way to a bot matters."""
    last: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for event in books.events:
        told = items_told(event.kind, *event.answer)
        if told is None:
            last.clear()  # a rule of somebody's own game may have moved anything
            continue
        for uid, fields in told.items():
            last[uid].update(fields)
    for uid in last.keys() & books.items.keys():
        held = dict(zip(FIELDS, books.items[uid], strict=False))
        lost = {name: value for name, value in last[uid].items() if held[name] != value}
        if lost:
            text = f"user {books.user}: item {uid} was told last with {lost}, it is {held}"
            found.add("books", "item-row", text)


def _totals(books: PlayerBooks, found: Findings) -> None:
    for currency, name in enumerate(CURRENCIES):
        lines = sum(line[3] for line in books.lines if line[2] == currency)
        if lines != books.coins[currency]:
            text = f"user {books.user}: {books.coins[currency]} {name}, lines add up to {lines}"
            found.add("books", "balance", text)
    counts: Counter[int] = Counter()
    for _, uid, _, delta in books.births:
        counts[uid] += delta
    for uid in counts.keys() | books.items.keys():
        live = books.items[uid][3] if uid in books.items else 0
        if live != counts[uid]:
            text = f"user {books.user}: item {uid} is {live}, births less deaths are {counts[uid]}"
            found.add("books", "item", text)


def check_rolls(books: PlayerBooks, keys: dict[int, bytes], found: Findings) -> int:
    """Each attempt once, in order, with the roll of the key of a published day; returns how many
    were recomputed. A day is published before it begins, and when a server of the first day starts:
    long before anybody can have logged in on it by clocks that servers forgive each other. Its key
    may be hidden yet (b"")."""
    recomputed = 0
    last: dict[int, tuple[int, int]] = {}
    for uid, attempt, _, day, table, before, after, chance, rolled in books.attempts:
        what = f"user {books.user}: item {uid} attempt {attempt}"
        expected, level = last.get(uid, (0, before))
        if attempt != expected + 1 or before != level:
            found.add("once", "attempt", f"{what} follows attempt {expected} at +{level}")
        last[uid] = (attempt, after)
        if after != before + (1 if rolled < chance else 0):
            found.add("once", "attempt", f"{what}: roll {rolled} against {chance} gave +{after}")
        key = keys.get(day)
        if key is None:
            found.add("once", "roll", f"{what}: no key was published for its day, {day}")
        elif key:
            recomputed += 1
            due = roll_of(key, uid, attempt, table)
            if due != rolled:
                found.add("once", "roll", f"{what}: roll {rolled}, the key gives {due}")
    for uid, item in books.items.items():
        attempt, after = last.get(uid, (0, item[4]))
        if item[7] != attempt or item[4] != after:
            text = f"user {books.user}: item {uid} is +{item[4]} after {item[7]} attempts"
            found.add("once", "attempt", f"{text}, its log says +{after} after {attempt}")
    return recomputed


def keys_of(
    published: dict[int, tuple[bytes, bytes]], master: bytes, found: Findings
) -> dict[int, bytes]:
    """The key of each published day, by the secret or as revealed, b"" while it is hidden; each
    that is known fits its commitment."""
    keys = {}
    for day, (commitment, revealed) in published.items():
        key = revealed
        if not key and master:
            key = hmac.digest(master, b"mmo roll key %d" % day, "sha256")
        keys[day] = key
        if key and hashlib.sha256(key).digest() != commitment:
            found.add("once", "key", f"the key of {day} is not the one promised")
    return keys


def roll_of(key: bytes, uid: int, attempt: int, table: int) -> int:
    """The published mapping: HMAC-SHA-256 words, the first below the largest multiple."""
    limit, turn = 2**64 - 2**64 % PARTS, 0
    while True:
        digest = hmac.digest(key, struct.pack(">qqqI", uid, attempt, table, turn), "sha256")
        for word in struct.unpack(">4Q", digest):
            if word < limit:
                return int(word % PARTS)
        turn += 1


def check_grants(books: PlayerBooks, found: Findings) -> None:
    """What a claimed grant carries is what its version's lines say, coins and items, and a pass
    reward is claimed once."""
    by_version: dict[int, Counter[int]] = defaultdict(Counter)
    due: dict[int, Counter[int]] = defaultdict(Counter)
    born: dict[int, Counter[int]] = defaultdict(Counter)
    due_items: dict[int, Counter[int]] = defaultdict(Counter)
    claimed = {grant[3] for grant in books.grants if grant[3] is not None}
    for version, account, currency, amount in books.lines:
        if version in claimed or account in OF_GRANTS:
            by_version[version][currency] += amount
    for version, _, code, delta in books.births:
        if version in claimed:
            born[version][code] += delta
    for kind, source, bundle, claimed_in in books.grants:
        if claimed_in is None:
            continue
        try:
            parts = msgspec.msgpack.decode(bundle, type=list)
        except msgspec.MsgspecError:
            found.add("books", "grant", f"user {books.user}: grant {kind}/{source} is unreadable")
            continue
        for currency in range(3):
            due[claimed_in][currency] += parts[currency] if len(parts) > currency else 0
        for item in parts[4] if len(parts) > 4 else ():
            due_items[claimed_in][item[1]] += item[2]
    for version in by_version.keys() | due.keys():
        given, owed = by_version[version], due[version]
        # Experience of a grant may raise what else a version moves; coins must fit exactly.
        if any(given[currency] != owed[currency] for currency in range(3)):
            text = f"user {books.user} version {version}: {dict(given)} given, {dict(owed)} granted"
            found.add("books", "grant", text)
    for version in born.keys() | due_items.keys():
        if born[version] != due_items[version]:
            text = f"items {dict(born[version])} given, {dict(due_items[version])} granted"
            found.add("books", "grant-items", f"user {books.user} version {version}: {text}")
    for reward, times in Counter(claim[:3] for claim in books.claims).items():
        if times > 1:
            found.add(
                "once", "pass-claim", f"user {books.user}: {reward} was claimed {times} times"
            )


def check_payments(
    payments: dict[str, Payment],
    users: dict[str, int],
    orders: dict[str, list[tuple[int, int, int]]],
    grants: dict[int, list[tuple[int, int, bytes, int | None]]],
    found: Findings,
) -> None:
    """Each acknowledged notice is booked once, as it was sent, with one grant; no other is."""
    by_source: dict[tuple[int, int, int], list[bytes]] = defaultdict(list)
    for user, given in grants.items():
        for kind, source, bundle, _ in given:
            by_source[user, kind, source].append(bundle)
    for order, payment in payments.items():
        rows = orders.get(order, [])
        user = users.get(payment.account, 0)
        if payment.booked_at and len(rows) != 1:
            text = f"order {order} was acknowledged, is booked {len(rows)} times"
            found.add("once", "payment" if rows else "payment-lost", text)
        for number, owner, amount in rows:
            if (owner, amount) != (user, payment.amount):
                text = (
                    f"order {order}: {amount} for {owner} booked, {payment.amount} for {user} sent"
                )
                found.add("once", "payment", text)
            kind = REFUND if amount < 0 else PAYMENT
            bundles = by_source.get((owner, kind, number), [])
            cash = [msgspec.msgpack.decode(bundle)[1] for bundle in bundles]
            if cash != [amount]:
                found.add("once", "payment-grant", f"order {order} of {amount} has grants {cash}")
    for order in orders.keys() - payments.keys():
        found.add("once", "payment", f"order {order} is booked, nobody sent it")


def check_tokens(claims: list[Claim], found: Findings) -> None:
    """A login, move or raid token lets in once."""
    entered = Counter(
        claim.token
        for claim in claims
        if claim.token and claim.typ in SPENT_ONCE and claim.opcode in (WELCOME, RAID_ENTERED)
    )
    for claim in claims:
        if entered.get(claim.token, 0) > 1:
            times = entered.pop(claim.token)
            found.add("once", "token", f"{claim.name}: a {claim.typ} let in {times} times")
