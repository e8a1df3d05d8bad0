"""pytest plugin of this package: `pytest -p mmo.testing.plugin`, or in `conftest.py`.

Owns the `world` fixture. Never starts a server.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

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
