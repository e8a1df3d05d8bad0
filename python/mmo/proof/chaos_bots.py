"""The players of a run of chaos: shoppers, raiders, probes that notice recovery, rogues, who pays.

Owns the fleet, its gifts, and the questions that are asked again at the end. Every connection is
witnessed by the history. Judges nothing: the checker does. Called by `chaos`.
"""

import asyncio
import random
import time
from collections.abc import Callable

import mysql.connector

from mmo.client.coming_back import come_back
from mmo.client.fleet import muster, source_of
from mmo.client.hero import Hero, Policy
from mmo.client.hunting import hold_on, settle
from mmo.client.journeys import Journey, walk_guarded
from mmo.client.meter import Meter
from mmo.client.raider import raid_until_over
from mmo.client.rogue import plot
from mmo.client.session import (
    BLAMELESS,
    Displaced,
    Stranded,
    Unwelcome,
    arrive,
    keep_known,
    log_out,
    note_loss,
    overhear,
    register,
)
from mmo.client.shopper import Market, operate, shop_until_over
from mmo.client.steps import CENTER, Lost, Pause, Receive, Send, Walk
from mmo.errors import MmoError
from mmo.proof.arena import LOOK_EVERY_S, Arena
from mmo.proof.economy_books import Books
from mmo.proof.economy_payments import PaymentService
from mmo.proof.economy_witness import WitnessedShell
from mmo.proof.history import History
from mmo.proof.odds_receipts import wait_for_gold
from mmo.wire import codec
from mmo.wire.messages.inventory import ItemMove
from mmo.wire.opcode import Code

POLICY = Policy(answer_ms=4_000, patience_ms=90_000, faults=True)
GOLD = 5_000
ITEM = (0, 1, 1, 0)
"""What a probe moves about: kind, code, count, enhancement. Nothing is worth less."""

PROBE_EVERY_MS = 100.0
PROBES_MAX = 16
SLOTS = 10
PAYMENT_EVERY_S = 0.2
ASK_AGAIN_MS = 3_000.0
BEGIN_S = 240.0

SLEEPERS = 6
AWAKE_SHARE = 0.6
"""Of the times that Redis is broken, those at which a sleeper acts, once."""

AWAKE_MS = 700.0
"""How long after that fault began he acts, at most."""

LISTEN_MS = 500.0
CLAIMED_S = 30.0
"""How long at most a player stays at the end for what was left for him: longer than the checker
gives the servers."""


class Broken(MmoError):
    """A bot came to an end before it was told to: what is waited for may never come."""


class Payments(PaymentService):
    """A payment service that keeps its history."""

    def __init__(self, arena: Arena, accounts: list[str], seed: int, history: History) -> None:
        super().__init__(arena, accounts, seed)
        self._history = history
        self.booked_ns = 0  # when the last notice was booked

    def until_booked(self, notice: dict[str, object]) -> bool:
        """A notice is in the history before it is sent."""
        sign = -1 if notice["kind"] == "refund" else 1
        self._history.line(
            "payment", order=notice["order"], account=notice["account"],
            amount=sign * int(str(notice["amount"])),
        )  # fmt: skip
        booked = super().until_booked(notice)
        if booked:
            self._history.line("booked", order=notice["order"])
            self.booked_ns = time.monotonic_ns()
        return booked


