"""The proof of the economy under kills: shoppers and payments go on while servers die every 3 s.

Owns the order of the blows and what must hold afterwards: nothing acknowledged is lost or done
twice, Redis is never behind for long, the books balance, the bots' own records agree.
"""

import asyncio
import random
import time

from mmo.client.aio import Shell, walk_alone
from mmo.client.fleet import Fleet, muster, source_of
from mmo.client.hero import Hero
from mmo.client.journeys import Journey, walk_guarded
from mmo.client.session import arrive, ask, log_out, register
from mmo.client.shopper import shop_until_over
from mmo.client.steps import CENTER, Pause, Walk
from mmo.errors import MmoError
from mmo.proof.arena import Arena
from mmo.proof.economy_books import Books
from mmo.proof.economy_payments import PaymentService
from mmo.proof.economy_witness import Witness, WitnessedShell
from mmo.proof.load import Crew, books_balance, nobody_is_left
from mmo.proof.odds_receipts import LOOK_EVERY_MS, wait_for_gold
from mmo.proof.stores import Stores
from mmo.proof.verdict import Trial
from mmo.wire.messages.inventory import BagAsk

KINDS = ("channel", "center", "cash", "mysql", "redis")
FAULT_EVERY_S = 3.0
STALE_S = 8.0
"""How long after the last fault Redis may repeat an older version of anybody."""

BEHIND_S = 0.5
"""A version that MySQL holds for less long is no staleness."""

STOOD_S = 1.0
"""A process may stand for so long on a busy machine between a commit and its put."""

END_S = 120.0
PAYEES = 4
PAYMENT_EVERY_S = 0.3
CASH_LOOKS_MAX = 160
FIRST_GOLD = 400
ACKNOWLEDGED_MIN = 5
"""A shopper that was told fewer answers has proved nothing."""


class Shoppers(Crew):
    """Bots that shop, each on a witnessed shell."""

    def __init__(self, arena: Arena, count: int, seed: int) -> None:
        super().__init__(arena, count, seed)
        self.witness = Witness()
        self._books = Books(arena)

    def _walk(self, me: Hero, _: float) -> Walk[None]:
        yield from arrive(me)
        # Heard at the lobby, before anything else may tell another balance.
        if (yield from wait_for_gold(me, FIRST_GOLD)):
            yield from shop_until_over(me, self.goes_on)

    async def _one(self, index: int, me: Hero) -> None:
        shell = WitnessedShell(source_of(index), self.witness, me.name)
        try:
            await shell.walk(register(me))
            user = await asyncio.to_thread(self._books.user_of, me.name)
            await asyncio.to_thread(self._books.give, user, FIRST_GOLD)
            journey = Journey("shoppers", "shop until told to stop", self._walk, lambda _: 0)
            await shell.walk(walk_guarded(me, journey, 0))
        finally:
            shell.cut_all()

    async def _all(self) -> Fleet:
        await asyncio.gather(*(self._one(index, me) for index, me in enumerate(self.heroes)))
        summary = self.meter.summary("shoppers", len(self.heroes))
        return Fleet(summary, self.meter, self.heroes, [])

    async def begin(self) -> None:
        """Start all and return when each of them was told an answer."""
        self._task = asyncio.create_task(self._all())
        await self.until(
            lambda: len({name for name, _, _ in self.witness.told}) == len(self.heroes),
            "an answer for each",
        )


