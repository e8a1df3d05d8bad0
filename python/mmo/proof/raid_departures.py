"""The proof that leaving a raid without a word leaves nothing behind, in every state of it.

Owns the states and who vanishes: one of a pair, or both. What must hold afterwards is
`raids.close_raids`.
"""

import asyncio
import time
from collections.abc import Callable

from mmo.client.aio import Shell
from mmo.client.fleet import muster, source_of
from mmo.client.hero import Hero
from mmo.client.hunting import hold_on
from mmo.client.meter import Meter
from mmo.client.raider import KIND, compare_ranking, fight, find_raid, take_rewards
from mmo.client.session import arrive, ask, log_out, register, show
from mmo.client.steps import CENTER, RAID, Receive, Send, Walk
from mmo.proof.arena import Arena
from mmo.proof.load import FAULT_POLICY
from mmo.proof.raids import close_raids
from mmo.proof.verdict import Trial
from mmo.wire.messages.raid import RaidAct, RaidReady
from mmo.wire.messages.raid_queue import RaidMatched, RaidQueue, RaidQueueOk

State = Callable[[Hero], Walk[None]]


def in_queue(me: Hero) -> Walk[None]:
    """Waiting for a match that cannot come."""
    yield from arrive(me)
    reply = yield from ask(me, CENTER, RaidQueue(KIND))
    assert isinstance(reply, RaidQueueOk), reply


def matched(me: Hero) -> Walk[None]:
    """A seat is kept, the token never shown."""
    yield from arrive(me)
    yield from _find(me)


def before_the_start(me: Hero) -> Walk[None]:
    """At the raid server, not ready."""
    yield from arrive(me)
    yield from _sit(me)


def in_battle(me: Hero) -> Walk[None]:
    """In the battle, having struck, an input on its way."""
    yield from before_the_start(me)
    yield from ask(me, RAID, RaidReady())
    until = me.clock() + 20
    while not me.raids.runs and me.clock() < until:
        event = yield Receive(RAID, 100)
        if event is not None:
            me.hear(getattr(event, "message", None))
    assert me.raids.runs, "the battle did not begin"
    yield Send(RAID, RaidAct(0, 1))


def at_the_end(me: Hero) -> Walk[None]:
    """The moment the result is told: the reward is not claimed yet."""
    yield from arrive(me)
    yield from fight(me, (yield from _find(me)))


STATES: tuple[State, ...] = (in_queue, matched, before_the_start, in_battle, at_the_end)
SHORT = ((in_queue, True), (in_battle, False), (at_the_end, True))
ROUNDS = 1
STATE_S = 90.0
"""Reaching a state, and the other one's way to a result: a battle begins without the absent after
30 s, and lasts 8 s."""

AGAIN_S = 120.0


def _find(me: Hero) -> Walk[RaidMatched]:
    found = yield from find_raid(me, lambda: True)
    assert found is not None, "no raid was found"
    return found


def _sit(me: Hero) -> Walk[None]:
    seat = yield from _find(me)
    entered = yield from show(me, RAID, (seat.host, seat.port), seat.token)
    me.raids.enter(entered)


async def raid_disconnects(arena: Arena, trial: Trial, short: bool) -> None:
    """Vanish in the queue, before the start, in battle and at the end, one of a pair or both: the
    other one goes on, both may raid again, nothing is lost or left."""
    meter = Meter()
    everybody: list[Hero] = []
    cases = [(state, both) for state in STATES for both in (False, True)]
    for place, (state, both) in enumerate(SHORT if short else cases):
        for turn in range(1 if short else ROUNDS):
            first = 60_000 + place * 1000 + turn * 10
            pair = muster(arena.addresses("login"), 2, first, meter, FAULT_POLICY)
            await _vanish(trial, pair, state, both, first)
            took = await _raid_again(trial, pair, first, state.__name__)
            everybody += pair
        who = "both" if both else "one of two"
        trial.tried(f"{who}: {(state.__doc__ or '').strip()} Raided again within {took:.1f} s.")
    for text in meter.findings:
        trial.found(text)
    trial.expect(not meter.errors, f"{meter.errors} errors of clients")
    trial.figure("states", len(STATES))
    await close_raids(arena, trial, [me.raids for me in everybody], everybody)


async def _vanish(trial: Trial, pair: list[Hero], state: State, both: bool, first: int) -> None:
    """Bring one or both into the state and cut them off there; the other one fights to the end.
    In the queue nobody else is, so that no match comes."""
    shells = [Shell(source_of(first + at)) for at in range(2)]
    gone = pair if both and state is not in_queue else pair[:1]
    try:
        for me, shell in zip(pair, shells, strict=True):
            await shell.walk(register(me))
        async with asyncio.timeout(STATE_S), asyncio.TaskGroup() as group:
            for me, shell in zip(gone, shells, strict=False):
                group.create_task(_cut_off(me, shell, state))
            if len(gone) < 2 and state is not in_queue:
                group.create_task(shells[1].walk(_go_on(pair[1])))
    except* TimeoutError:
        trial.found(f"{state.__name__}: the other one did not come to an end: {pair[1].name}")
    finally:
        for shell in shells:
            shell.cut_all()
        for me in pair:
            me.loosen()


async def _cut_off(me: Hero, shell: Shell, state: State) -> None:
    await shell.walk(state(me))
    shell.cut_all()
    me.loosen()


def _go_on(me: Hero) -> Walk[None]:
    """The other one: whatever becomes of his team, he gets a result."""
    yield from arrive(me)
    yield from fight(me, (yield from _find(me)))


async def _raid_again(trial: Trial, pair: list[Hero], first: int, state: str) -> float:
    """Both log in, come back into what still runs or queue anew, until each has a new result."""
    shells = [Shell(source_of(first + 5 + at)) for at in range(2)]
    began = time.monotonic()
    before = {me.name: len(me.raids.scores) for me in pair}

    def goes_on() -> bool:
        # One may find the old raid's result where the other missed it: then both fight once more.
        return any(len(me.raids.scores) <= before[me.name] for me in pair)

    def again(me: Hero) -> Walk[None]:
        yield from arrive(me)
        while goes_on():
            found = yield from hold_on(me, lambda: find_raid(me, goes_on), to_lobby=True)
            if found is not None:
                yield from fight(me, found)
        yield from hold_on(me, lambda: take_rewards(me), to_lobby=True)
        yield from hold_on(me, lambda: compare_ranking(me), to_lobby=True)
        yield from log_out(me)

    try:
        async with asyncio.timeout(AGAIN_S):
            await asyncio.gather(*(shells[at].walk(again(me)) for at, me in enumerate(pair)))
    except TimeoutError:
        trial.found(f"{state}: they could not raid again: {pair[0].meter.findings[-3:]}")
    finally:
        for shell in shells:
            shell.cut_all()
    return time.monotonic() - began
