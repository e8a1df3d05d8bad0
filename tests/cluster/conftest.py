"""The cluster that tests of this folder share: started once, by the product's own command."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.cluster.seen import OVERLAY

from mmo.proof.arena import Arena


@pytest.fixture(scope="session")
def arena() -> Iterator[Arena]:
    """A cluster in a home of its own. A test that kills a part waits until it is repaired."""
    made = Arena(None, OVERLAY)
    asyncio.run(made.__aenter__())
    try:
        yield made
    finally:
        asyncio.run(made.__aexit__())
