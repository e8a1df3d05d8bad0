"""Hunting: blows against the monsters of a channel.

The server decides damage, death and drop; a client names only the monster. Blows are volatile; what
a kill earns leaves as `Earned` and is decided and committed in the killer's own lane.
"""

from random import Random

from mmo.content import Content
from mmo.content.schema import Monster
from mmo.content.tables import KINDS
from mmo.contract import Earned, Env, Outcome, Refuse, handles
from mmo.state.bag import Bag
from mmo.state.channel_world import ChannelWorld, MonsterStruck
from mmo.state.grant import Bundle, BundleItem
from mmo.state.growth import Growth
from mmo.systems.inventory import attack_power
from mmo.wire.messages.hunt import Hit, HitOk, KillEarned
from mmo.wire.opcode import Code, Op

_NOT_IN_CHANNEL = Refuse(Code.NOT_IN_CHANNEL)
_MONSTER_UNKNOWN = Refuse(Code.MONSTER_UNKNOWN)


def damage_of(content: Content, growth: Growth, bag: Bag, now_ms: int) -> int:
    """Damage of one blow by level and the equipment in hand."""
    combat = content.combat
    power = attack_power(content, bag, now_ms)
    return combat.damage_bare + growth.level * combat.damage_per_level + power


@handles(Op.HIT, needs=("growth", "bag", "world"), rate="hit")
def hit(
    message: Hit, *, growth: Growth, bag: Bag, world: ChannelWorld, env: Env
) -> Outcome | Refuse:
    """One blow. Damage never exceeds what is left of the monster; the last blow earns the kill."""
    content: Content = env.content
    user, now_ms = env.sender.user, env.now_ms
    number = world.where.get(user)
    if number is None:
        return _NOT_IN_CHANNEL
    monsters = world.channels[number - 1].monsters
    if not 1 <= message.monster <= len(monsters):
        return _MONSTER_UNKNOWN
    ready_ms = world.ready_ms.get(user, 0)
    if ready_ms > now_ms:
        return Refuse(Code.COOLDOWN, str(ready_ms - now_ms))
    monster = monsters[message.monster - 1]
    if monster.back_ms > now_ms:
        return Refuse(Code.MONSTER_DEAD, str(monster.back_ms - now_ms))
    row = content.monsters[monster.kind]
    left = row.hp if monster.back_ms else monster.hp
    damage = min(damage_of(content, growth, bag, now_ms), left)
    left -= damage
    struck = MonsterStruck(
        user=user,
        channel=number,
        monster=message.monster,
        hp=left,
        back_ms=0 if left else now_ms + row.respawn_ms,
        ready_ms=now_ms + content.combat.attack_cooldown_ms,
    )
    reply = HitOk(message.monster, damage, left, not left)
    if left:
        return Outcome(replies=(reply,), effects=(struck,))
    return Outcome(replies=(reply,), effects=(struck,), earned=(_kill(user, row, env.rng),))


def _kill(user: int, row: Monster, rng: Random) -> Earned:
    """What the kill of one monster is worth, the chance of its drops rolled."""
    drop = roll_drop(row, rng)
    items = () if drop is None else (BundleItem(*drop),)
    return Earned(
        user,
        KillEarned(user, row.kind, row.exp, row.gold, drop),
        Bundle(gold=row.gold, exp=row.exp, items=items),
    )


def roll_drop(row: Monster, rng: Random) -> tuple[int, int, int] | None:
    """At most one line of the monster's drops: (kind, code, count)."""
    roll = rng.randrange(1000)
    for drop in row.drops:
        if roll < drop.permille:
            return KINDS.index(drop.kind), drop.code, drop.count
        roll -= drop.permille
    return None
