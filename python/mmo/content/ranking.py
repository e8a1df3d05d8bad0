"""The ranking: its seasons, and how much of the board one question may ask for.

Owns `ranking.toml` in its checked form. Read by rules as `env.content.ranking`, never changed.
"""

from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Annotated

import msgspec

from mmo.content.faults import contradiction
from mmo.content.schema import Name, Small, Table

ROWS_MAX = 100
"""What a message of the wire may carry."""

Rows = Annotated[int, msgspec.Meta(ge=1, le=ROWS_MAX)]


class RankingSeasonRow(Table, frozen=True):
    """One board. Raids that open in `[begins, ends)`, days in UTC, count for it."""

    number: Small
    name: Name
    begins: date
    ends: date


class RankingFile(Table, frozen=True):
    """The whole of `ranking.toml`. A question for more rows gets as many as the limit says."""

    page_rows_max: Rows
    around_rows_max: Rows  # neighbours on each side
    friends_max: Rows
    season: Annotated[tuple[RankingSeasonRow, ...], msgspec.Meta(min_length=1)]


class RankingSeason(msgspec.Struct, frozen=True):
    """A checked season."""

    number: int
    name: str
    begins_ms: int
    ends_ms: int


class Ranking(msgspec.Struct, frozen=True):
    """All seasons by number, oldest first, and the limits."""

    page_rows_max: int
    around_rows_max: int
    friends_max: int
    seasons: dict[int, RankingSeason]

    def season_at(self, now_ms: int) -> int:
        """Number of the season that runs at a moment (unix ms); 0: none."""
        for season in self.seasons.values():
            if season.begins_ms <= now_ms < season.ends_ms:
                return season.number
        return 0


def build_ranking(file: RankingFile) -> Ranking:
    """Check the seasons: each a number of its own and a period, none of which meets another. Raises
    `ContentError` E0603 naming the row."""
    seasons: dict[int, RankingSeason] = {}
    for row in sorted(file.season, key=lambda each: each.begins):
        place = f"season {row.number}"
        if row.number in seasons:
            raise contradiction("ranking.toml", place, "the number is there twice")
        if row.ends <= row.begins:
            raise contradiction("ranking.toml", place, "ends is not after begins")
        begins_ms, ends_ms = _midnight_ms(row.begins), _midnight_ms(row.ends)
        seasons[row.number] = RankingSeason(row.number, row.name, begins_ms, ends_ms)
    for before, after in pairwise(seasons.values()):
        if after.begins_ms < before.ends_ms:
            raise contradiction(
                "ranking.toml",
                f"season {after.number}",
                f"begins before season {before.number} ends",
            )
    return Ranking(file.page_rows_max, file.around_rows_max, file.friends_max, seasons)


def _midnight_ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
