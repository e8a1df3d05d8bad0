"""What an arena asks of a cluster: a process that stands for a while is asked again."""

import asyncio
from pathlib import Path
from types import SimpleNamespace as Namespace
from typing import Any

import pytest

from mmo.cluster import control
from mmo.cluster.control import NotRunning
from mmo.proof import arena as arenas
from mmo.proof.arena import Arena


@pytest.fixture
def arena(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Arena:
    """Of a cluster that leaves every other question unanswered."""
    asked: list[str] = []

    async def answers(socket: Path, question: dict[str, Any], _: float) -> dict[str, Any]:
        asked.append(question["ask"])
        if len(asked) % 2:
            raise NotRunning(socket)
        return {"asked": list(asked), "of": socket.name}

    made = Arena(tmp_path)
    monkeypatch.setattr(made, "file", lambda: None)
    monkeypatch.setattr(made, "home", Namespace(socket=lambda name, _: Path(name)))
    monkeypatch.setattr(control, "ask_async", answers)
    monkeypatch.setattr(arenas, "LOOK_EVERY_S", 0.0)
    return made


def test_who_does_not_answer_at_once_is_asked_again(arena: Arena) -> None:
    assert asyncio.run(arena.stats("raid-1")) == {"asked": ["stats"] * 2, "of": "raid-1"}
    told = asyncio.run(arena.status())
    assert told == {"asked": [*["stats"] * 2, *["status"] * 2], "of": "supervisor"}


def test_who_never_answers_is_not_waited_for_for_ever(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arenas, "ANSWERED_S", -1.0)
    with pytest.raises(NotRunning):
        asyncio.run(arena.stats("raid-1"))


def test_what_changes_something_is_asked_once(arena: Arena) -> None:
    with pytest.raises(NotRunning):
        asyncio.run(arena.kill("raid-1"))
