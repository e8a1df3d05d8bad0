"""What lies on the disk while a reload looks at it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.reload_game import bundle_of

from mmo.cli.desk import Desk
from mmo.cli.switching import Switched
from mmo.cluster.home import ClusterFile, Home
from mmo.config.load import load_config
from mmo.node.bundle import Bundle
from mmo.store import CodeSwitch
from mmo.testing.fake_store import FakeStore
from mmo.testing.fake_tables import FakeDatabase

CONFIG = load_config(environment={}).config


class Row:
    """What decides by now."""

    generation, next, bundle = 1, 2, "before"


class FakeCoordinator:
    """Takes whatever it is given."""

    def __init__(self) -> None:
        self.steps_ms: dict[str, float] = {}
        self.differences: list[str] = []
        self.switched: list[Bundle] = []

    async def row(self) -> Row:
        return Row()

    async def bundle(self, digest: str) -> Bundle:
        return bundle_of("before")

    async def keep(self, bundle: Bundle) -> None:
        pass

    async def living(self) -> list[Any]:
        return []

    async def started_ms(self) -> int:
        return 0

    async def switch(self, bundle: Bundle, note: str, known: Any) -> Switched:
        self.switched.append(bundle)
        return Switched(2, [], 0.0, ["systems/words.py"], 0.0, [])


def desk_of(home: Path, store: Any) -> Desk:
    """A desk whose store is this one and whose checker takes everything."""

    async def checks(packed: bytes, digest: str) -> None:
        pass

    desk = Desk(Home(home), ClusterFile(1, "", 7_100, "", [], [], ""), CONFIG)
    desk._checker = SimpleNamespace(check=checks)  # type: ignore[assignment]
    desk._store = store
    return desk


async def test_a_rolling_restart_goes_back_when_the_code_of_before_lies_there_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = bundle_of("before"), bundle_of("after")
    store = FakeStore(FakeDatabase())
    assert await store.switch_code(CodeSwitch("reload", 2, before.digest, 1, "ann@here"))
    assert await store.switch_code(CodeSwitch("rolling", 3, after.digest, 2, "ann@here"))
    monkeypatch.setattr("mmo.cli.desk.read_sources", lambda config: SimpleNamespace(bundle=before))
    assert await desk_of(tmp_path, store).begin_rolling() == 2
    row = await store.code()
    assert (row.generation, row.bundle, row.rolling_from) == (2, before.digest, 3)


async def test_a_save_that_goes_on_while_it_is_checked_is_taken_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editor, or a checkout of many files, may pause in the middle of what still parses."""
    half, whole = bundle_of("half"), bundle_of("whole")
    lies = iter([half, whole, whole, whole])
    monkeypatch.setattr(
        "mmo.cli.desk.read_sources", lambda config: SimpleNamespace(bundle=next(lies))
    )

    async def forgets(oldest: int, unused_ms: int) -> int:
        return 0

    desk = desk_of(tmp_path, SimpleNamespace(forget_bundles=forgets))
    coordinator = desk.coordinator = FakeCoordinator()  # type: ignore[assignment]
    done = await desk.reload()
    assert done.generation == 2
    assert [one.digest for one in coordinator.switched] == [whole.digest]
