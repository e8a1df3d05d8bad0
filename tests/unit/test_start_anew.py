"""A start that would end nodes which serve without a supervisor: who sits at a terminal is asked,
whatever takes the output; a script goes on; who cannot be asked is told."""

import io
import os
import pty
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.unit.test_supervisor import left_behind

from mmo.cli import lifecycle, reload
from mmo.errors import OperatorError

NODES = ("channel-1", "mysql")


class Stream(io.StringIO):
    """Standard output or error: a terminal, or a pipe."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self.isatty = lambda: is_terminal  # type: ignore[method-assign]


class Seat(NamedTuple):
    """Where somebody sits: what he typed is behind a pseudo terminal."""

    master: int
    patch: pytest.MonkeyPatch

    def shows(self, *, output: bool, error: bool) -> Stream:
        """Which of both the terminal shows. Returns standard error."""
        self.patch.setattr("sys.stdout", Stream(output))
        told = Stream(error)
        self.patch.setattr("sys.stderr", told)
        return told

    def types(self, text: str) -> None:
        """Typed ahead."""
        os.write(self.master, text.encode())


@pytest.fixture
def seat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seat]:
    master, slave = pty.openpty()
    with open(slave, encoding="utf-8") as typed:
        monkeypatch.setattr("sys.stdin", typed)
        yield Seat(master, monkeypatch)
    os.close(master)


@pytest.fixture(autouse=True)
def _nothing_is_spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    def spawned(*_: object) -> None:
        raise OperatorError("E0711", "it would begin")

    monkeypatch.setattr(lifecycle, "_spawn_supervisor", spawned)


def started(directory: Path, *, yes: bool = False, json: bool = True) -> OperatorError:
    """What came of it: E0711 when it would begin."""
    with pytest.raises(OperatorError) as caught:
        lifecycle.start(directory, json=json, yes=yes)
    return caught.value


@pytest.mark.parametrize(("output", "error"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize(("typed", "code"), [("y\n", "E0711"), ("n\n", "E0733"), ("\x04", "E0733")])
def test_who_sees_a_terminal_is_asked(
    tmp_path: Path, seat: Seat, output: bool, error: bool, typed: str, code: str
) -> None:
    left_behind(tmp_path, *NODES)
    told = seat.shows(output=output, error=error)
    seat.types(typed)
    assert started(tmp_path).code == code
    assert told.getvalue().startswith("end channel-1, which go on"), "a pipe takes the output"


def test_who_is_shown_nothing_is_told_to_say_yes(tmp_path: Path, seat: Seat) -> None:
    left_behind(tmp_path, *NODES)
    told = seat.shows(output=False, error=False)
    fault = started(tmp_path)
    assert fault.code == "E0733" and "--yes" in fault.fix and not told.getvalue()


def test_a_job_in_the_background_does_not_read(
    tmp_path: Path, seat: Seat, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(tmp_path, *NODES)
    told = seat.shows(output=True, error=True)
    monkeypatch.setattr("os.tcgetpgrp", lambda terminal: os.getpgrp() + 1)
    fault = started(tmp_path)
    assert fault.code == "E0733" and "--yes" in fault.fix and not told.getvalue()
    assert started(tmp_path, yes=True).code == "E0711"


@pytest.mark.parametrize("names", [(), ("mysql", "redis-1"), NODES])
def test_a_yes_and_stores_alone_need_no_question(
    tmp_path: Path, seat: Seat, names: tuple[str, ...]
) -> None:
    left_behind(tmp_path, *names)
    told = seat.shows(output=True, error=True)
    assert started(tmp_path, yes=names == NODES).code == "E0711"
    assert not told.getvalue()


@pytest.mark.parametrize("typed", [io.StringIO("n\n"), None])
def test_a_script_goes_on_and_is_told(
    tmp_path: Path, seat: Seat, monkeypatch: pytest.MonkeyPatch, typed: io.StringIO | None
) -> None:
    left_behind(tmp_path, *NODES)
    monkeypatch.setattr("sys.stdin", typed)
    told = seat.shows(output=True, error=True)
    assert started(tmp_path, json=False).code == "E0711"
    assert isinstance(sys.stdout, Stream) and not told.getvalue()
    assert "channel-1 are ended and started anew" in sys.stdout.getvalue()


def test_dev_hands_its_yes_on(tmp_path: Path, seat: Seat) -> None:
    left_behind(tmp_path, *NODES)
    seat.shows(output=False, error=False)
    with pytest.raises(OperatorError, match="E0711"):
        reload.dev(home=tmp_path, yes=True)
    with pytest.raises(OperatorError, match="E0733"):
        reload.dev(home=tmp_path)
