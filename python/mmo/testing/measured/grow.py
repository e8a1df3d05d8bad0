"""The measured durable rule: one experience point a request, committed before it is answered.

Owns two messages outside the game's numbers and the one rule over them; the request carries an
operation number, so the whole protocol of a durable change is walked. Never part of a role of the
game. Run by `commit_server`; its rows are what `commit_books` prepares for the bare database.
"""

from typing import cast

import msgspec

from mmo.contract import Env, Outcome, handles
from mmo.state.growth import ExpGained, Growth
from mmo.wire.codec import OperationId, message
from mmo.wire.opcode import Op

GROW = cast(Op, 9_000)  # far above the opcodes of the game
GROW_OK = cast(Op, 9_001)


@message(GROW)
class Grow(msgspec.Struct, array_like=True, frozen=True):
    """Ask for one point."""

    op: OperationId


@message(GROW_OK)
class GrowOk(msgspec.Struct, array_like=True, frozen=True):
    """Told after the commit."""

    level: int
    exp: int


@handles(GROW, needs=("growth",), mutates=True, rate="action")
def grow(message: Grow, *, growth: Growth, env: Env) -> Outcome:
    """One more point."""
    exp = growth.exp + 1
    change = ExpGained(gained=1, level=growth.level, exp=exp)
    return Outcome(replies=(GrowOk(growth.level, exp),), changes=(change,))
