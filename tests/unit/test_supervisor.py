"""The supervisor where nothing goes as planned: starts that break, looks that fail."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmo.cli import supervise
from mmo.cluster.home import Home
from mmo.cluster.secret_files import ensure_secrets, read_secrets
from mmo.cluster.supervisor import Supervisor
from mmo.config.load import load_config
from mmo.errors import OperatorError, StoreUnavailable

CONFIG = load_config(environment={"MMO__SUPERVISOR__WATCH_MS": "10"}).config
DEADLINE_S = 5.0


def a_supervisor(tmp_path: Path) -> Supervisor:
    async def prepare(secrets: Any, socket: str) -> str:
        return "nothing"

    return Supervisor(Home(tmp_path), CONFIG, (), "", prepare)


async def test_a_start_that_breaks_for_an_unknown_reason_is_told_and_stopped(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    supervisor = a_supervisor(tmp_path)

    async def breaks(before: Any) -> None:
        raise OSError(28, "No space left on device")

    supervisor._start_all = breaks  # type: ignore[method-assign]
    await supervisor._start(None)
    assert supervisor.state == "failed"
    assert supervisor.error is not None and supervisor.error.code == "E0001"
    assert "No space left on device" in supervisor.error.cause
    assert "Traceback" in capfd.readouterr().err, "the log of the supervisor has the details"
    await asyncio.wait_for(supervisor._ended.wait(), DEADLINE_S)


async def test_a_look_that_fails_does_not_end_the_watch(tmp_path: Path) -> None:
    supervisor = a_supervisor(tmp_path)
    looks: list[int] = []
    enough = asyncio.Event()

    def look() -> None:
        looks.append(1)
        if len(looks) == 3:
            enough.set()
        raise OSError(24, "Too many open files")

    supervisor.stores = SimpleNamespace(look=look)  # type: ignore[assignment]
    supervisor.state = "ready"
    watching = asyncio.create_task(supervisor._watch())
    await asyncio.wait_for(enough.wait(), DEADLINE_S)
    watching.cancel()
    assert not watching.done()


async def test_a_database_that_does_not_take_the_schema_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path)
    ensure_secrets(home, CONFIG)
    nobody = str(tmp_path / "nobody.sock")
    with pytest.raises(OperatorError) as caught:
        await supervise.apply_schema(CONFIG, read_secrets(home, CONFIG), nobody)
    assert caught.value.code == "E0214"
    assert isinstance(caught.value.__cause__, StoreUnavailable)
