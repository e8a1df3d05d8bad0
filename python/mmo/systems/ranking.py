"""The ranking: what was read of a season's board becomes the answer.

Installed where players are owned; `edges.ranking` read it. A season that the content does not know
is refused here.
"""

from mmo.content import Content
from mmo.contract import Env, Outcome, Refuse, handles
from mmo.wire.messages.ranking import RankingOk, RankingRead
from mmo.wire.opcode import Code, Op


@handles(Op.RANKING_READ, by="node")
def ranking_read(message: RankingRead, *, env: Env) -> Outcome | Refuse:
    """Answer to all three questions."""
    content: Content = env.content
    if message.season not in content.ranking.seasons:
        return Refuse(Code.RANKING_SEASON_UNKNOWN)
    return Outcome(
        replies=(
            RankingOk(
                message.season, message.size, message.own_rank, message.own_score, message.rows
            ),
        )
    )
