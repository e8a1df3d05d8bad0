"""The proof that an account plays once: logins at the same moment, tokens shown twice.

Owns the races. Each round ends with exactly one client that plays; the other is refused or told
SESSION_TAKEN and closed.
"""

import asyncio

import msgspec

from mmo.client.aio import Shell
from mmo.client.fleet import muster, source_of
from mmo.client.hero import Hero
from mmo.client.hunting import choose_channel, hunt_while, settle
from mmo.client.meter import Meter
from mmo.client.protocol import Token
from mmo.client.session import (
    Displaced,
    Stranded,
    Unwelcome,
    arrive,
    ask,
    greet,
    log_in,
    log_out,
    register,
    servers,
    show,
)
from mmo.client.steps import CENTER, GAME, Lost, Walk
from mmo.proof.arena import Arena
from mmo.proof.load import books_balance, nobody_is_left
from mmo.proof.verdict import Trial
from mmo.wire.messages.presence import Move, MoveOk, ServerListAsk, Welcome
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import CloseReason, Code

RACES, RACES_SHORT = 40, 8
OUT_S = 3.0
"""A loser is told and closed within this: one sweep and its margin."""


class Client(msgspec.Struct):
    """One of the two clients of an account."""

    hero: Hero
    shell: Shell


def pair(arena: Arena, index: int, meter: Meter) -> tuple[Client, Client]:
    """Two clients with the same name and password, from two addresses."""
    one = muster(arena.addresses("login"), 1, index, meter)[0]
    two = muster(arena.addresses("login"), 1, index + 1, meter)[0]
    two.name = one.name
    return (
        Client(one, Shell(source_of(2 * index))),
        Client(two, Shell(source_of(2 * index + 1))),
    )


async def two_logins(arena: Arena, trial: Trial, short: bool) -> None:
    """Two logins of one account at the same moment, at every stage: exactly one plays."""
    meter = Meter()
    races = RACES_SHORT if short else RACES
    won = [0, 0]
    for index in range(races):
        one, two = pair(arena, index, meter)
        try:
            await one.shell.walk(register(one.hero))
            won[await _race(trial, one, two, index)] += 1
        finally:
            one.shell.cut_all()
            two.shell.cut_all()
    trial.tried(f"{races} pairs logged in at the same moment: {won[0]} and {won[1]} won")
    await _take_over_a_hunter(arena, trial, meter)
    await _same_token_twice(arena, trial, meter)
    await books_balance(arena, trial, races)
    await nobody_is_left(arena, trial)
    trial.figure("races", races)


async def _enter(client: Client) -> bool:
    """Log in once and show the token once; True when admitted."""
    me = client.hero
    try:
        reply = await client.shell.walk(log_in(me))
        if isinstance(reply, Refused) or me.center is None:
            return False
        await client.shell.walk(show(me, CENTER, me.center, me.login_token))
    except (Lost, Displaced, Unwelcome, Stranded):
        return False
    return True


async def _plays(client: Client) -> bool:
    """True while the center still answers this client as its player."""
    try:
        await client.shell.walk(ask(client.hero, CENTER, ServerListAsk()))
    except (Lost, Unwelcome, Stranded):
        return False
    return True


async def _race(trial: Trial, one: Client, two: Client, index: int) -> int:
    """Both at once. Returns who plays (0 or 1)."""
    admitted = await asyncio.gather(_enter(one), _enter(two))
    clients = [client for client, entered in zip((one, two), admitted, strict=True) if entered]
    if not trial.expect(bool(clients), f"race {index}: nobody was admitted"):
        return 0
    playing = await _settled(clients)
    if not trial.expect(
        len(playing) == 1, f"race {index}: {len(playing)} of two clients play the account"
    ):
        return 0
    return 0 if playing[0] is one else 1


