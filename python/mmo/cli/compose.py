"""From configuration and secrets to the settings of the rooms below.

Owns the one place where names of the configuration meet names of `StoreSettings`. Holds no value
of its own. Called by all commands that start a process or open the database.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmo.cluster.home import ClusterFile, Home, NodePorts
from mmo.cluster.secret_files import Secrets, read_secrets
from mmo.config import Config
from mmo.config.load import is_loopback
from mmo.errors import OperatorError

if TYPE_CHECKING:
    from mmo.node.passwords import PasswordPool
    from mmo.node.settings import NodeSettings
    from mmo.store.settings import StoreSettings

FIRST_GENERATION = 1
EDGES_AHEAD = 2  # logins that read their account while the password threads compute
NOBODY_LISTENS = -1


def store_settings(
    config: Config, secrets: Secrets, mysql_socket: str, redis_nodes: list[str]
) -> "StoreSettings":
    """Addresses, secrets and limits of both stores for one process."""
    from mmo.store.settings import StoreSettings

    mysql, redis, relay = config.mysql, config.redis, config.relay
    return StoreSettings(
        mysql_socket=mysql_socket,
        mysql_host=mysql.host,
        mysql_port=mysql.port,
        mysql_user=mysql.user,
        mysql_password=secrets.mysql,
        mysql_database=mysql.database,
        mysql_tls=bool(mysql.tls_ca_file) or bool(mysql.host and not is_loopback(mysql.host)),
        mysql_tls_ca_file=mysql.tls_ca_file,
        mysql_connections_max=mysql.connections_max,
        mysql_connect_ms=mysql.connect_ms,
        mysql_wait_ms=mysql.wait_ms,
        mysql_call_ms=mysql.call_ms,
        mysql_ping_idle_ms=mysql.ping_idle_ms,
        mysql_recycle_ms=mysql.recycle_ms,
        mysql_leak_ms=mysql.leak_ms,
        redis_nodes=tuple(_address(text) for text in redis_nodes),
        redis_user=redis.user,
        redis_password=secrets.redis,
        redis_connections_max=redis.connections_max,
        redis_connect_ms=redis.connect_ms,
        redis_timeout_ms=redis.timeout_ms,
        redis_read_ms=redis.read_ms,
        snapshot_ttl_s=redis.snapshot_ttl_s,
        presence_ttl_s=redis.presence_ttl_s,
        relay_every_ms=relay.every_ms,
        relay_batch_max=relay.batch_max,
        relay_waiting_max=relay.waiting_max,
        repair_every_ms=relay.repair_every_ms,
        repair_after_ms=relay.repair_after_ms,
        repair_batch_max=relay.repair_batch_max,
        sample_every_ms=config.economy.sample_every_ms,
        sample_players=config.economy.sample_players,
    )


def home_store_settings(home: Path, config: Config) -> "StoreSettings":
    """The stores of a home, for commands that look at them. Raises `OperatorError` E0701 when the
    home has no cluster, E0109 for its secrets."""
    place = Home(home)
    file = place.read()
    secrets = read_secrets(place, config)
    if file is None and not (config.mysql.is_external and config.redis.is_external):
        raise OperatorError("E0701", f"no cluster in {place.directory}", "mmo-cluster start")
    return store_settings(config, secrets, mysql_socket(config, file), redis_nodes(config, file))


def node_settings(
    config: Config, ports: NodePorts, admin_socket: str, generation: int = FIRST_GENERATION
) -> "NodeSettings":
    """Limits and times of one node."""
    from mmo.node.settings import NodeSettings

    values: dict[str, Any] = {
        name: getattr(section, name)
        for section in (config.login, config.node)
        for name in NodeSettings.__struct_fields__
        if hasattr(section, name)
    }
    values |= {
        "number": ports.number,
        "name": ports.name,
        "host": config.cluster.told_host,
        "link_host": config.cluster.link_host,
        "client_port": ports.client_port,
        "link_port": ports.link_port,
        "metrics_host": config.metrics.host,
        "metrics_port": ports.metrics_port if config.metrics.enabled else NOBODY_LISTENS,
        "admin_socket": admin_socket,
        "generation": generation,
        # One connection is left for claims, sweeps and the lease while groups commit.
        "groups_in_flight_max": config.mysql.connections_max - 1,
        "edges_running_max": config.login.password_threads + EDGES_AHEAD,
    }
    return NodeSettings(**values)


def mysql_socket(config: Config, file: ClusterFile | None) -> str:
    """The Unix socket of the database; empty where it is reached by TCP."""
    if config.mysql.is_external:
        return config.mysql.socket
    return file.mysql_socket if file is not None else ""


def redis_nodes(config: Config, file: ClusterFile | None) -> list[str]:
    """`host:port` of the Redis servers to begin with."""
    if config.redis.is_external:
        return list(config.redis.nodes)
    return file.redis_nodes if file is not None else []


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise OperatorError(
            "E0103", f"redis.nodes: {text} is not host:port", 'such as "10.0.0.1:6379"'
        )
    return host, int(port)


def password_pool(config: Config, secrets: Secrets) -> "PasswordPool":
    """Passwords as the whole cluster hashes them."""
    from mmo.node.passwords import PasswordPool

    login = config.login
    return PasswordPool(
        login.password_threads,
        login.password_memory_kib,
        login.password_passes,
        secrets.pepper,
        login.password_nice,
    )
