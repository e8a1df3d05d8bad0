"""A supervisor that lives and says nothing is no cluster that is down: start is no advice then."""

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmo.cli import lifecycle, rolling, status
from mmo.cluster import control
from mmo.cluster.home import ClusterFile, Home
from mmo.cluster.process import ProcessId, identify
from mmo.errors import OperatorError

Question = Callable[[Path], object]

QUESTIONS: dict[str, Question] = {
    "status": lambda home: status.status(home, json=True),
    "start": lambda home: lifecycle.start(home, json=True),
    "kill": lambda home: lifecycle.kill("mysql", home),
    "drain": lambda home: rolling.drain("channel-1", home),
    "restart": lambda home: rolling.restart(["channel-1"], home),
    "scale": lambda home: rolling.scale("channel=3", home),
}


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home where somebody listens for the supervisor, and never answers."""
    for module, name in ((status, "ANSWER_S"), (lifecycle, "ANSWER_S"), (control, "PING_S")):
        monkeypatch.setattr(module, name, 0.05)
    with tempfile.TemporaryDirectory(prefix="mmo-") as short:  # its sockets are below it
        home = Home(Path(short))
        home.create()
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(home.socket("supervisor", None)))
            silent.listen()
            yield home


def watched_by(
    home: Home, supervisor: ProcessId | None, processes: dict[str, ProcessId] | None = None
) -> None:
    home.write(ClusterFile(1, "", 7_100, "", [], [], "", supervisor, processes or {}))


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_supervisor_that_lives_and_is_silent_is_told_as_such(home: Home, question: str) -> None:
    watched_by(home, identify(os.getpid()))
    with pytest.raises(OperatorError) as caught:
        QUESTIONS[question](home.directory)
    assert caught.value.code == "E0728" and str(os.getpid()) in caught.value.cause
    assert "mmo-cluster start" not in caught.value.fix


@pytest.mark.parametrize("question", [name for name in QUESTIONS if name != "start"])
def test_nodes_without_their_supervisor_are_told_as_such(home: Home, question: str) -> None:
    """To start is no advice: it would end them."""
    me = identify(os.getpid())
    assert me is not None
    watched_by(home, ProcessId(me.pid, 1), {"channel-1": me})
    with pytest.raises(OperatorError) as caught:
        QUESTIONS[question](home.directory)
    assert caught.value.code == "E0733" and "channel-1" in caught.value.cause


@pytest.mark.parametrize("question", [name for name in QUESTIONS if name != "start"])
@pytest.mark.parametrize("is_known", [True, False])
def test_a_supervisor_that_is_gone_is_none(home: Home, question: str, is_known: bool) -> None:
    watched_by(home, ProcessId(os.getpid(), 1) if is_known else None)
    with pytest.raises(OperatorError) as caught:
        QUESTIONS[question](home.directory)
    assert caught.value.code == "E0701"