class Band:
    """All of them; `counts`: shoppers and raiders. `via` tells where a bot dials instead of a port
    (a proxy that breaks lines)."""

    def __init__(
        self,
        arena: Arena,
        history: History,
        seed: int,
        counts: tuple[int, int],
        via: Callable[[int], int],
    ) -> None:
        count, raiders = counts
        self._books = Books(arena)
        self._history = history
        self._via = via
        self.meter, self.rogue_meter = Meter(), Meter()
        logins = arena.addresses("login")
        self.shoppers = muster(logins, count, seed, self.meter, POLICY)
        self.probes = muster(
            logins, min(max(3, count // 6), PROBES_MAX), seed + 1, self.meter, POLICY
        )
        self.rogues = muster(logins, 2, seed + 2, self.rogue_meter, POLICY)
        self.payees = muster(logins, 2, seed + 3, self.meter, POLICY)
        self.sleepers = muster(logins, SLEEPERS, seed + 4, self.meter, POLICY)
        self.raiders = muster(logins, raiders, seed + 5, self.meter, POLICY)
        self.disturbances = 0  # times that Redis was broken
        salt = random.Random(time.time_ns()).getrandbits(32)
        names = [f"{me.name}" for me in self.payees]
        self.payments = Payments(arena, names, seed ^ salt, history)
        self._playing = True
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._paying: asyncio.Task[None] | None = None

    @property
    def heroes(self) -> list[Hero]:
        """Everyone with a connection."""
        return [*self.shoppers, *self.probes, *self.rogues, *self.sleepers, *self.raiders]

    @property
    def results(self) -> int:
        """Results of raids that were told."""
        return sum(len(me.raids.scores) for me in self.raiders)

    async def begin(self) -> None:
        """Start all and return when each has been told of a success. Raises `TimeoutError`."""
        everyone = [*self.heroes, *self.payees]
        for index, me in enumerate(everyone):
            self._tasks[me.name] = asyncio.create_task(self._one(index, me))
        await self.until(
            lambda: all(self._history.told.get(me.name) or me.raids.scores for me in self.heroes),
            "a first success of each", BEGIN_S,
        )  # fmt: skip
        self._paying = asyncio.create_task(self.payments.run(PAYMENT_EVERY_S))

    async def until(self, holds: Callable[[], bool], what: str, within_s: float) -> float:
        """Wait until `holds()`; seconds it took. Raises `TimeoutError`, and `Broken` as soon as a
        bot ends that should play on."""
        began = time.monotonic()
        while not holds():
            for me in self.heroes:
                if self._tasks[me.name].done():
                    self._tasks[me.name].result()
                    raise Broken(f"{me.name} ended early: {self.meter.findings[:3]}")
            if time.monotonic() - began > within_s:
                raise TimeoutError(f"not within {within_s:g} s: {what}; {self.meter.findings[:3]}")
            await asyncio.sleep(LOOK_EVERY_S)
        return time.monotonic() - began

    def recovered_since(self, moment_ns: int, paid: bool = False) -> bool:
        """Every probe has been told of a success since. `paid`: a payment was booked, too."""
        told = all(self._history.last_ns.get(me.name, 0) > moment_ns for me in self.probes)
        return told and (not paid or self.payments.booked_ns > moment_ns)

    async def end(self, within_s: float) -> None:
        """Tell all to stop; they come back once more, ask again what they do not know, log out."""
        self._playing = False
        self.payments.goes_on = False
        if self._paying is not None:
            await self._paying
        async with asyncio.timeout(within_s):
            await asyncio.gather(*self._tasks.values())

    async def abandon(self) -> None:
        """Cut them off where they are."""
        self.payments.goes_on = False
        for task in self._tasks.values():
            task.cancel()
        waiting = [*self._tasks.values(), *([self._paying] if self._paying else [])]
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _one(self, index: int, me: Hero) -> None:
        shell = WitnessedShell(
            source_of(30_000 + index), self._history, me.name,
            self._via if index % 3 == 0 else lambda port: port,
        )  # fmt: skip
        try:
            await shell.walk(register(me))
            user = await asyncio.to_thread(self._books.user_of, me.name)
            self._history.line("user", name=me.name, user=user)
            if me not in self.payees:
                await asyncio.to_thread(self._books.give, user, GOLD, 1, [ITEM])
            about = self._walk_of(me)
            await shell.walk(walk_guarded(me, Journey("chaos", "", about, lambda _: 0), 0))
            if me not in self.sleepers:
                await self._ask_again(shell, me)
        finally:
            shell.cut_all()

    def _walk_of(self, me: Hero) -> Callable[[Hero, float], Walk[None]]:
        if me in self.probes:
            settled = self.probes.index(me) > 0
            return lambda me, _: self._probe(me, settled)
        if me in self.sleepers:
            return self._sleep
        if me in self.raiders:
            return self._raid
        if me in self.payees:
            return self._bank
        if me in self.rogues:
            return lambda me, _: plot(me, lambda: self._playing)
        settled = self.shoppers.index(me) % 2 > 0
        return lambda me, _: self._shop(me, settled)

    def _shop(self, me: Hero, settled: bool) -> Walk[None]:
        yield from arrive(me)
        if not (yield from wait_for_gold(me, GOLD)):
            return
        if settled:
            yield from hold_on(me, lambda: settle(me))
        yield from shop_until_over(me, lambda: self._playing)

    def _raid(self, me: Hero, _: float) -> Walk[None]:
        yield from arrive(me)
        if (yield from wait_for_gold(me, GOLD)):
            yield from raid_until_over(me, lambda: self._playing)

    def _bank(self, me: Hero, _: float) -> Walk[None]:
        """Be there to be paid. What is paid while he is away nobody told him."""
        while self._playing:
            me.record.known = False
            try:
                yield from arrive(me)
                while self._playing:
                    yield from _listen(me)
            except Lost as lost:
                note_loss(me, lost)
                if lost.reason not in BLAMELESS:
                    me.meter.error(f"{me.name}: {lost}")

    def _probe(self, me: Hero, settled: bool) -> Walk[None]:
        """Move one thing about, ten times a second: whoever owns the player must answer."""
        yield from arrive(me)
        if not (yield from wait_for_gold(me, GOLD)):
            return
        market = Market()
        while self._playing:
            if settled and me.game is None:
                yield from hold_on(me, lambda: settle(me))
            item = next(iter(me.record.items.values()), None)
            if item is None:
                yield from self._look(me)
                continue
            slot = (item.slot + 1) % SLOTS
            message = ItemMove(me.next_operation(), item.uid, slot)
            yield from operate(me, market, message, (Code.SLOT_INVALID, Code.ITEM_UNKNOWN))
            yield from hold_on(me, lambda: keep_known(me), to_lobby=True)
            yield Pause(PROBE_EVERY_MS)
        try:
            yield from log_out(me)
        except Lost:
            return

    def _sleep(self, me: Hero, _: float) -> Walk[None]:
        """Do one thing now and then when Redis breaks, and nothing after it that would mend what
        was missed there."""
        yield from arrive(me)
        if not (yield from wait_for_gold(me, GOLD)):
            return
        market, seen = Market(), -1
        while self._playing:
            item = next(iter(me.record.items.values()), None)
            if item is None:
                yield from self._look(me)
            elif seen != self.disturbances:
                first, seen = seen < 0, self.disturbances
                if not first and me.rng.random() > AWAKE_SHARE:
                    continue
                yield Pause(me.rng.random() * AWAKE_MS)
                message = ItemMove(me.next_operation(), item.uid, (item.slot + 1) % SLOTS)
                yield from operate(me, market, message, (Code.SLOT_INVALID, Code.ITEM_UNKNOWN))
            yield from hold_on(me, lambda: keep_known(me), to_lobby=True)
            yield Pause(PROBE_EVERY_MS)

    def _look(self, me: Hero) -> Walk[None]:
        yield Pause(ASK_AGAIN_MS / 10)
        try:
            yield from arrive(me)
        except Lost as lost:
            yield from come_back(me, lost)

    async def _ask_again(self, shell: WitnessedShell, me: Hero) -> None:
        """After all is over: what is unknown and what was answered last, asked once more."""
        unknown = [body for number, body in self._history.unknown.items() if number[0] == me.name]
        asked = [*unknown[:32], *self._history.recent.get(me.name, ())]
        try:
            await shell.walk(_again(me, asked))
            until = time.monotonic() + CLAIMED_S
            while time.monotonic() < until and await self._is_owed(me):
                await shell.walk(_listen(me))
            await shell.walk(log_out(me))
        except (Lost, Displaced, Stranded, Unwelcome) as fault:
            self.meter.error(f"{me.name}: could not ask again at the end: {fault}")

    async def _is_owed(self, me: Hero) -> bool:
        """Whether something waits for him, or may yet be paid."""
        if me in self.payees and self._paying is not None and not self._paying.done():
            return True
        try:
            return bool(await asyncio.to_thread(self._books.unclaimed, me.user))
        except mysql.connector.Error:
            return True  # nobody knows


def _listen(me: Hero) -> Walk[None]:
    """Hear what the center says unasked, and stay known there."""
    event = yield Receive(CENTER, LISTEN_MS)
    if event is not None:
        overhear(me, event)
    yield from keep_known(me)


def _again(me: Hero, asked: list[tuple[int, bytes]]) -> Walk[None]:
    """Log in, send the very bytes of each request, hear the answer."""
    me.record.known = False
    yield from arrive(me)
    for opcode, body in asked:
        yield Send(CENTER, codec.decode(opcode, body))  # encoded again it is the same bytes
        yield Receive(CENTER, ASK_AGAIN_MS)
