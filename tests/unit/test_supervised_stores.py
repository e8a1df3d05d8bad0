"""The stores of a machine under a supervisor: at what rhythm they start again, when they serve."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.ports import PORTS

from mmo.cli import status
from mmo.cluster.home import Home
from mmo.cluster.process import Child
from mmo.cluster.redis_servers import SERVERS
from mmo.cluster.secret_files import ensure_secrets, read_secrets
from mmo.cluster.stores import NOT_SERVING, Stores
from mmo.cluster.topology import take_block
from mmo.config.load import load_config
from mmo.errors import OperatorError

CONFIG = load_config(environment=PORTS).config


def stores_with(tmp_path: Path, mysql: Any, wait_ms: int) -> Stores:
    """Stores whose database is this object, and which mend what ends again after `wait_ms`."""
    settings = msgspec.structs.replace(
        CONFIG.supervisor, restart_ms_min=wait_ms, restart_ms_max=wait_ms
    )
    config = msgspec.structs.replace(CONFIG, supervisor=settings)
    home = Home(tmp_path)
    ensure_secrets(home, config)
    block = take_block(config, 0)
    block.close()
    stores = Stores(home, config, read_secrets(home, config), block)
    stores.mysql, stores._mysql_started = mysql, True
    return stores


class Dying:
    """A database that starts, answers, and has ended by the next look."""

    def __init__(self, fault: OperatorError | None = None) -> None:
        self.child, self.pid, self.starts, self.fault = None, 7, 0, fault
        self.runs = False

    def is_running(self) -> bool:
        return self.runs

    def start(self) -> None:
        self.starts += 1
        if self.fault is not None:
            raise self.fault

    def kill(self) -> None:
        self.runs = False


async def look(stores: Stores) -> None:
    """One look, and the end of what it began."""
    stores.look()
    await asyncio.gather(*stores._mending.values())


async def test_a_store_that_ends_again_and_again_is_started_at_a_slower_rhythm(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mysql = Dying()
    stores = stores_with(tmp_path, mysql, wait_ms=3_600_000)
    for _ in range(3):
        await look(stores)
    assert mysql.starts == 1, "the first one at once, and the next after its wait"
    mysql.runs = True
    stores.kill("mysql")
    await look(stores)
    assert mysql.starts == 2, "who was killed on request does not wait"
    told = capfd.readouterr().err.splitlines()
    assert len([line for line in told if "mysql does not run" in line]) == 2
    assert [line for line in told if "mysql serves again" in line]


async def test_a_rhythm_is_forgotten_with_its_window(tmp_path: Path) -> None:
    mysql = Dying()
    stores = stores_with(tmp_path, mysql, wait_ms=1)
    stores._mended_at["mysql"].append(time.monotonic() - 3_600)
    await look(stores)
    assert mysql.starts == 1 and len(stores._mended_at["mysql"]) == 1


class Rejoining:
    """Six cache servers, of which one ended; started again it answers, and serves when told to."""

    def __init__(self, ended: int) -> None:
        self.children: dict[int, Child] = {}
        self.ports = (0,) * SERVERS
        self.ended, self.asked, self.whole = ended, threading.Event(), False

    def is_running(self, number: int) -> bool:
        return number != self.ended

    def pid(self, number: int) -> int:
        return number

    def start_one(self, number: int) -> None:
        assert number == self.ended
        self.ended = 0

    def serves(self, number: int) -> bool:
        self.asked.set()
        return self.whole


async def test_a_cache_server_that_answers_and_does_not_serve_is_not_ready(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    servers, stores = Rejoining(2), stores_with(tmp_path, Dying(), wait_ms=1)
    stores.redis, stores.redis_ready = servers, True  # type: ignore[assignment]
    stores.mysql = None
    stores.look()
    await asyncio.to_thread(servers.asked.wait)
    row = stores.rows()["redis"]
    assert row["servers"][1]["running"] and not row["ready"]
    assert "serves again" not in capfd.readouterr().err
    servers.whole = True
    await asyncio.gather(*stores._mending.values())
    row = stores.rows()["redis"]
    assert row["ready"] and row["servers"][1]["error"] == ""
    assert "redis-2 serves again" in capfd.readouterr().err


async def test_a_cache_server_that_ends_before_it_serves_is_started_again(tmp_path: Path) -> None:
    servers, stores = Rejoining(2), stores_with(tmp_path, Dying(), wait_ms=0)
    stores.redis, stores.redis_ready = servers, True  # type: ignore[assignment]
    stores.mysql = None
    stores.look()
    await asyncio.to_thread(servers.asked.wait)
    servers.ended = 2
    await asyncio.gather(*stores._mending.values())
    error = stores.rows()["redis"]["servers"][1]["error"]
    assert error == NOT_SERVING
    servers.whole = True
    await look(stores)
    assert stores.restarts == {"redis-2": 2} and stores.rows()["redis"]["ready"]


async def test_why_a_store_does_not_start_is_in_the_status_and_in_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fault = OperatorError("E0202", "the database server did not start: exit code 1\nNo space left")
    stores = stores_with(tmp_path, Dying(fault), wait_ms=1)
    await look(stores)
    assert "mysql does not start: E0202 the database" in capfd.readouterr().err
    said = {"nodes": [], "stores": {**stores.rows(), "redis": {}}, "ports_moved": "moved from 1"}
    lines = status._below(said)
    assert "mysql  not ready  pid 7  1 restarts" in lines
    assert "mysql: E0202 the database server did not start: exit code 1" in lines
    assert "    No space left" in lines and "ports  moved from 1" in lines
