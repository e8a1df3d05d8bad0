"""The walk back after a lost connection, or from a server that leaves.

Generators of `steps`; own the order of the ways back: the token that a leaving server gave, the
session token while it is honoured, a new login. Called by journeys and load tests.
"""

from mmo.client.hero import Address, Hero
from mmo.client.session import (
    BLAMELESS,
    Displaced,
    Retry,
    arrive,
    lobby,
    move_somewhere,
    note_loss,
    show,
)
from mmo.client.steps import CENTER, GAME, Drop, Lost, Walk
from mmo.wire.messages.presence import ServerLeaving, SessionOk
from mmo.wire.opcode import CloseReason


def come_back(me: Hero, lost: Lost, *, to_lobby: bool = False) -> Walk[None]:
    """After a lost connection, or one whose server leaves: hold center and game server again, by
    the token that the leaving server gave, by session token while it is honoured, by a new login
    otherwise. `to_lobby`: who had no game server stays at the center. An end that blames this
    client is an error and is raised."""
    began = me.take_due()
    me.loosen()
    note_loss(me, lost)
    if _took_himself(me, lost):
        yield from _forget_session(me)
    elif lost.reason not in BLAMELESS:
        if lost.reason != CloseReason.SESSION_TAKEN:
            me.meter.error(f"{me.name}: {lost}")
        raise lost
    retry = Retry(me, "coming back")
    only_center = lost.lane == CENTER
    while True:
        try:
            yield from _resume(me, to_lobby, only_center)
            me.meter.came_back((me.clock() - began) * 1000)
            return
        except Displaced:
            yield from _forget_session(me)
            me.meter.login_forced()
        except Lost as again:
            if _took_himself(me, again):
                yield from _forget_session(me)
            elif again.reason not in BLAMELESS:
                raise
            only_center = only_center and again.lane == CENTER
            yield from retry.again(str(again))


def _took_himself(me: Hero, lost: Lost) -> bool:
    """While servers are made to fail, a login whose connection died may be done after all, and
    after the next one."""
    return me.policy.faults and lost.reason == CloseReason.SESSION_TAKEN


def _forget_session(me: Hero) -> Walk[None]:
    """Only a new login helps."""
    yield Drop(GAME)
    me.session_token, me.game = "", None


def _resume(me: Hero, to_lobby: bool, only_center: bool) -> Walk[None]:
    """One try. `only_center`: the connection to the game server was not seen to end."""
    if me.leaving is not None and (yield from _follow(me, me.leaving)):
        return
    if not me.session_token or me.center is None:
        yield from arrive(me)
        if not to_lobby:
            yield from move_somewhere(me)
        return
    try:
        held = yield from show(me, CENTER, me.center, me.session_token)
    except Lost:
        me.try_another_center()
        raise
    place = held.place_number if isinstance(held, SessionOk) else 0
    still = me.game if place == me.game_number else None
    if still is not None and (only_center or (yield from _sit_again(me, still))):
        return
    yield Drop(GAME)
    me.settle_at(None, 0)
    if isinstance(held, SessionOk):
        yield from lobby(me)
    if not to_lobby:
        yield from move_somewhere(me)


def _follow(me: Hero, there: ServerLeaving) -> Walk[bool]:
    """Go where the leaving game server keeps a seat. False when the token came too late."""
    me.leaving = None  # tried once: a server that is not reached is no way
    try:
        yield from show(me, GAME, (there.host, there.port), there.token)
    except Displaced:
        return False
    me.settle_at((there.host, there.port), there.number)
    return True


def _sit_again(me: Hero, address: Address) -> Walk[bool]:
    """At the game server that owns him still. False when his seat went to others meanwhile."""
    me.channel = 0
    try:
        yield from show(me, GAME, address, me.session_token)
    except Displaced:
        return False
    return True
