"""The judge of the season's edge can say no; the product loads the game that its proof makes."""

from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from mmo.config.load import load_config
from mmo.content.tables import load_content
from mmo.proof.season_edge import (
    LEVELS,
    OFFSETS_MS,
    SEASONS,
    Attempt,
    Season,
    against_own_clock,
    attempt_faults,
    prepare,
)

FIRST, SECOND = Season(1, 1_000, 7_000), Season(2, 7_000, 13_000)
BOTH = {1: FIRST, 2: SECOND}
TAKEN = Attempt(5, 11, 1, 3, 6_900, 6_950, True)
REFUSED = Attempt(5, 11, 1, 4, 7_010, 7_050, False)
KEY = (5, 1, 3)


def faults(*attempts: Attempt, booked: int = 6_920) -> list[str]:
    return attempt_faults(list(attempts), BOTH, {KEY: [booked]})


def test_claims_in_their_season_and_refusals_outside_of_it_pass() -> None:
    assert not faults(TAKEN, REFUSED)


@pytest.mark.parametrize(
    ("attempt", "text"),
    [
        (replace(REFUSED, sent_ms=6_900, told_ms=6_950), "was refused within"),
        (replace(TAKEN, sent_ms=7_010, told_ms=7_050), "was taken outside of"),
        (replace(TAKEN, level=9), "is booked 0 times"),
    ],
)
def test_a_claim_on_the_wrong_side_of_an_edge_is_found(attempt: Attempt, text: str) -> None:
    assert any(text in fault for fault in faults(TAKEN, attempt))


def test_a_claim_across_the_edge_may_be_taken_or_refused() -> None:
    across = replace(TAKEN, sent_ms=6_990, told_ms=7_020)
    assert not faults(across, booked=6_999)
    assert not faults(TAKEN, replace(across, taken=False, level=4))


def test_a_claim_booked_outside_of_its_season_twice_or_for_nobody_is_found() -> None:
    assert any("outside of" in fault for fault in faults(TAKEN, booked=7_000))
    twice = attempt_faults([TAKEN], BOTH, {KEY: [6_920, 6_930]})
    assert any("booked 2 times" in fault for fault in twice)
    assert any("was never told" in fault for fault in faults(REFUSED))


def test_claims_against_the_servers_own_clock_are_counted() -> None:
    claimed = {KEY: [6_920]}
    assert against_own_clock([TAKEN], BOTH, claimed, {11: 2_000}) == {11: 1}
    assert against_own_clock([TAKEN], BOTH, claimed, {11: -2_000, 2: 5}) == {11: 0, 2: 0}
    assert against_own_clock([REFUSED], BOTH, claimed, {11: 2_000}) == {11: 0}


def test_the_game_of_the_proof_has_seasons_without_a_gap_and_wrong_clocks(tmp_path: Path) -> None:
    overlay = tmp_path / "proof.toml"
    overlay.write_text(prepare(tmp_path), encoding="utf-8")
    loaded = load_config(overlay, {})
    clocks = {
        entry.name: loaded.for_node(entry).node.clock_offset_ms for entry in loaded.config.nodes
    }
    assert {name: offset for name, offset in clocks.items() if offset} == OFFSETS_MS
    seasons = load_content(loaded.config.cluster.content_directory).passes.seasons
    assert len(seasons) == SEASONS
    for before, after in pairwise(seasons.values()):
        assert before.ends_ms == after.starts_ms
    assert all(len(season.rewards) == LEVELS for season in seasons.values())
