"""`audit` on the command line: what it prints and with which code it ends.

Owns the questions about the print and the exit code; the rules are asked of a real database
elsewhere.
"""

import json
from pathlib import Path

import pytest

from mmo.cli import audit as command
from mmo.cli import compose
from mmo.cli.rim import FAILED, OK
from mmo.errors import OperatorError, StoreUnavailable
from mmo.ops.audit import Finding, Flow, Report

FLOWS = {"gold": Flow(minted=17, burned=5, held=12)}
ITEMS = {"live": 1, "codes": 1, "log_lines": 3, "grants": 0, "rolls": 0, "raid_results": 0}
WRONG = Finding("balance", 7, "currency 0: he holds 13, his ledger lines add up to 12")
HONEST = Report(True, 2, 3, FLOWS, ITEMS, [])


def run(monkeypatch: pytest.MonkeyPatch, answer: Report | Exception, as_json: bool = True) -> int:
    """The command over a report that is given; only the database is left out."""

    async def asked(settings: object, known: object, roll_secret: object) -> Report:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(compose, "home_store_settings", lambda home, config: None)
    monkeypatch.setattr(command, "_asked", asked)
    return command.audit(home=Path("nowhere"), config=None, json=as_json)


def test_audit_when_balanced_then_ends_with_zero_in_the_promised_form(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, HONEST) == OK
    said = json.loads(capsys.readouterr().out)
    assert list(said) == [
        *("balanced", "players", "ledger_lines", "currencies", "items", "findings"),
    ]
    assert said["currencies"]["gold"] == {"minted": 17, "burned": 5, "held": 12}


def test_audit_when_something_is_wrong_then_names_it_and_ends_with_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = Report(False, 2, 3, FLOWS, ITEMS, [WRONG])
    assert run(monkeypatch, wrong) == FAILED
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["check"], finding["user"]) == ("balance", 7)
    assert run(monkeypatch, wrong, as_json=False) == FAILED
    told = capsys.readouterr().out
    assert "balance: user 7: currency 0" in told and "NOT balanced: 1 findings" in told


def test_audit_when_there_is_nothing_to_check_then_ends_with_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = Report(True, 0, 0, {}, {**ITEMS, "live": 0}, [])
    assert run(monkeypatch, nothing) == FAILED
    assert run(monkeypatch, nothing, as_json=False) == FAILED
    assert "nothing to check" in capsys.readouterr().out


def test_audit_when_the_database_is_away_then_is_an_operators_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(OperatorError, match="E0214"):
        run(monkeypatch, StoreUnavailable("gone"))
