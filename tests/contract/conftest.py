"""The store of the contract tests: each asks the dicts and the real servers alike."""

from collections.abc import AsyncIterator

import pytest
from tests.contract.stores import Cluster

from mmo.store import Store


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.services)])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """The same questions to both."""
    made = Cluster(request, request.param)
    yield made
    await made.close()


@pytest.fixture
async def store(cluster: Cluster) -> Store:
    """One server's store."""
    return await cluster.store()
