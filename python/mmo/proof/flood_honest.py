"""The honest players of a flood: hunters on channel servers, and pairs that raid where it strikes.

Owns their plans, and the moments when no raider may queue or prove an address, so that seats and
proofs of others can be told from theirs. What they ask is measured from the moment they meant it,
however late the answer before it let them. Judges nothing. Called by `flood`.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import msgspec

from mmo.client.fleet import muster_of
from mmo.client.hero import Hero
from mmo.client.hunting import hold_on, hunt_while, settle
from mmo.client.journeys import Journey, hunt_until_over
from mmo.client.raider import fight, find_raid, raid_until_over
from mmo.client.session import arrive, register
from mmo.client.steps import RAID, Dial, Drop, Lost, Pause, Prove, Send, Walk
from mmo.proof.arena import Arena
from mmo.proof.flood_felt import HUNT, RAID_ANSWER, RAID_EFFECT, Felt
from mmo.proof.load import FAULT_POLICY, Crew, Hunters
from mmo.wire.messages.raid import RaidAct, RaidReady, RaidStream, RaidStruck
from mmo.wire.raid_stream import RoomNow

POLICY = msgspec.structs.replace(FAULT_POLICY, catch_up_ms=1_000)
HUNT_EVERY_MS = 300.0
"""A little more than the cooldown of a blow, so that who came late can make up for it."""

OUTSIDE_MS = 50.0
FIGHTING_S = 5.0
"""Longest wait until every raider fights: a raid follows the one before it within a second."""

PROOF_LEAVES_S = 10.0
QUEUE_EMPTY_S = 30.0


class Honest(Hero):
    """A player who notes when he meant what he asks. `paused_s`: pauses he made on purpose, which
    move his plan; `proofs`: of his address, sent; `proves`: one leaves now."""

    felt: Felt

    def play_into(self, felt: Felt) -> None:
        """Where his samples go."""
        self.felt = felt
        self.paused_s = 0.0
        self.proofs = 0
        self.proves = False
        self.meant_s = 0.0  # what he asked last
        self.blows: dict[int, float] = {}  # when each of this battle was meant, by its number
        self._seat = -1  # none had a battle yet
        self._frames: list[tuple[float, float]] = []

    def take_due(self) -> float:
        """As every player, and kept."""
        self.meant_s = super().take_due()
        return self.meant_s

    def hear(self, message: Any) -> None:
        """As every player, and with the time of it."""
        if isinstance(message, RaidStream):
            self._time(message)
        elif isinstance(message, RaidStruck):
            meant_s = self.blows.pop(message.number, None)
            if meant_s is not None:
                self.felt.note(RAID_EFFECT, (self.clock() - meant_s) * 1000)
        super().hear(message)

    def _time(self, frame: RaidStream) -> None:
        """A frame says what remains of its battle, by the server's clock."""
        if self._seat != self.raids.seats_taken:
            self._seat, self._frames = self.raids.seats_taken, self.felt.battle()
        now = self.clock()
        self._frames.append((now, now * 1000 + RoomNow.read(frame.record).remaining_ms))


def attend(me: Honest, walk: Walk[None], holds: Callable[[], bool]) -> Walk[None]:
    """Walk, and note pauses, blows and proofs on the way. While `holds()`, a proof is put off until
    it no longer does or its connection is over."""
    result: Any = None
    fault: Lost | None = None
    put_off: Prove | None = None
    while True:
        retries = me.meter.retries
        try:
            step = walk.throw(fault) if fault is not None else walk.send(result)
        except StopIteration:
            return
        result, fault = None, None
        if isinstance(step, Prove):
            put_off = step
        else:
            _note(me, step, told_again=me.meter.retries > retries)
        if isinstance(step, Dial | Drop) and step.lane == RAID:
            put_off = None
        try:
            if put_off is not None and not holds():
                proof, put_off = put_off, None
                me.proves = True
                yield proof
                me.proofs += 1
            if not isinstance(step, Prove):
                result = yield step
        except Lost as lost:
            fault = lost
            if lost.lane == RAID:
                put_off = None
        me.proves = False


def _note(me: Honest, step: Any, told_again: bool) -> None:
    """A pause before a request is sent again is the server's doing and moves no plan."""
    if isinstance(step, Pause) and not told_again:
        me.paused_s += step.wait_ms / 1000
    elif isinstance(step, Send) and isinstance(step.message, RaidAct):
        me.blows.setdefault(step.message.number, me.meant_s)
    elif isinstance(step, Send) and isinstance(step.message, RaidReady):
        me.blows.clear()  # a battle numbers its blows from 1


