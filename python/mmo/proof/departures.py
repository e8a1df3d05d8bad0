"""The proof that leaving without a word leaves nothing behind, in every state a client can be in.

Owns the states and the two ways of vanishing: an orderly end of the stream and a reset. What must
hold afterwards: no seat, no connection, no reservation that keeps anybody out, nothing lost.
"""

import time
from collections.abc import Callable

from mmo.client.aio import Shell
from mmo.client.fleet import muster, source_of
from mmo.client.hero import Hero
from mmo.client.hunting import choose_channel, hunt_while, settle
from mmo.client.meter import Meter
from mmo.client.session import (
    arrive,
    ask,
    log_in,
    log_out,
    register,
    servers,
    visit_login,
)
from mmo.client.steps import CENTER, GAME, LOGIN, Send, Walk
from mmo.proof.arena import Arena
from mmo.proof.fault_proxy import reset
from mmo.proof.load import books_balance, nobody_is_left
from mmo.proof.verdict import Trial
from mmo.wire.messages.account import Login
from mmo.wire.messages.hunt import Hit
from mmo.wire.messages.presence import Move, Welcome

State = Callable[[Hero], Walk[None]]


def said_hello(me: Hero) -> Walk[None]:
    """At a login server, after HELLO."""
    yield from visit_login(me)


def checking_password(me: Hero) -> Walk[None]:
    """At a login server, while the password is being checked."""
    yield from visit_login(me)
    yield Send(LOGIN, Login(me.name, me.password))


def holding_login_token(me: Hero) -> Walk[None]:
    """Logged in, the token never shown: only a reservation at the center exists."""
    yield from log_in(me)


def center_only(me: Hero) -> Walk[None]:
    """In the lobby."""
    yield from arrive(me)


def holding_move_token(me: Hero) -> Walk[None]:
    """A seat is held at a channel server, the token never shown."""
    yield from arrive(me)
    rows = yield from servers(me)
    yield from ask(me, CENTER, Move(rows[0].number))


def on_channel_server(me: Hero) -> Walk[None]:
    """At a channel server, in no channel."""
    yield from arrive(me)
    yield from settle(me)


def in_channel(me: Hero) -> Walk[None]:
    """In a channel, having hunted."""
    yield from on_channel_server(me)
    yield from choose_channel(me)
    yield from hunt_while(me, lambda: me.record.kills < 1)


def in_mid_blow(me: Hero) -> Walk[None]:
    """In a channel, a blow sent and its answer not awaited."""
    yield from in_channel(me)
    me.hit_open = True
    yield Send(GAME, Hit(next(iter(me.monsters))))


STATES: tuple[State, ...] = (
    said_hello,
    checking_password,
    holding_login_token,
    center_only,
    holding_move_token,
    on_channel_server,
    in_channel,
    in_mid_blow,
)


async def disconnects(arena: Arena, trial: Trial, short: bool) -> None:
    """Vanish in every state, both ways: no ghost, no count, no seat, no token; nothing lost."""
    meter = Meter()
    copies = 1 if short else 4
    for place, state in enumerate(STATES):
        for orderly in (True, False):
            first = 1000 + place * 100 + orderly * 50
            heroes = muster(arena.addresses("login"), copies, first, meter)
            for index, me in enumerate(heroes):
                await _vanish(me, Shell(source_of(first + index)), state, orderly)
            took = await _come_again(trial, heroes, first, state)
            way = "closed" if orderly else "reset"
            trial.tried(f"{way}: {(state.__doc__ or '').strip()} Back within {took:.2f} s.")
    await _fill_and_vanish(arena, trial, meter, short)
    for text in meter.findings:
        trial.found(text)
    trial.expect(not meter.errors, f"{meter.errors} errors of clients")
    trial.figure("states", len(STATES))
    await nobody_is_left(arena, trial)
    await books_balance(arena, trial, len(STATES) * 2 * copies)


async def _vanish(me: Hero, shell: Shell, state: State, orderly: bool) -> None:
    await shell.walk(register(me))
    await shell.walk(state(me))
    for lane in list(shell.lanes.values()):
        if orderly:
            await lane.close()
        else:
            reset(lane._writer)
    shell.cut_all()
    me.loosen()


async def _come_again(trial: Trial, heroes: list[Hero], first: int, state: State) -> float:
    """Each logs in at once, finds everything, and plays; returns the longest time it took."""
    longest = 0.0
    for index, me in enumerate(heroes):
        shell = Shell(source_of(first + index))
        began = time.monotonic()
        try:
            told = await shell.walk(arrive(me))
            longest = max(longest, time.monotonic() - began)
            trial.expect(isinstance(told, Welcome), f"{state.__name__}: not admitted again")
            await shell.walk(settle(me))
            await shell.walk(log_out(me))
        finally:
            shell.cut_all()
    return longest


async def _fill_and_vanish(arena: Arena, trial: Trial, meter: Meter, short: bool) -> None:
    """Many vanish together and as many others take their seats: no count leaks away."""
    crowd = 10 if short else 40
    rounds = 2 if short else 4
    for turn in range(rounds):
        heroes = muster(arena.addresses("login"), crowd, 5000 + turn, meter)
        shells = [Shell(source_of(20_000 + turn * crowd + at)) for at in range(crowd)]
        try:
            for me, shell in zip(heroes, shells, strict=True):
                await shell.walk(register(me))
                await shell.walk(on_channel_server(me))
        finally:
            for shell in shells:
                shell.cut_all()
    trial.tried(f"{rounds} crowds of {crowd} entered channel servers and were cut off together")
