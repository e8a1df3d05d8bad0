"""`purge` on the command line: the yes it wants, what it prints and with which code it ends.

Owns the questions about the print and the exit code; what goes is asked of a real database
elsewhere.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from mmo.cli import compose
from mmo.cli import purge as command
from mmo.cli.durations import seconds_of
from mmo.cli.rim import FAILED, OK, PARTIAL
from mmo.errors import OperatorError, StoreUnavailable
from mmo.ops.purge import Purged

Ask = Callable[..., int]
DAY_MS = 86_400_000


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Ask, list[Any]]:
    """`ask(answer, older_than, …)`: the command over a given answer, and what the database would
    have been asked."""
    calls: list[Any] = []

    def ask(answer: Purged | Exception, older_than: str = "90d", **options: bool) -> int:
        async def answered(settings: Any, older_ms: int, dry_run: bool) -> Purged:
            calls.append((older_ms, dry_run))
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(command, "_asked", answered)
        monkeypatch.setattr(compose, "home_store_settings", lambda home, config: None)
        flags = {"dry_run": False, "yes": True, "json": True} | options
        return command.purge(older_than=older_than, home=tmp_path, config=None, **flags)

    return ask, calls


def test_what_went_is_printed_as_json(
    asked: tuple[Ask, list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    ask, calls = asked
    assert ask(Purged(5, False, players=9, purged=2, lines=40)) == OK
    told = json.loads(capsys.readouterr().out)
    assert (told["before_ms"], told["players"], told["purged"], told["lines"]) == (5, 9, 2, 40)
    assert (told["dry_run"], told["busy"], told["findings"]) == (False, 0, [])
    assert calls == [(90 * DAY_MS, False)]


def test_nothing_goes_without_a_yes(asked: tuple[Ask, list[Any]]) -> None:
    ask, calls = asked
    with pytest.raises(OperatorError, match="E0710"):
        ask(Purged(5, False), yes=False)
    assert calls == []
    assert ask(Purged(5, True), yes=False, dry_run=True) == OK
    assert calls == [(90 * DAY_MS, True)]


def test_who_was_busy_is_partial_and_a_disagreement_a_failure(
    asked: tuple[Ask, list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    ask, _ = asked
    assert ask(Purged(5, False, busy=1), json=False) == PARTIAL
    assert "run it again" in capsys.readouterr().out
    assert ask(Purged(5, False, busy=1, findings=["user 7: wrong"]), json=False) == FAILED
    assert "left as it is: user 7: wrong" in capsys.readouterr().out


def test_a_database_that_is_away_is_an_operators_error(asked: tuple[Ask, list[Any]]) -> None:
    ask, _ = asked
    with pytest.raises(OperatorError, match="E0214"):
        ask(StoreUnavailable("gone"))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90d", 7_776_000), ("1.5h", 5_400), ("0s", 0), ("7", 7), ("250ms", 0.25)]
)
def test_a_length_of_time_is_in_seconds(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("older_than", ["90", "0", " 1.5 "])
def test_an_age_without_a_unit_purges_nothing(
    asked: tuple[Ask, list[Any]], older_than: str
) -> None:
    ask, calls = asked
    with pytest.raises(typer.BadParameter, match="no unit"):
        ask(Purged(5, False), older_than)
    assert calls == []


@pytest.mark.parametrize("text", ["", "d", "-1d", "1w", "1 day"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        seconds_of(text)