def hunt_by_plan(me: Honest, goes_on: Callable[[], bool]) -> Walk[None]:
    """A blow every `HUNT_EVERY_MS`; one that comes late is measured from when it was meant."""
    meant_s = me.clock()
    while goes_on():
        me.due, paused_s = meant_s, me.paused_s
        yield from hunt_while(me, partial(next, iter((True,)), False))  # once
        me.due = None
        meant_s = me.meant_after(meant_s + me.paused_s - paused_s, HUNT_EVERY_MS)
        wait_ms = (meant_s - me.clock()) * 1000
        if wait_ms > 0:
            yield Pause(wait_ms)


class HonestHunters(Hunters):
    """Bots that hunt by a plan."""

    def __init__(self, arena: Arena, count: int, seed: int) -> None:
        super().__init__(arena, count, seed)
        self.meter = self.felt = Felt(lambda _: HUNT)
        self.heroes = [*_muster(arena, count, seed, self.felt)]

    def _walk(self, me: Hero, _: float) -> Walk[None]:
        assert isinstance(me, Honest)
        yield from attend(me, self._hunt(me), lambda: False)

    def _hunt(self, me: Honest) -> Walk[None]:
        yield from register(me)
        yield from arrive(me)
        yield from settle(me)
        yield from hunt_by_plan(me, self.goes_on)
        yield from hunt_until_over(me, self.goes_on)


class HonestRaiders(Crew):
    """Pairs that raid, one raid after the other."""

    def __init__(self, arena: Arena, pairs: int, seed: int) -> None:
        super().__init__(arena, 2 * pairs, seed)
        self.meter = self.felt = Felt(lambda kind: RAID_ANSWER if kind == "RaidAct" else "")
        self.honest = _muster(arena, 2 * pairs, seed, self.felt)
        self.heroes = [*self.honest]
        self._is_held = False
        self._is_shut = False
        self._queued: set[str] = set()

    async def begin(self, within_s: float = 60) -> None:
        """Start all and return when each of them struck a blow. Raises `TimeoutError`."""
        self._set_out([Journey("raiders", "raid until told to stop", self._walk, lambda _: 10)])
        await self.until(
            lambda: all(me.raids.fought for me in self.honest), "a blow each", within_s
        )

    async def all_fight(self) -> None:
        """Wait until all are in a battle, not for ever: what they miss is found in their rate."""
        with suppress(TimeoutError):
            await self.until(
                lambda: all(me.raids.runs for me in self.honest), "all fight", FIGHTING_S
            )

    @property
    def proofs(self) -> int:
        """Proofs of an address that they sent until now."""
        return sum(me.proofs for me in self.honest)

    async def hold_proofs(self) -> None:
        """From now on none of them proves an address: the stream of a battle that begins comes over
        its connection."""
        self._is_held = True
        await self.until(
            lambda: not any(me.proves for me in self.honest), "proofs left", PROOF_LEAVES_S
        )

    def let_prove(self) -> None:
        """What was held back is sent."""
        self._is_held = False

    @asynccontextmanager
    async def kept_out(self) -> AsyncIterator[None]:
        """Nobody of them is in the queue, and nobody goes there: who queues now meets none of
        them. Battles go on. Raises `TimeoutError`."""
        self._is_shut = True
        try:
            await self.until(lambda: not self._queued, "raiders out of the queue", QUEUE_EMPTY_S)
            yield
        finally:
            self._is_shut = False

    def _walk(self, me: Hero, _: float) -> Walk[None]:
        assert isinstance(me, Honest)
        yield from attend(me, self._raid(me), lambda: self._is_held)

    def _raid(self, me: Honest) -> Walk[None]:
        yield from register(me)
        yield from arrive(me)
        while self.goes_on():
            if self._is_shut:
                yield Pause(OUTSIDE_MS)
                continue
            self._queued.add(me.name)
            found = yield from hold_on(me, lambda: find_raid(me, self._may_queue), to_lobby=True)
            self._queued.discard(me.name)
            if found is not None:
                yield from fight(me, found)
        yield from raid_until_over(me, self.goes_on)

    def _may_queue(self) -> bool:
        return self.goes_on() and not self._is_shut


def _muster(arena: Arena, count: int, seed: int, felt: Felt) -> list[Honest]:
    everybody = muster_of(Honest, arena.addresses("login"), count, seed, felt, POLICY)
    for me in everybody:
        me.play_into(felt)
    return everybody