async def economy_under_kills(arena: Arena, trial: Trial, short: bool) -> None:
    """Shop and pay while every 3 s one server dies; then hold everything against everything."""
    shoppers = Shoppers(arena, 10 if short else 100, seed=61)
    payees = muster(arena.addresses("login"), PAYEES, 62, shoppers.meter)
    for me in payees:
        await walk_alone(register(me), "127.241.0.1")
    payments = PaymentService(arena, [me.name for me in payees], 63)
    paying = asyncio.create_task(payments.run(PAYMENT_EVERY_S))
    try:
        await shoppers.begin()
        last = await _blows(arena, trial, 15.0 if short else 300.0)
        await _nobody_is_stale(arena, trial, shoppers, last)
        trial.expect(await arena.ready_s() is not None, "the cluster was not repaired")
        enough = len(shoppers.witness.told) + len(shoppers.heroes)
        await shoppers.until(
            lambda: len(shoppers.witness.told) >= enough, "shopping on after the last fault"
        )
        await shoppers.end(END_S)
    finally:
        payments.goes_on = False
        await shoppers.abandon()
        await paying
    await _payments_arrived(trial, payments, payees)
    await close_economy(arena, trial, shoppers)


async def _blows(arena: Arena, trial: Trial, seconds: float) -> float:
    """Kill -9 one after the other, evenly in time; returns the moment of the last blow."""
    rng = random.Random(64)
    killed: dict[str, int] = dict.fromkeys(KINDS, 0)
    waiting: list[str] = []
    began = last = time.monotonic()
    for number in range(int(seconds / FAULT_EVERY_S)):
        await asyncio.sleep(max(0.0, began + number * FAULT_EVERY_S - time.monotonic()))
        if not waiting:
            waiting = list(KINDS)
            rng.shuffle(waiting)
        kind = waiting.pop()
        name = await kill_one(arena, rng, kind)
        if name:
            killed[kind] += 1
            last = time.monotonic()
    trial.tried(
        "kill -9 every 3 s: " + ", ".join(f"{kind} {count} times" for kind, count in killed.items())
    )
    trial.figure("killed", killed)
    for kind, count in killed.items():
        trial.expect(count > 0, f"no {kind} was killed")
    return last


async def kill_one(arena: Arena, rng: random.Random, kind: str) -> str:
    """Kill one server of a kind that lives now; its name, empty when none could be."""
    if kind == "redis":
        primaries = await asyncio.to_thread(Stores(arena).primaries)
        names = [f"redis-{place + 1}" for place in primaries]
    elif kind == "mysql":
        names = [kind]
    else:
        names = [node.name for node in arena.file().nodes if node.role == kind]
    rng.shuffle(names)
    for name in names:
        try:
            await arena.kill(name)
        except MmoError:
            continue  # it is being started
        return name
    return ""


async def _nobody_is_stale(arena: Arena, trial: Trial, shoppers: Shoppers, last: float) -> None:
    """8 s after the last fault, while the shoppers go on, no snapshot is behind what MySQL held
    half a second before, and none is ahead. Who seems to be is looked at once more: a process may
    have stood between its commit and its put."""
    stores = Stores(arena)
    users = [me.user for me in shoppers.heroes if me.user]
    await asyncio.sleep(max(0.0, last + STALE_S - BEHIND_S - time.monotonic()))
    before = await asyncio.to_thread(stores.heads)
    await asyncio.sleep(max(0.0, last + STALE_S - time.monotonic()))
    cached = await asyncio.to_thread(stores.snapshots, users)
    after = await asyncio.to_thread(stores.heads)
    took = time.monotonic() - last
    stale = {
        user: (version, before[user]) for user, version in cached.items() if version < before[user]
    }
    ahead = [user for user, version in cached.items() if version > after[user]]
    if stale:
        await asyncio.sleep(STOOD_S)
        again = await asyncio.to_thread(stores.snapshots, list(stale))
        seen = {user: (again.get(user, was), was) for user, (_, was) in stale.items()}
        stale = {user: one for user, one in seen.items() if one[0] < one[1]}
    trial.expect(bool(cached), "Redis holds no snapshot of any shopper, so nothing was compared")
    trial.expect(
        not stale,
        f"{len(stale)} players are stale in Redis {took:.1f} s after the last fault: {stale}",
    )
    trial.expect(not ahead, f"Redis is ahead of MySQL for {ahead}")
    trial.tried(f"{len(cached)} snapshots compared {took:.1f} s after the last fault, shopping on")
    trial.figure("snapshots_compared", len(cached))
    trial.figure("stale", len(stale))


