"""The seasonal ranking by best raid score."""

from typing import Annotated

import msgspec

from mmo.wire.codec import message
from mmo.wire.opcode import Op

ROWS_MAX = 100
USERS_MAX = 100
Count = Annotated[int, msgspec.Meta(ge=1, le=ROWS_MAX)]
Start = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Around = Annotated[int, msgspec.Meta(ge=0, le=50)]
Users = Annotated[list[int], msgspec.Meta(max_length=USERS_MAX)]


class RankingRow(msgspec.Struct, array_like=True, frozen=True):
    """One place, 1 is the best."""

    rank: int
    user: int
    name: str
    score: int


@message(Op.RANKING_PAGE)
class RankingPage(msgspec.Struct, array_like=True, frozen=True):
    """`count` places from place `start` on; `season` 0: the running one."""

    start: Start
    count: Count = 3
    season: int = 0


@message(Op.RANKING_AROUND)
class RankingAround(msgspec.Struct, array_like=True, frozen=True):
    """The asker's own place with `around` neighbours on each side."""

    around: Around = 2
    season: int = 0


@message(Op.RANKING_FRIENDS)
class RankingFriends(msgspec.Struct, array_like=True, frozen=True):
    """The board of the named users; who has no score is left out."""

    users: Users
    season: int = 0


@message(Op.RANKING_OK)
class RankingOk(msgspec.Struct, array_like=True, frozen=True):
    """Answer to all three. `own_rank` 0: the asker has no score in this season."""

    season: int
    size: int  # players on the board
    own_rank: int
    own_score: int
    rows: list[RankingRow]


@message(Op.RANKING_READ)
class RankingRead(msgspec.Struct, array_like=True, frozen=True):
    """Internal: what the edge read."""

    season: int
    size: int
    own_rank: int
    own_score: int
    rows: list[RankingRow]
