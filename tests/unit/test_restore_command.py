"""`restore` and `odds` on the command line: what they take and what they refuse."""

from pathlib import Path

import pytest
import typer

from mmo.cli.odds import odds
from mmo.cli.restore import moment_ms
from mmo.errors import OperatorError

NOW_S = 1_767_225_600.5  # half a second into 2026


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("1767225599", 1767225599),
        ("2025-12-31T23:59:59", 1767225599),
        ("2025-12-31T23:59:59+00:00", 1767225599),
        ("2026-01-01T08:59:59+09:00", 1767225599),
        ("2025-12-31 23:59:59.5", 1767225599),
        ("20251231", 1767139200),
        ("2025-12-31", 1767139200),
        ("20251231T235959", 1767225599),
        ("2020-01-01T00:00:00", 1577836800),
        ("2026-01-01T00:00:00", 1767225600),
    ],
)
def test_a_moment_is_its_whole_second(text: str, second: int) -> None:
    assert moment_ms(text, NOW_S) == second * 1_000 + 999


@pytest.mark.parametrize(
    "text",
    [
        *("yesterday", "", "2025-13-01", "20251331", "2025", "0", "-1767225599", "²" * 10),
        *("176722559", "17672255990"),
        # Milliseconds; the second would pass for the last day of the year 1701.
        *("1767225599000", "1701123100000"),
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(OperatorError, match="E0734") as refused:
        moment_ms(text, NOW_S)
    assert refused.value.fix


@pytest.mark.parametrize("text", ["1767225601", "2026-01-02", "9999-12-31T23:59:59"])
def test_what_is_not_yet_is_refused(text: str) -> None:
    with pytest.raises(OperatorError, match=r"E0734.* is not yet"):
        moment_ms(text, NOW_S)


@pytest.mark.parametrize("content", [None, b"no receipt", b"\xff"])
def test_a_receipt_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "missing.json"
    if content is not None:
        file.write_bytes(content)
    named = "missing.json" if content is None else "not a receipt"
    with pytest.raises(typer.BadParameter, match=named):
        odds(verify=f"@{file}", report=False, home=tmp_path, config=None, json=False)


@pytest.mark.parametrize(("receipt", "report"), [("", False), ("{}", True), ("{}", False)])
def test_odds_take_one_receipt_or_the_report(receipt: str, report: bool, tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter):
        odds(verify=receipt, report=report, home=tmp_path, config=None, json=False)
