"""Real stores for one bench: a MariaDB server and a Redis Cluster in a directory of their own.

Owns their start and end and the settings that a measured process is told. Never touches a cluster's
home. Called by the benches of commits.
"""

import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from mmo.cluster.mysql_server import ManagedMysql
from mmo.cluster.redis_servers import ManagedRedis
from mmo.cluster.topology import take_block
from mmo.config import Config
from mmo.config.load import load_config


class BenchStores:
    """Both stores, running."""

    def __init__(self, directory: Path, config: Config, mysql: ManagedMysql, redis: ManagedRedis):
        self.mysql = mysql
        self.redis = redis
        self.settings_file = directory / "store.json"
        self.password_file = directory / "mysql-password"
        self.password_file.touch(0o600)
        self.password_file.write_text(mysql.password)
        self.settings_file.touch(0o600)
        self.settings_file.write_text(json.dumps(store_settings(config, mysql, redis)))

    def pids(self) -> list[int]:
        """The database's process, then those of the cache."""
        servers = range(1, len(self.redis.addresses) + 1)
        return [self.mysql.pid, *(self.redis.pid(number) for number in servers)]


@contextmanager
def stores(directory: Path) -> Iterator[BenchStores]:
    """Start both side by side; end both whatever happens."""
    config = load_config(None).config
    block = take_block(config, 0)
    mysql = ManagedMysql(directory / "mysql", config.mysql, secrets.token_hex(16))
    redis = ManagedRedis(
        directory / "redis",
        config.redis,
        secrets.token_hex(16),
        block.redis_ports,
        block.redis_bus_ports,
    )
    try:
        # A child dies with the thread that spawned it, so the two threads stay until the end.
        with ThreadPoolExecutor(2) as both:
            for started in [both.submit(mysql.start), both.submit(redis.start)]:
                started.result()
            yield BenchStores(directory, config, mysql, redis)
    finally:
        redis.stop()
        mysql.stop()
        block.close()


def store_settings(config: Config, mysql: ManagedMysql, redis: ManagedRedis) -> dict[str, object]:
    """The fields of `mmo.store.settings.StoreSettings`, with production's limits."""
    of_mysql = {
        f"mysql_{name}": getattr(config.mysql, name)
        for name in (
            *("user", "database", "connections_max", "connect_ms", "wait_ms", "call_ms"),
            *("ping_idle_ms", "recycle_ms", "leak_ms"),
        )
    }
    of_redis = {
        f"redis_{name}": getattr(config.redis, name)
        for name in ("user", "connections_max", "connect_ms", "timeout_ms", "read_ms")
    }
    of_relay = {
        name: getattr(config.relay, name.removeprefix("relay_"))
        for name in (
            *("relay_every_ms", "relay_batch_max", "relay_waiting_max", "repair_every_ms"),
            *("repair_after_ms", "repair_batch_max"),
        )
    }
    addresses = [address.rpartition(":") for address in redis.addresses]
    return {
        **of_mysql,
        **of_redis,
        **of_relay,
        "mysql_socket": str(mysql.socket_path),
        "mysql_host": "",
        "mysql_port": 0,
        "mysql_password": mysql.password,
        "mysql_tls": False,
        "mysql_tls_ca_file": "",
        "redis_nodes": [(host, int(port)) for host, _, port in addresses],
        "redis_password": redis.password,
        "snapshot_ttl_s": config.redis.snapshot_ttl_s,
        "presence_ttl_s": config.redis.presence_ttl_s,
    }
