"""Planted bugs of raids: rewards, told results and the ranking, each broken in one place.

Owns the mutations only; each replaces one name of a module of `mmo.store` or `mmo.node` in this
process. Called by `planted`.
"""

from typing import Any

from msgspec.structs import replace

from mmo.node import outcomes
from mmo.store import raids, ranking, statements
from mmo.store.connection import Statement
from mmo.testing.planted_store import reworded, swap
from mmo.wire.codec import encode
from mmo.wire.opcode import Op


def raid_reward_twice() -> None:
    """A reward is left once under the number of the raid, and once more under another."""
    text = statements.ADD_GRANTS.text
    twice = reworded(
        text,
        ("g.source_id, UNHEX", "g.source_id * t.sign, UNHEX"),
        (")) g", ")) g JOIN (SELECT 1 AS sign UNION ALL SELECT -1) t"),
    )
    swap(raids, "ADD_GRANTS", twice)


def raid_reward_lost() -> None:
    """A reward is promised with the result, and nothing is left for anybody."""
    swap(raids, "ADD_GRANTS", Statement("DO LENGTH(%s)"))


def raid_told_differs() -> None:
    """Everybody is told one point less than the books have."""

    def other(message: Any) -> bytes:
        if message.opcode == Op.RAID_ENDED:
            rows = [replace(row, score=max(0, row.score - 1)) for row in message.scores]
            message = replace(message, scores=rows)
        return encode(message)

    swap(outcomes, "encode", other)


def ranking_adds_up() -> None:
    """The ranking adds all results of a player up instead of keeping his best."""
    summed = reworded(
        ranking.RAISE_SCORES.text,
        ("VALUES(score) > ranking.score", "VALUES(score) > 0"),
        ("GREATEST(ranking.score, VALUES(score))", "ranking.score + VALUES(score)"),
    )
    swap(ranking, "RAISE_SCORES", summed)
