"""Receipts of real attempts on the cluster: players enhance, every roll is computed again.

Owns the walk of those players and the comparison with the database. Called by `odds`, whose
recomputation it is handed.
"""

import asyncio
import hashlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from mmo.client.aio import Shell
from mmo.client.fleet import muster, source_of
from mmo.client.hero import Hero
from mmo.client.meter import Meter
from mmo.client.session import arrive, ask, log_out, register
from mmo.client.steps import CENTER, Pause, Walk
from mmo.proof.arena import Arena
from mmo.proof.economy_books import Books
from mmo.proof.verdict import Trial
from mmo.wire.messages.enhance import Enhance, EnhanceOk, OddsAsk, OddsRow
from mmo.wire.messages.inventory import BagAsk
from mmo.wire.messages.shop import Buy, ShopLineView, ShopPageAsk

SEED = 51
GOLD = 20_000
PACE_MS = 60.0  # between two attempts: the server takes twenty actions a second of one player
LOOK_EVERY_MS = 250.0
"""Slow enough for the rate that looks into the bag are granted."""

LOOKS_MAX = 80
Recompute = Callable[[bytes, int, int, int], int]


def wait_for_gold(me: Hero, gold: int) -> Walk[bool]:
    """Look into the bag until a correction has arrived; False when it does not."""
    for _ in range(LOOKS_MAX):
        bag = yield from ask(me, CENTER, BagAsk())
        me.record.gold = bag.gold
        if bag.gold >= gold:
            return True
        yield Pause(LOOK_EVERY_MS)
    me.meter.error(f"{me.name}: a correction of {gold} gold did not arrive")
    return False


def cheapest(me: Hero, lane: str, kind: int) -> Walk[tuple[int, ShopLineView]]:
    """The catalogue's number and its cheapest line of an item kind for gold."""
    page, pages, lines = 0, 1, []
    catalogue = 0
    while page < pages:
        told = yield from ask(me, lane, ShopPageAsk(page))
        lines += [line for line in told.lines if line.kind == kind and line.currency == 0]
        catalogue, pages, page = told.catalogue, told.pages, page + 1
    return catalogue, min(lines, key=lambda line: line.price)


def enhance_all_day(me: Hero, attempts: int) -> Walk[tuple[list[EnhanceOk], list[OddsRow]]]:
    """Buy swords and enhance them, `attempts` times in all; the receipts and the odds told."""
    yield from arrive(me)
    receipts: list[EnhanceOk] = []
    odds = list((yield from ask(me, CENTER, OddsAsk())).rows)
    if not (yield from wait_for_gold(me, GOLD)):
        return receipts, odds
    catalogue, line = yield from cheapest(me, CENTER, 0)
    while len(receipts) < attempts:
        buy = Buy(me.next_operation(), catalogue, line.line, 1, line.price)
        sword = (yield from ask(me, CENTER, buy)).items[0].uid
        for _ in range(attempts // 2):
            told = yield from ask(me, CENTER, Enhance(me.next_operation(), sword))
            receipts.append(told)
            yield Pause(PACE_MS)
            if told.enhance >= len(odds) or len(receipts) >= attempts:
                break
    yield from log_out(me)
    return receipts, odds


async def real_receipts(arena: Arena, trial: Trial, short: bool, recompute: Recompute) -> None:
    """Players enhance on the cluster: their receipts and the database recompute, without a gap."""
    count, attempts = (3, 12) if short else (10, 100)
    meter = Meter()
    heroes = muster(arena.addresses("login"), count, SEED, meter)
    books = Books(arena)
    walked = await asyncio.gather(
        *(_one(arena, books, me, index, attempts) for index, me in enumerate(heroes))
    )
    for text in meter.findings:
        trial.found(f"a player at the anvil: {text}")
    receipts = [receipt for told, _ in walked for receipt in told]
    odds = [row.chance_ppm for row in walked[0][1]]
    for fault in receipt_faults(receipts, odds, books.roll_key, recompute):
        trial.found(fault)
    promised = await asyncio.to_thread(
        books.rows, "SELECT day, commitment, roll_key IS NOT NULL FROM roll_key"
    )
    days = {told.day for told in receipts}
    for fault in promise_faults(days, promised, books.roll_key):
        trial.found(fault)
    rows = await asyncio.to_thread(
        books.rows, "SELECT uid, attempt, odds_table, day, roll_ppm FROM enhance_log"
    )
    stored = {(uid, attempt): (table, day, rolled) for uid, attempt, table, day, rolled in rows}
    for told in receipts:
        seen = stored.get((told.uid, told.attempt))
        if seen != (told.table, told.day, told.roll_ppm):
            trial.found(f"receipt {told} is in the database as {seen}")
    wrong = sum(
        recompute(books.roll_key(day), uid, attempt, table) != rolled
        for (uid, attempt), (table, day, rolled) in stored.items()
    )
    trial.expect(not wrong, f"{wrong} of {len(stored)} rolls in the database do not recompute")
    trial.expect(
        len(receipts) == count * attempts, f"only {len(receipts)} receipts were handed out"
    )
    trial.tried(
        f"{count} players made {len(receipts)} attempts; their receipts and all {len(stored)} "
        "rolls in the database were recomputed"
    )
    trial.figure("receipts", len(receipts))


async def _one(
    arena: Arena, books: Books, me: Hero, index: int, attempts: int
) -> tuple[list[EnhanceOk], list[OddsRow]]:
    shell = Shell(source_of(30_000 + index))
    try:
        await shell.walk(register(me))
        user = await asyncio.to_thread(books.user_of, me.name)
        await asyncio.to_thread(books.give, user, GOLD)
        return await shell.walk(enhance_all_day(me, attempts))
    finally:
        shell.cut_all()


def promise_faults(
    days: set[int], promised: list[tuple[Any, ...]], key_of: Callable[[int], bytes]
) -> list[str]:
    """Days of receipts whose key was not promised by its hash, or was revealed while sessions of
    that day still roll. `promised`: day, hash, whether the key is public."""
    told = {int(day): (bytes(commitment), bool(public)) for day, commitment, public in promised}
    found = []
    for day in sorted(days):
        commitment, public = told.get(day, (b"", False))
        if commitment != hashlib.sha256(key_of(day)).digest():
            found.append(f"the key of {day} is not the one that was promised")
        if public:
            found.append(f"the key of {day} is public while players roll with it")
    return found


def receipt_faults(
    receipts: list[EnhanceOk],
    odds: list[int],
    key_of: Callable[[int], bytes],
    recompute: Recompute,
) -> list[str]:
    """Receipts whose roll is another one, whose success does not follow from it, whose chance is
    not the published one, or that skip an attempt."""
    found = []
    by_item: dict[int, list[EnhanceOk]] = {}
    for told in receipts:
        by_item.setdefault(told.uid, []).append(told)
        if recompute(key_of(told.day), told.uid, told.attempt, told.table) != told.roll_ppm:
            found.append(f"receipt {told} does not recompute")
        if told.success != (told.roll_ppm < told.chance_ppm):
            found.append(f"receipt {told} has a success that its roll does not give")
        if told.chance_ppm != odds[told.enhance - told.success]:
            found.append(f"receipt {told} used odds that were not told")
    for told_of_item in by_item.values():
        if told_of_item[0].attempt != 1:
            found.append(f"receipt {told_of_item[0]} is the first of its item")
        for before, after in pairwise(told_of_item):
            went_on = after.enhance - after.success == before.enhance
            if after.attempt != before.attempt + 1 or not went_on:
                found.append(f"receipt {after} does not follow {before}")
    return found
