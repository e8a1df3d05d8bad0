"""Seasons of the ranking: checked rows, and which one runs."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from mmo.content import load_content
from mmo.content.ranking import Ranking, RankingFile, build_ranking
from mmo.errors import ContentError

LIMITS = {"page_rows_max": 100, "around_rows_max": 50, "friends_max": 100}
FIRST = {"number": 1, "name": "One", "begins": "2026-01-01", "ends": "2026-02-01"}
THIRD = {"number": 3, "name": "Three", "begins": "2026-03-01", "ends": "2026-04-01"}


def ranking_of(*seasons: dict[str, Any], **limits: int) -> Ranking:
    """The built ranking of some rows."""
    raw = LIMITS | limits | {"season": list(seasons)}
    return build_ranking(msgspec.convert(raw, RankingFile))


def moment_ms(text: str) -> int:
    """Unix ms of a moment in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("moment", "season"),
    [
        ("2025-12-31T23:59:59.999", 0),
        ("2026-01-01T00:00:00", 1),
        ("2026-01-31T23:59:59.999", 1),
        ("2026-02-01T00:00:00", 0),
        ("2026-03-15T12:00:00", 3),
        ("2026-04-01T00:00:00", 0),
    ],
)
def test_season_at_when_within_its_days_then_runs(moment: str, season: int) -> None:
    assert ranking_of(THIRD, FIRST).season_at(moment_ms(moment)) == season


def test_season_in_the_box_when_asked_for_years_then_runs() -> None:
    ranking = load_content().ranking
    for year in (2026, 2028, 2030):
        assert ranking.season_at(moment_ms(f"{year}-07-01T00:00:00")) in ranking.seasons


@pytest.mark.parametrize(
    ("seasons", "cause"),
    [
        ([FIRST, FIRST | {"begins": "2027-01-01", "ends": "2027-02-01"}], "twice"),
        ([FIRST | {"ends": "2026-01-01"}], "ends is not after begins"),
        ([FIRST, THIRD | {"begins": "2026-01-31"}], "season 3.*begins before season 1 ends"),
    ],
)
def test_seasons_when_they_contradict_then_are_refused_by_name(
    seasons: list[dict[str, Any]], cause: str
) -> None:
    with pytest.raises(ContentError, match=f"E0603 .*ranking.toml.*{cause}"):
        ranking_of(*seasons)


@pytest.mark.parametrize(
    "changed",
    [{"season": []}, {"page_rows_max": 0}, {"page_rows_max": 101}, {"friends_max": 101}],
)
def test_ranking_when_out_of_bounds_then_is_refused(changed: dict[str, Any]) -> None:
    raw = LIMITS | {"season": [FIRST]} | changed
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(raw, RankingFile)
