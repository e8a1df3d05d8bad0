"""pytest plugin of this package: `pytest -p mmo.testing.plugin`, or in `conftest.py`.

Owns the `world` and `simulation` fixtures. Never starts a server.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mmo.content import load_content
from mmo.roles import ROLES
from mmo.testing.simulation import Report, Setup, Simulation
from mmo.testing.world import World


@pytest.fixture
def world() -> Iterator[Callable[..., World]]:
    """`world(role, **settings)` makes a started node; all of a test are closed at its end."""
    made: list[World] = []

    def make(*arguments: Any, **settings: Any) -> World:
        made.append(World(*arguments, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def simulation() -> Callable[..., Report]:
    """`simulation(seed, …)` runs a whole cluster in virtual time under the misfortunes of a seed.
    A game of one's own names its `roles`, `content`, `systems_package` and the `walks` of its
    players; without, it is the game in the box."""

    def run(seed: int, setup: Setup | None = None, **game: Any) -> Report:
        chosen: dict[str, Any] = {"roles": ROLES, "content": None, **game}
        if chosen["content"] is None:
            chosen["content"] = load_content()
        return Simulation(seed, setup or Setup(), **chosen).run()

    return run
