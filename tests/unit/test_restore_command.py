"""`restore` and `odds` on the command line: what they take and what they refuse."""

from pathlib import Path

import pytest
import typer

from mmo.cli.odds import odds
from mmo.cli.restore import moment_ms


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("1767225599", 1767225599),
        ("2025-12-31T23:59:59", 1767225599),
        ("2025-12-31T23:59:59+00:00", 1767225599),
        ("2026-01-01T08:59:59+09:00", 1767225599),
        ("2025-12-31 23:59:59.5", 1767225599),
    ],
)
def test_a_moment_is_its_whole_second(text: str, second: int) -> None:
    assert moment_ms(text) == second * 1_000 + 999


@pytest.mark.parametrize("text", ["yesterday", "", "2025-13-01"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        moment_ms(text)


@pytest.mark.parametrize(("receipt", "report"), [("", False), ("{}", True), ("{}", False)])
def test_odds_take_one_receipt_or_the_report(receipt: str, report: bool, tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter):
        odds(verify=receipt, report=report, home=tmp_path, config=None, json=False)
