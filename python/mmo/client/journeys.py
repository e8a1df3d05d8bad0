"""Journeys: what players do, as generators of steps. The same ones run under bots, tests and
locust.

Each journey has a script of refusals that must come and a floor of actions that a run must reach; a
seed repeats it. Owns no socket and no clock of its own.
"""

from collections.abc import Callable
from functools import partial

import msgspec

from mmo.client.hero import Hero
from mmo.client.hunting import choose_channel, hold_on, hunt_while, refused, settle
from mmo.client.raider import raider
from mmo.client.session import (
    Displaced,
    Stranded,
    Unwelcome,
    arrive,
    ask,
    compare_and_leave,
    lobby,
    log_in,
    log_out,
    move,
    move_somewhere,
    register,
    servers,
)
from mmo.client.shopper import shopper
from mmo.client.steps import CENTER, GAME, Drop, Lost, Walk
from mmo.errors import MmoError
from mmo.wire.messages.hunt import ChannelEnter, ChannelLeave, Hit
from mmo.wire.messages.presence import Move
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

TOUR_LEVEL = 3


class Journey(msgspec.Struct, frozen=True):
    """A walk by name. `floor(seconds)`: actions each player must reach for a run to count."""

    name: str
    about: str
    walk: Callable[[Hero, float], Walk[None]]
    floor: Callable[[float], int]


def tour(me: Hero, seconds: float) -> Walk[None]:
    """Everything a new player does, in one walk; ends by comparing all that is owned."""
    yield from register(me)
    yield from register_again(me)
    yield from arrive(me)
    yield from hold_on(me, lambda: _look_around(me), to_lobby=True)
    yield from settle(me)
    first_server = me.game_number
    yield from hold_on(me, lambda: refused(me, GAME, ChannelEnter(0), Code.CHANNEL_UNKNOWN))
    yield from hold_on(me, lambda: refused(me, GAME, Hit(1), Code.NOT_IN_CHANNEL))
    yield from hold_on(me, lambda: _strike_nobody(me))
    yield from hunt_while(me, lambda: me.record.level < TOUR_LEVEL)
    yield from hold_on(me, lambda: choose_channel(me, avoid=me.channel))
    yield from hold_on(me, lambda: move_somewhere(me, avoid=first_server))
    yield from hold_on(me, lambda: choose_channel(me))
    kills = me.record.kills
    yield from hunt_while(me, lambda: me.record.kills < kills + 2)
    # Gone without a word: both connections end here, nothing is said.
    yield Drop(GAME)
    yield Drop(CENTER)
    owned = me.record.level, me.record.exp, me.record.gold, dict(me.record.items)
    told = yield from arrive(me)
    now = me.record.level, me.record.exp, me.record.gold, dict(me.record.items)
    if me.record.loose == 0 and now != owned:
        me.meter.error(f"{me.name}: owned {owned} before, {now} after")
    if told.level < TOUR_LEVEL or not told.last_login_ms:
        me.meter.error(f"{me.name}: level {told.level}, last login {told.last_login_ms}")
    yield from log_out(me)


def _look_around(me: Hero) -> Walk[None]:
    yield from refused(me, CENTER, Move(-1), Code.SERVER_UNKNOWN)
    rows = yield from servers(me)
    if len(rows) < 2:
        me.meter.error(f"{me.name}: a tour needs two channel servers, the list has {len(rows)}")


def _strike_nobody(me: Hero) -> Walk[None]:
    if not me.channel:
        yield from choose_channel(me)
    yield from refused(me, GAME, Hit(2**63 - 1), Code.MONSTER_UNKNOWN)


def register_again(me: Hero) -> Walk[None]:
    """A taken name and a wrong password: both refused, and the account stays usable."""
    reply = yield from register(me, expects=(int(Code.NAME_TAKEN),))
    if not isinstance(reply, Refused):
        me.meter.error(f"{me.name}: the same name was registered twice")
    entry = yield from log_in(
        me, password=me.password + "x", expects=(int(Code.CREDENTIALS_WRONG),)
    )
    if not isinstance(entry, Refused):
        me.meter.error(f"{me.name}: a wrong password was accepted")


