"""Fixtures of the simulations."""

from collections.abc import Iterator

import pytest
from tests.sim.realm import Realm


@pytest.fixture
def realm() -> Iterator[Realm]:
    """A cluster in this process."""
    made = Realm()
    yield made
    made.close()
