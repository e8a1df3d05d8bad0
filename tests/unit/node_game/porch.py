"""The rule before the edge of the tiny game: who is barred does not get to the door."""

from tests.unit.node_game.messages import KNOCK, Knock
from tests.unit.node_game.rules import Board

from mmo.contract import Env, Refuse, before
from mmo.wire.opcode import Code


@before(KNOCK, needs=("board",))
def porch(message: Knock, *, board: Board, env: Env) -> Refuse | None:
    if message.name == "fails":
        raise RuntimeError("a bug")
    if env.sender.address in board.barred:
        return Refuse(Code.LOCKED_OUT, "9")
    return None
