"""The pytest plugin of this package: where it is installed, pytest finds it by itself.

Owns the `world` and `simulation` fixtures. Never starts a server. Every test run of whoever has
this package installed loads this module, so it imports nothing else of ours before a fixture is
used.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from mmo.testing.simulation import Report, Setup, WalkOf
    from mmo.testing.world import World


@pytest.fixture
def world() -> "Iterator[Callable[..., World]]":
    """`world(role, **settings)` makes a started node; all of a test are closed at its end."""
    from mmo.testing.world import World

    made: list[World] = []

    def make(*arguments: Any, **settings: Any) -> World:
        made.append(World(*arguments, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def simulation() -> "Callable[..., Report]":
    """`simulation(seed, …)` runs a whole cluster in virtual time under the misfortunes of a seed.
    A game of one's own names its folder (`game`) and what its players do (`walks`); without, it is
    the game in the box. `coordinator`: the module of reloads; some seeds change the code then."""
    from mmo.content import load_content
    from mmo.roles import ROLES
    from mmo.testing.simulation import Setup, Simulation

    def run(
        seed: int,
        setup: "Setup | None" = None,
        *,
        game: "Path | None" = None,
        walks: "tuple[WalkOf, ...]" = (),
        coordinator: "ModuleType | None" = None,
    ) -> "Report":
        chosen, tables = setup or Setup(), load_content()
        return Simulation(seed, chosen, ROLES, tables, walks, coordinator, game).run()

    return run