async def _settled(clients: list[Client]) -> list[Client]:
    """Who still plays, when at most one does or `OUT_S` have passed."""
    loop = asyncio.get_running_loop()
    until = loop.time() + OUT_S
    playing = clients
    while True:
        states = [await _plays(client) for client in playing]
        playing = [client for client, plays in zip(playing, states, strict=True) if plays]
        if len(playing) <= 1 or loop.time() > until:
            return playing
        await asyncio.sleep(0.05)


async def _take_over_a_hunter(arena: Arena, trial: Trial, meter: Meter) -> None:
    """A second login while the first hunts: the first is told and closed, nothing it was told is
    lost."""
    one, two = pair(arena, 9000, meter)

    def hunt(me: Hero) -> Walk[None]:
        yield from register(me)
        yield from arrive(me)
        yield from settle(me)
        yield from choose_channel(me)
        yield from hunt_while(me, lambda: me.record.kills < 3)

    try:
        await one.shell.walk(hunt(one.hero))
        goes_on = asyncio.create_task(one.shell.walk(hunt_while(one.hero, lambda: True)))
        two.hero.record = one.hero.record  # the same player: what one was told, the other must find
        one.hero.record.loose += 1  # a blow may be on its way while the second comes
        told = await two.shell.walk(arrive(two.hero))
        reason = await _told_why(goes_on)
        trial.expect(
            reason == CloseReason.SESSION_TAKEN,
            f"the first client was ended with {reason} instead of SESSION_TAKEN",
        )
        trial.expect(await _plays(two), "the second client does not play")
        trial.expect(told.gold > 0, "the second client found nothing that the first had earned")
        await two.shell.walk(log_out(two.hero))
        trial.tried("a second login while the first hunted: the first was told SESSION_TAKEN")
    finally:
        one.shell.cut_all()
        two.shell.cut_all()
    for text in meter.findings:
        trial.found(text)


async def _told_why(task: "asyncio.Task[None]") -> int:
    try:
        async with asyncio.timeout(OUT_S):
            await task
    except Lost as lost:
        return lost.reason
    except TimeoutError:
        return -1
    return 0


async def _same_token_twice(arena: Arena, trial: Trial, meter: Meter) -> None:
    """A login token and a move token, each shown by two connections at once: one is admitted."""
    one, two = pair(arena, 9500, meter)
    me = one.hero

    async def shown(client: Client, lane: str, address: tuple[str, int], token: str) -> bool:
        def walk() -> Walk[object]:
            yield from greet(client.hero, lane, address)
            refusals = (int(Code.TOKEN_REFUSED), int(Code.SESSION_OVER))
            reply = yield from ask(client.hero, lane, Token(token), expects=refusals)
            return reply

        try:
            reply = await client.shell.walk(walk())
        except (Lost, Stranded):
            return False
        if isinstance(reply, Welcome):
            client.hero.meet(reply)
        return isinstance(reply, Welcome)

    try:
        await one.shell.walk(register(me))
        await one.shell.walk(log_in(me))
        assert me.center is not None
        two.hero.center = me.center
        both = await asyncio.gather(
            shown(one, CENTER, me.center, me.login_token),
            shown(two, CENTER, me.center, me.login_token),
        )
        trial.expect(sum(both) == 1, f"a login token shown twice admitted {sum(both)} clients")
        holder = one if both[0] else two
        rows = await holder.shell.walk(servers(holder.hero))
        move = await holder.shell.walk(ask(holder.hero, CENTER, Move(rows[0].number)))
        if trial.expect(isinstance(move, MoveOk), f"no move token: {move}"):
            address = (move.host, move.port)
            both = await asyncio.gather(
                shown(one, GAME, address, move.token), shown(two, GAME, address, move.token)
            )
            trial.expect(sum(both) == 1, f"a move token shown twice admitted {sum(both)} clients")
        trial.tried("a login token and a move token, each shown twice at once: one was admitted")
    finally:
        one.shell.cut_all()
        two.shell.cut_all()
