"""Walks of the hunt that several journeys share: a seat, a channel, blows, rewards.

Generators of `steps`; own no socket and no clock. Called by `journeys`, `shopper`, `play`, proofs
and locust.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from mmo.client.coming_back import come_back
from mmo.client.hero import Hero
from mmo.client.protocol import Push
from mmo.client.session import (
    Stranded,
    ask,
    code_name,
    keep_known,
    move_somewhere,
    overhear,
    silence,
)
from mmo.client.steps import GAME, Lost, Pause, Receive, Walk
from mmo.wire.messages.hunt import (
    ChannelEnter,
    ChannelEnterOk,
    ChannelListAsk,
    Hit,
    HitOk,
    KillReward,
    MonstersAsk,
)
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code


def refused(me: Hero, lane: str, message: object, code: Code) -> Walk[None]:
    """Ask for something that must be refused with `code`; anything else is an error."""
    reply = yield from ask(me, lane, message, expects=(int(code),))
    if not (isinstance(reply, Refused) and reply.code == code):
        me.meter.error(f"{me.name}: {message} was not refused with {code_name(code)}: {reply}")


def choose_channel(me: Hero, *, avoid: int = 0) -> Walk[None]:
    """Enter the emptiest channel of this server but `avoid`, waiting while all are full."""
    until = me.clock() + me.policy.patience_ms / 1000
    while me.clock() < until:
        rows = (yield from ask(me, GAME, ChannelListAsk())).channels
        rows = [row for row in rows if row.number != avoid]
        rows.sort(key=lambda row: (row.users >= row.users_max, row.users + 2 * me.rng.random()))
        for row in rows:
            reply = yield from ask(
                me, GAME, ChannelEnter(row.number), expects=(int(Code.CHANNEL_FULL),)
            )
            if isinstance(reply, ChannelEnterOk):
                me.channel = row.number
                me.monsters = {monster.number: monster for monster in reply.monsters}
                return
        yield Pause(me.policy.pause_ms_max * me.rng.random())
    me.meter.error(f"{me.name}: no channel had room")
    raise Stranded("no channel had room")


def look(me: Hero) -> Walk[None]:
    """Refresh the monsters; pauses until the next one rises when all are dead."""
    rows = (yield from ask(me, GAME, MonstersAsk())).monsters
    me.monsters = {row.number: row for row in rows}
    if not any(row.hp > 0 for row in rows):
        rises = min((row.respawn_ms for row in rows if row.respawn_ms > 0), default=200)
        yield Pause(min(1000, max(20, rises)))


def strike(me: Hero) -> Walk[None]:
    """One blow at a living monster that gives exp, and its reward when it was the last one."""
    alive = [row for row in me.monsters.values() if row.hp > 0 and row.kind > 0]
    if not alive:
        yield from look(me)
        return
    target = me.monsters.get(me.target)
    if target is None or target.hp <= 0 or target.kind <= 0:
        weakest = sorted(alive, key=lambda row: (row.hp, row.number))[: max(3, len(alive) // 3)]
        target = me.rng.choice(weakest)
        me.target = target.number
    wait = me.hit_at + me.pace_ms / 1000 - me.clock()
    if wait > 0:
        yield Pause(wait * 1000)
    began = me.clock()
    me.hit_open = True
    reply = yield from ask(
        me, GAME, Hit(target.number), expects=(int(Code.MONSTER_DEAD), int(Code.COOLDOWN))
    )
    if isinstance(reply, HitOk):
        me.hit_at = began
        me.monsters[target.number] = msgspec.structs.replace(target, hp=reply.hp)
        if reply.killed:
            yield from reward(me)
        me.hit_open = False
    elif reply.code == Code.COOLDOWN:
        me.hit_open = False
        left_ms = float(reply.detail or 50)
        me.pace_ms = max(me.pace_ms, (began - me.hit_at) * 1000 + left_ms) + 1
        yield Pause(left_ms)
    else:
        me.hit_open = False
        me.monsters[target.number] = msgspec.structs.replace(target, hp=0)


def reward(me: Hero) -> Walk[KillReward]:
    """Wait for what a kill gave; it is told only after its commit."""
    began = me.clock()
    until = began + me.policy.patience_ms / 1000
    while not me.rewards:
        event = yield Receive(GAME, max(0.0, (until - me.clock()) * 1000))
        if event is None:
            yield from silence(me, GAME, "the reward of a kill")
        elif isinstance(event, Push):
            me.hear(event.message)
        else:
            overhear(me, event)
    me.meter.action("KillReward", (me.clock() - began) * 1000)
    return me.rewards.pop(0)


def hunt_while(me: Hero, goes_on: Callable[[], bool]) -> Walk[None]:
    """Hunt, and come back from lost connections, until `goes_on` says no."""
    while goes_on():
        try:
            if not me.channel:
                yield from choose_channel(me)
            yield from keep_known(me)
            yield from strike(me)
        except Lost as lost:
            yield from come_back(me, lost)


def hold_on(me: Hero, walk: Callable[[], Walk[Any]], *, to_lobby: bool = False) -> Walk[Any]:
    """Walk a stretch from its beginning again after each lost connection, and return what it
    returns. `to_lobby`: who is at the center comes back there."""
    while True:
        try:
            return (yield from walk())
        except Lost as lost:
            yield from come_back(me, lost, to_lobby=to_lobby)


def settle(me: Hero) -> Walk[None]:
    """From the center to any channel server with a seat."""
    while me.game is None:
        try:
            yield from move_somewhere(me)
        except Lost as lost:
            yield from come_back(me, lost)
