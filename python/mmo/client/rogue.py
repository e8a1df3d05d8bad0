"""A player who does not behave: two devices, doubled and reordered requests, tokens shown twice.

Owns the plot only, as a generator of `steps`; what must come of it is for the checker to judge, so
nothing here looks at an answer. Called by proofs and simulations.
"""

from collections.abc import Callable
from typing import Any

from mmo.client.hero import Hero
from mmo.client.hunting import settle
from mmo.client.session import Displaced, Stranded, Unwelcome, arrive, ask, log_in, show
from mmo.client.steps import CENTER, GAME, Drop, Lost, Pause, Receive, Send, Walk
from mmo.wire.messages.inventory import ItemMove
from mmo.wire.messages.shop import Buy, ShopLineView, ShopPageAsk, ShopPageOk

HEAR_MS = 400.0
TURN_PAUSE_MS = 200.0
SLOTS = 10


def plot(me: Hero, goes_on: Callable[[], bool]) -> Walk[None]:
    """One foul turn after the other, until told to stop."""
    while goes_on():
        me.record.known = False  # what he does twice on purpose is in no record of his
        try:
            yield from _turn(me)
        except (Lost, Displaced, Stranded, Unwelcome):
            me.loosen()
        yield Drop(GAME)
        yield Drop(CENTER)
        yield Pause(TURN_PAUSE_MS)


def _turn(me: Hero) -> Walk[None]:
    yield from arrive(me)
    uid = min(me.record.items, default=0)
    line = yield from _dearest(me)
    yield from settle(me)
    first, second = _moved(me, uid), _moved(me, uid)
    # Doubled and out of order, all on the way at once.
    yield from _pour(me, GAME, [second, first, first, second, second, first])
    # The same number for something else, then without the money.
    other = ItemMove(first.op, uid, (first.slot + 3) % SLOTS)
    greedy = Buy(me.next_operation(), line[0], line[1].line, 99, line[1].price)
    yield from _pour(me, GAME, [other, greedy, first])
    # A second device logs in; the first one goes on as if it had not noticed.
    before = [_moved(me, uid) for _ in range(3)]
    token, center, session = me.login_token, me.center, me.session_token
    yield from log_in(me)
    yield from _pour(me, GAME, before[:2])
    assert me.center is not None and center is not None
    yield from show(me, CENTER, me.center, me.login_token)
    yield from _pour(me, GAME, before[2:])
    yield Drop(GAME)
    # The token of either login lets nobody in again, nor that of the session before the second.
    for stolen, address in ((token, center), (me.login_token, me.center), (session, center)):
        try:
            yield from show(me, "stolen", address, stolen)
        except (Displaced, Lost):
            continue
        yield Drop("stolen")


def _moved(me: Hero, uid: int) -> ItemMove:
    return ItemMove(me.next_operation(), uid, me.rng.randrange(SLOTS))


def _pour(me: Hero, lane: str, messages: list[Any]) -> Walk[None]:
    """Send all at once and hear what comes; a connection that ends is what a rogue expects."""
    try:
        for message in messages:
            yield Send(lane, message)
        for _ in messages:
            if (yield Receive(lane, HEAR_MS)) is None:
                return
    except Lost:
        return


def _dearest(me: Hero) -> Walk[tuple[int, ShopLineView]]:
    """The catalogue's number and its dearest line for gold."""
    lines: list[ShopLineView] = []
    page, told = 0, ShopPageOk(0, 0, 1, [])
    while page < told.pages:
        told = yield from ask(me, CENTER, ShopPageAsk(page))
        lines += [line for line in told.lines if line.currency == 0]
        page += 1
    return told.catalogue, max(lines, key=lambda line: line.price)
