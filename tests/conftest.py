"""Real stores for tests that need them: one MariaDB and one Redis Cluster a session, on first use.

Owns the two servers and the settings that reach them; every test that writes takes a database or
user names of its own. Used by `contract`, `services` and whoever asks for the fixtures.
"""

import asyncio
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis
import msgspec
import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from mmo.cluster.mysql_server import ManagedMysql
from mmo.cluster.redis_protocol import RedisConnection
from mmo.cluster.redis_servers import ManagedRedis
from mmo.cluster.topology import take_block
from mmo.config.load import load_config
from mmo.store import StoreSettings, migrate
from mmo.store.connection import Connection, Statement
from mmo.store.loops import LOOP_ENDED

WORDS_OF_PROOFS = ("MMO_SEEDS", "MMO_FIRST_SEED", "MMO_PROCESSES", "MMO_PACKETS", "MMO_BUGS")
"""What makes a proof shorter or another one: a test that wants it says so itself. A bug that
`MMO_PLANT` names stays, so that the tests are seen to find it."""
for word in WORDS_OF_PROOFS:
    os.environ.pop(word, None)

SECRET = "test secret with a ' in it"
REDIS_TIMEOUT_S = 5.0

# How long an example takes says how busy the machine is, not whether the rule is right.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")

StoreSettingsOf = Callable[..., StoreSettings]


@pytest.fixture(autouse=True)
def no_loop_ends_unseen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A loop of the store that ended by a bug ends a node; asyncio alone would log it and go on."""
    told: list[dict[str, Any]] = []
    loops: Any = asyncio.BaseEventLoop
    tell = loops.default_exception_handler

    def tells(loop: Any, context: dict[str, Any]) -> None:
        told.append(context)
        tell(loop, context)

    monkeypatch.setattr(loops, "default_exception_handler", tells)
    yield
    assert not [context for context in told if context.get("message") == LOOP_ENDED]


class Whole(LoadScopeScheduling):  # type: ignore[misc]
    """Where tests run in two processes, a file stays whole, in its order, and so do the house
    tests, which share the parsed tree. A case that ends in `@GROUP` goes with that group."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, case = nodeid.partition("::")
        group = case.rpartition("@")[2].rstrip("]") if "@" in case else ""
        return group or ("house" if file.startswith("tests/house/") else file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Whole:
    """Asked by xdist, in place of `--dist`."""
    config.option.loadscopereorder = False
    return Whole(config, log)


@pytest.fixture(scope="session")
def mysql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagedMysql]:
    """A MariaDB of our own. Tests that kill or stop it start it again before they end."""
    config = load_config(environment={}).config
    server = ManagedMysql(tmp_path_factory.mktemp("mysql") / "server", config.mysql, SECRET)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagedRedis]:
    """A Redis Cluster of our own: three primaries, three replicas."""
    config = load_config(environment={}).config
    block = take_block(config, 0)
    servers = ManagedRedis(
        Path(tmp_path_factory.mktemp("redis")),
        config.redis,
        "redis-secret",
        block.redis_ports,
        block.redis_bus_ports,
    )
    servers.start()
    yield servers
    servers.stop()
    block.close()


def settings_for(mysql: ManagedMysql, redis: ManagedRedis | None, database: str) -> StoreSettings:
    """Settings with the limits that tests want: short deadlines, no background rhythm that
    matters."""
    addresses = [text.rpartition(":") for text in redis.addresses] if redis else []
    return StoreSettings(
        mysql_socket=str(mysql.socket_path),
        mysql_host="",
        mysql_port=0,
        mysql_user=mysql.user,
        mysql_password=mysql.password,
        mysql_database=database,
        mysql_tls=False,
        mysql_tls_ca_file="",
        mysql_connections_max=4,
        mysql_connect_ms=2_000,
        mysql_wait_ms=3_000,
        mysql_call_ms=5_000,
        mysql_ping_idle_ms=10_000,
        mysql_recycle_ms=600_000,
        mysql_leak_ms=60_000,
        redis_nodes=tuple((host, int(port)) for host, _, port in addresses),
        redis_user="",
        redis_password=redis.password if redis else "",
        redis_connections_max=8,
        redis_connect_ms=10_000,  # nothing here hangs: what is away refuses at once
        redis_timeout_ms=10_000,
        redis_read_ms=10_000,
        snapshot_ttl_s=900,
        presence_ttl_s=60,
        relay_every_ms=3_600_000,  # tests call the relay themselves
        relay_batch_max=64,
        relay_waiting_max=1_000,
        repair_every_ms=3_600_000,
        repair_after_ms=0,
        repair_batch_max=100,
    )


def forget_all(redis: ManagedRedis) -> None:
    """Empty every primary."""
    for address in redis.addresses:
        host, _, port = address.rpartition(":")
        with RedisConnection(host, int(port), redis.password, REDIS_TIMEOUT_S) as server:
            if server.fields("INFO", "replication")["role"] == "master":
                server.ask("FLUSHALL")


@pytest.fixture(scope="session")
def fresh_database(mysql_server: ManagedMysql) -> Callable[[bool], str]:
    """`fresh_database(migrated)`: the name of a new database."""
    numbers = itertools.count(1)

    async def make(name: str, migrated: bool) -> None:
        settings = settings_for(mysql_server, None, mysql_server.database)
        connection = await Connection.open(settings, 0.0)
        await connection.execute(Statement.verbatim(f"CREATE DATABASE `{name}`"))
        await connection.close()
        if migrated:
            await migrate.apply(settings_for(mysql_server, None, name))

    def fresh(migrated: bool = True) -> str:
        name = f"{mysql_server.database}_{next(numbers)}"
        with ThreadPoolExecutor(1) as thread:  # the asking test may run on a loop already
            thread.submit(lambda: asyncio.run(make(name, migrated))).result()
        return name

    return fresh


@pytest.fixture(scope="module")
def store_settings(
    mysql_server: ManagedMysql, redis_servers: ManagedRedis, fresh_database: Callable[..., str]
) -> StoreSettingsOf:
    """`store_settings(**changes)`: both stores, one migrated database for all tests of a module.
    Each database counts its users from 1, so what Redis kept of another module's users goes."""
    forget_all(redis_servers)
    shared = settings_for(mysql_server, redis_servers, fresh_database())

    def of(**changes: object) -> StoreSettings:
        return msgspec.structs.replace(shared, **changes)

    return of
