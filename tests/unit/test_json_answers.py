"""`--json` is JSON, and arrives when it is said: lists for scripts, and lines into a pipe.

Owns the questions about the form of lists and the flush; what the commands do is asked elsewhere.
"""

import io
import json
import sys

import pytest

from mmo.cli import terminal
from mmo.cli.rim import OK, run_guarded
from mmo.client.journeys import JOURNEYS
from mmo.proof.nemesis import GROUPS, MENU, NOT_HERE


def test_an_object_is_in_the_pipe_as_soon_as_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe, encoding="utf-8"))
    terminal.print_json({"event": "é"})
    assert pipe.getvalue().decode() == '{"event": "é"}\n'


@pytest.mark.parametrize("command", ["bot", "bench", "prove"])
def test_a_list_as_json_is_names_and_what_they_are(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert run_guarded((command, "--list", "--json")) == OK
    told = json.loads(capsys.readouterr().out)
    assert told and all(isinstance(text, str) and text for text in told.values())
    assert command != "bot" or list(told) == list(JOURNEYS)


def test_the_menu_of_faults_as_json_has_its_groups_and_what_it_has_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_guarded(("chaos", "--list", "--json")) == OK
    told = json.loads(capsys.readouterr().out)
    assert list(told["faults"]) == list(MENU)
    assert told["groups"] == {name: list(words) for name, words in GROUPS.items()}
    assert told["not_in_the_menu"] == list(NOT_HERE)


def test_the_menu_of_faults_as_text_ends_with_what_it_has_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_guarded(("chaos", "--list")) == OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines[-len(NOT_HERE) :]] == list(NOT_HERE)
    assert {line.partition(" ")[0] for line in lines} >= {*MENU, *GROUPS}
