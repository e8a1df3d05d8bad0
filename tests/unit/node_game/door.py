"""The edge of the tiny game: looks a name up before a rule decides."""

from tests.unit.node_game.messages import KNOCK, Knock, Knocked

from mmo.contract import Outside, Refuse, Sender, edge
from mmo.wire.opcode import Code


@edge(KNOCK, deadline_ms=5_000)
async def knock(message: Knock, outside: Outside, sender: Sender) -> Knocked | Refuse:
    known = await outside.credentials(message.name)
    if known is None:
        return Refuse(Code.CREDENTIALS_WRONG)
    matches = await outside.verify_password(known.password_hash, message.name)
    return Knocked(known.name, known.session_epoch if matches else -1)
