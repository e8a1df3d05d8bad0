"""The measured rule: a blow that reads and changes the volatile state of a server.

Owns a small arena of monsters that rise again when they fall, so that a load never runs dry, and
the one rule over it. Uses the game's own HIT messages. Never part of a role of the game; run by
`node_server` through the real node and by `uvloop_server` by hand.
"""

from typing import Any, ClassVar

from mmo.contract import Env, Outcome, Refuse, handles
from mmo.state.change import Effect
from mmo.wire.messages.hunt import Hit, HitOk
from mmo.wire.messages.presence import SessionOk
from mmo.wire.messages.session import Entered
from mmo.wire.opcode import Code, Op

MONSTERS = 100
HP_MAX = 1_000
DAMAGE = 7


class Arena:
    """Hit points by monster number, and what was dealt in all."""

    __slots__ = ("blows", "fallen", "hp")

    def __init__(self) -> None:
        self.hp = [HP_MAX] * MONSTERS
        self.blows = 0
        self.fallen = 0

    def books(self) -> dict[str, int]:
        """What a bench checks after the load: every blow is in `dealt`, none twice."""
        dealt = sum(HP_MAX - hp for hp in self.hp) + self.fallen * HP_MAX
        return {"blows": self.blows, "fallen": self.fallen, "dealt": dealt}


class Struck(Effect, frozen=True):
    """A blow landed; a monster that falls stands up again with what the blow left over."""

    of: ClassVar[str] = "arena"

    monster: int
    damage: int

    def apply(self, state: Any) -> None:
        left = state.hp[self.monster] - self.damage
        state.blows += 1
        if left <= 0:
            state.fallen += 1
            left += HP_MAX
        state.hp[self.monster] = left


@handles(Op.HIT, needs=("arena",), rate="hit")
def strike(message: Hit, *, arena: Arena, env: Env) -> Outcome | Refuse:
    """A monster loses hit points; told are those that are left."""
    monster = message.monster
    if not 0 <= monster < MONSTERS:
        return Refuse(Code.MONSTER_UNKNOWN)
    left = arena.hp[monster] - DAMAGE
    killed = left <= 0
    answer = HitOk(monster, DAMAGE, 0 if killed else left, killed)
    return Outcome(replies=(answer,), effects=(Struck(monster, DAMAGE),))


@handles(Op.ENTER, by="node")
def welcome(message: Entered, *, env: Env) -> Outcome:
    """A player whose claim held is let in."""
    return Outcome(replies=(SessionOk(env.sender.user, message.claims.epoch, env.node.number, ""),))