def hunter(me: Hero, seconds: float) -> Walk[None]:
    """Hunt for `seconds`."""
    yield from register(me)
    yield from arrive(me)
    yield from settle(me)
    until = me.clock() + seconds
    yield from hunt_until_over(me, lambda: me.clock() < until)


def hunt_until_over(me: Hero, goes_on: Callable[[], bool]) -> Walk[None]:
    """Hunt while told to, leave the channel, come back once more to compare, log out."""
    yield from hunt_while(me, goes_on)
    yield from hold_on(me, lambda: _leave(me))
    yield from compare_and_leave(me)


def _leave(me: Hero) -> Walk[None]:
    yield from ask(me, GAME, ChannelLeave(), expects=(int(Code.NOT_IN_CHANNEL),))
    me.channel = 0


def wanderer(me: Hero, seconds: float) -> Walk[None]:
    """Never stay: move, go back to the lobby, log out, vanish, come again, for `seconds`."""
    yield from register(me)
    yield from arrive(me)
    until = me.clock() + seconds
    yield from wander_until_over(me, lambda: me.clock() < until)


def wander_until_over(me: Hero, goes_on: Callable[[], bool]) -> Walk[None]:
    """Wander while told to, then come back once more to compare, and log out."""
    while goes_on():
        kills = me.record.kills
        yield from hold_on(me, lambda: go_elsewhere(me))
        yield from settle(me)
        yield from hunt_while(me, partial(_no_kill_since, me, kills, goes_on))
    yield from compare_and_leave(me)


def _no_kill_since(me: Hero, kills: int, goes_on: Callable[[], bool]) -> bool:
    return goes_on() and me.record.kills == kills


def go_elsewhere(me: Hero) -> Walk[None]:
    """To another server, to the lobby, out and in again, or gone without a word and back."""
    turn = me.rng.random()
    if me.game is None or turn < 0.5:
        rows = yield from servers(me)
        others = [row.number for row in rows if row.open and row.number != me.game_number]
        if others:
            yield from move(me, me.rng.choice(others))
    elif turn < 0.7:
        yield from lobby(me)
    elif turn < 0.85:
        yield from log_out(me)
        yield from arrive(me)
    else:
        yield Drop(GAME)
        yield Drop(CENTER)
        me.loosen()
        yield from arrive(me)


JOURNEYS: dict[str, Journey] = {
    "tour": Journey(
        "tour",
        "register, log in, center, server list, channel, hunt to level 3, change channel, move "
        "server, hunt, disconnect without a word, log in again, compare",
        tour,
        lambda seconds: 30,
    ),
    "hunter": Journey(
        "hunter",
        "hunt for the given time, then compare what is owned",
        hunter,
        lambda seconds: 12 + int(seconds / 2),
    ),
    "wanderer": Journey(
        "wanderer",
        "move, go back to the lobby, log out, vanish and come again for the given time",
        wanderer,
        lambda seconds: 12 + int(seconds / 2),
    ),
    "raider": Journey(
        "raider",
        "queue for raids, fight them side by side, take the rewards and compare the ranking, for "
        "the given time",
        raider,
        lambda seconds: 8 + int(seconds / 4),
    ),
    "shopper": Journey(
        "shopper",
        "hunt for gold, then buy, enhance, use, move, wear and claim for the given time, with "
        "repeats and cut connections, and compare what is owned",
        shopper,
        lambda seconds: 25 + int(seconds / 2),
    ),
}


def walk_guarded(me: Hero, journey: Journey, seconds: float) -> Walk[None]:
    """Walk a journey; whatever ends it early is counted as an error, once, and goes no further."""
    before = me.meter.errors
    try:
        yield from journey.walk(me, seconds)
    except (Unwelcome, Stranded):
        assert me.meter.errors > before  # counted where they were raised
    except (Lost, Displaced, MmoError) as fault:
        me.meter.error(f"{me.name}: {journey.name} ended early: {fault}")
