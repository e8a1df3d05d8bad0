"""The books of the raids as a proof reads them: plain SQL of its own, and Redis beside it.

Owns its statements and sentences about what contradicts; no answer of the product's own code.
Blocking; called in a thread.
"""

from typing import Any

from mmo.proof.arena import Arena
from mmo.proof.economy_books import Books
from mmo.proof.stores import Stores

FINISHED, ABORTED = 3, 4
RAID_GRANT = 4
"""`SourceKind.RAID`."""


class RaidBooks:
    """Raids, seats, results and the ranking of an arena."""

    def __init__(self, arena: Arena) -> None:
        self._books = Books(arena)
        self._stores = Stores(arena)

    def states(self) -> dict[int, int]:
        """State of every raid by its number."""
        return {int(raid): int(state) for raid, state in self._rows("SELECT raid, state FROM raid")}

    def scores(self) -> dict[tuple[int, int], int]:
        """Score by raid and user of every finished raid."""
        rows = self._rows(
            "SELECT m.raid, m.user_id, m.score FROM raid_member m JOIN raid r ON r.raid = m.raid "
            "WHERE r.state = %s",
            FINISHED,
        )
        return {(int(raid), int(user)): int(score or 0) for raid, user, score in rows}

    def unsettled(self) -> list[int]:
        """Raids without an end."""
        return [int(row[0]) for row in self._rows("SELECT raid FROM raid WHERE state < 3")]

    def leaked(self) -> list[str]:
        """Seats of settled raids that still keep a player out, and entries not given back."""
        found = [
            f"user {user} is kept by raid {raid}, which is over"
            for user, raid in self._rows(
                "SELECT b.user_id, b.raid FROM raid_busy b JOIN raid r ON r.raid = b.raid "
                "WHERE r.state >= 3"
            )
        ]
        found += [
            f"raid {raid} was aborted and the entry of user {user} is spent"
            for raid, user in self._rows(
                "SELECT m.raid, m.user_id FROM raid_member m JOIN raid r ON r.raid = m.raid "
                "WHERE r.state = %s AND m.day <> 0",
                ABORTED,
            )
        ]
        return found

    def unclaimed(self) -> list[tuple[int, int]]:
        """(user, raid) of every reward that its player has not claimed yet."""
        rows = self._rows(
            "SELECT user_id, source_id FROM reward_grant "
            "WHERE source_kind = %s AND claimed_version IS NULL",
            RAID_GRANT,
        )
        return [(int(user), int(raid)) for user, raid in rows]

    def reward_faults(self) -> list[str]:
        """Grants of raids that are no reward of a finished raid's member, and rewards that were
        never claimed."""
        found = [
            f"user {user} holds a reward of raid {raid}, which did not finish with him"
            for user, raid in self._rows(
                "SELECT g.user_id, g.source_id FROM reward_grant g "
                "LEFT JOIN raid_member m ON m.raid = g.source_id AND m.user_id = g.user_id "
                "LEFT JOIN raid r ON r.raid = m.raid AND r.state = %s "
                "WHERE g.source_kind = %s AND r.raid IS NULL",
                *(FINISHED, RAID_GRANT),
            )
        ]
        found += [
            f"the reward of raid {raid} for user {user} was never claimed"
            for user, raid in self.unclaimed()
        ]
        return found

    def rewards(self) -> set[tuple[int, int]]:
        """(raid, user) of every claimed reward."""
        rows = self._rows(
            "SELECT source_id, user_id FROM reward_grant "
            "WHERE source_kind = %s AND claimed_version IS NOT NULL",
            RAID_GRANT,
        )
        return {(int(raid), int(user)) for raid, user in rows}

    def ranking_faults(self) -> list[str]:
        """Where the board in MySQL is not the best of all results, and Redis is not MySQL."""
        best = {
            (int(season), int(user)): int(score)
            for season, user, score in self._rows(
                "SELECT r.season, m.user_id, MAX(m.score) FROM raid_member m "
                "JOIN raid r ON r.raid = m.raid "
                "WHERE r.state = %s AND r.season > 0 AND m.score > 0 "
                "GROUP BY r.season, m.user_id",
                FINISHED,
            )
        }
        held = {
            (int(season), int(user)): int(score)
            for season, user, score in self._rows("SELECT season, user_id, score FROM ranking")
        }
        found = [
            f"the best result of user {key[1]} is {best.get(key)}, the ranking says {held.get(key)}"
            for key in sorted(best.keys() | held.keys())
            if best.get(key) != held.get(key)
        ]
        shown = self._stores.boards({season for season, _ in held})
        found += [
            f"Redis shows {shown.get(key)} for user {key[1]}, MySQL holds {held.get(key)}"
            for key in sorted(shown.keys() | held.keys())
            if shown.get(key) != held.get(key)
        ]
        return found

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._books.rows(statement, *values)