async def _payments_arrived(trial: Trial, payments: PaymentService, payees: list[Hero]) -> None:
    """Who was paid for logs in and finds exactly what the cash server acknowledged."""
    for fault in payments.faults:
        trial.found(fault)
    trial.expect(payments.booked > PAYEES, f"only {payments.booked} notices were booked")
    for index, me in enumerate(payees):
        due = payments.acknowledged[me.name]
        shell = Shell(source_of(40_000 + index))
        try:
            held = await shell.walk(_cash_of(me, due))
        finally:
            shell.cut_all()
        trial.expect(held == due, f"{me.name} holds {held} cash, the payment service booked {due}")
    trial.tried(
        f"{payments.booked} notices were booked in {payments.tries} tries, {payments.refunds} of "
        f"them refunds, {payments.repeats} sent again on purpose: {PAYEES} accounts hold the sum"
    )
    trial.figure("payments_booked", payments.booked)


def _cash_of(me: Hero, due: int) -> Walk[int]:
    yield from arrive(me)
    held = 0
    # Hundreds of payments wait for him, and each sweep claims a few tens of them.
    for _ in range(CASH_LOOKS_MAX):
        held = (yield from ask(me, CENTER, BagAsk())).cash
        if held == due:
            break
        yield Pause(LOOK_EVERY_MS)
    yield from log_out(me)
    return held


async def close_economy(arena: Arena, trial: Trial, shoppers: Shoppers) -> None:
    """Records, wire, database and books agree; nobody is left behind."""
    meter, witness = shoppers.meter, shoppers.witness
    for text in meter.findings:
        trial.found(f"bot {text}")
    trial.expect(not meter.errors, f"{meter.errors} errors of bots")
    for text in witness.differences:
        trial.found(text)
    least = min(sum(name == me.name for name, _, _ in witness.told) for me in shoppers.heroes)
    trial.expect(least >= ACKNOWLEDGED_MIN, f"a shopper was told only {least} answers")
    books = Books(arena)
    stored = {
        (me.name, *number): answer
        for me in shoppers.heroes
        for number, answer in (await asyncio.to_thread(books.operations, me.user)).items()
    }
    for fault in operation_faults(witness, stored):
        trial.found(fault)
    trial.expect(bool(stored), "the database holds no operation of any shopper")
    again = sum(count - 1 for count in witness.answers.values())
    trial.tried(
        f"{len(witness.told)} operations acknowledged, {len(stored)} in the database, {again} "
        f"answers told again with the same bytes, {len(witness.sent)} numbers sent"
    )
    summary = meter.summary("shoppers", len(shoppers.heroes))
    trial.figure("actions", summary.actions)
    trial.figure("acknowledged", len(witness.told))
    trial.figure("lost", sum(number not in stored for number in witness.told))
    trial.figure("answers_again", again)
    trial.figure("connections_lost", meter.losses)
    trial.figure("retries", meter.retries)
    trial.figure("p50_ms", summary.p50_ms)
    trial.figure("p99_ms", summary.p99_ms)
    await books_balance(arena, trial, len(shoppers.heroes))
    await nobody_is_left(arena, trial)


def operation_faults(witness: Witness, stored: dict[tuple[str, int, int], bytes]) -> list[str]:
    """Acknowledged operations that the database does not hold, or holds with another answer, and
    operations in it that nobody sent."""
    found = []
    for number, answer in witness.told.items():
        held = stored.get(number)
        if held is None:
            found.append(f"operation {number} was acknowledged and is not in the database")
        elif held != answer[2:]:
            found.append(f"operation {number} was answered {answer[2:].hex()}, stored {held.hex()}")
    found += [f"operation {number} was never sent" for number in stored.keys() - witness.sent]
    return found
