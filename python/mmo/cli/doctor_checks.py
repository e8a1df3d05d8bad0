"""The checks of `doctor`, each a function `(configuration, home) -> Finding`.

Owns what is looked at and the bounds beyond which it is a warning or a failure. Changes nothing.
Called by `doctor`.
"""

import ctypes
import os
import resource
import shutil
import socket
import sys
from pathlib import Path
from typing import Literal

import msgspec

from mmo.cli.open_files import wanted
from mmo.cluster.control import ask
from mmo.cluster.home import Home
from mmo.cluster.process import is_alive
from mmo.config import Config
from mmo.config.load import is_loopback
from mmo.errors import OperatorError

DISK_BYTES_MIN = 1 << 30
MEMORY_BYTES_MIN = 768 << 20
CLOCK_MS_MAX = 1_000
_ADJTIMEX_UNSYNCHRONISED = 5
_TIMEX_BYTES = 256


class Finding(msgspec.Struct, frozen=True):
    """What a check saw; `fix` when it is not ok."""

    verdict: Literal["ok", "warning", "failed"]
    text: str
    fix: str = ""


def check_python(config: Config, home: Home) -> Finding:
    """Which interpreter runs this, and whether it is slowed down."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.implementation.name != "cpython":
        return Finding("failed", f"{sys.implementation.name} {version}", "use CPython")
    if sys.flags.dev_mode or sys.gettrace() is not None:
        return Finding("warning", f"{version} in development mode: slow", "run without -X dev")
    return Finding("ok", f"{version} {sys.executable}")


def check_core(config: Config, home: Home) -> Finding:
    """Whether the Rust core is built, and in release mode."""
    try:
        from mmo import _core
    except ImportError as error:
        return Finding("failed", f"not built: {error}", "maturin develop --release")
    if _core.BUILD_PROFILE != "release":
        return Finding("warning", "a debug build: many times slower", "maturin develop --release")
    return Finding("ok", "release build")


def check_core_settings(config: Config, home: Home) -> Finding:
    """Whether core and configuration know the same settings."""
    from mmo import _core
    from mmo.config import CoreSettings

    ours = set(CoreSettings.__struct_fields__)
    theirs = set(_core.SETTINGS_FIELDS)
    if ours != theirs:
        text = "core and configuration differ in " + ", ".join(sorted(ours ^ theirs))
        return Finding("failed", text, "maturin develop --release")
    return Finding("ok", f"{len(ours)} settings on both sides")


def check_driver(config: Config, home: Home) -> Finding:
    """Whether the drivers of both stores are there, and new enough."""
    try:
        import mysql.connector
        import redis
    except ImportError as error:
        return Finding("failed", f"not installed: {error.name}", "pip install -e .")
    versions = f"mysql-connector {mysql.connector.__version__}, redis-py {redis.__version__}"
    if mysql.connector.version.VERSION < (9, 4):
        return Finding("failed", versions, "pip install 'mysql-connector-python>=26.7'")
    return Finding("ok", f"{versions}, pure Python mode")


def check_open_files(config: Config, home: Home) -> Finding:
    """Whether a full node may open as many descriptors as it needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted(config)
    text = f"{soft} allowed, {hard} at most, {needed} wanted by a full node"
    if hard != resource.RLIM_INFINITY and hard < needed:
        return Finding("warning", text, f"ulimit -Hn {needed}, or lower net.connections_max")
    return Finding("ok", text)


def check_ports(config: Config, home: Home) -> Finding:
    """Whether a block of ports is free, or ours, and the ports that the configuration names."""
    from mmo.cluster.topology import configured_ports, listeners_of, scaled, take_block

    file = home.read()
    if file is not None and supervisor_answers(home):
        return Finding("ok", f"{file.port_first} to {file.port_first + 99} are ours and in use")
    named = listeners_of(config, [configured_ports(entry) for entry in config.nodes])
    taken = [one.taken_by() for one in named if one.is_taken()]
    if taken:
        fix = "unless that is the node itself: stop it, or set another port in its [[nodes]] entry"
        return Finding("warning", "; ".join(taken), fix)
    remembered, kept = (file.port_first, file.nodes) if file is not None else (0, [])
    added, removed = (file.added, file.removed) if file is not None else ([], [])
    block = take_block(config, remembered, scaled(config.nodes, added, removed), kept)
    block.close()
    if block.lost:
        text = f"{block.lost}; of this home's ports from {remembered}; {block.first} is free"
        fix = "stop that: else the next start moves, and clients need the new ports"
        return Finding("warning", text, fix)
    return Finding("ok", f"{block.first} to {block.first + 99} are free")


def check_redis_server(config: Config, home: Home) -> Finding:
    """Which Redis server would run."""
    from mmo.cluster.redis_servers import find_redis_server, server_version

    if config.redis.is_external:
        return Finding("ok", "external: " + ", ".join(config.redis.nodes))
    binary = find_redis_server(config.redis.server)
    version = server_version(binary)
    if version.split(".")[0].isdecimal() and int(version.split(".")[0]) < 7:
        return Finding("failed", f"{binary} {version}", "Redis 7 or newer, or Valkey")
    return Finding("ok", f"{binary} {version}")


def check_mysql_server(config: Config, home: Home) -> Finding:
    """Which database server would run."""
    from mmo.cluster.mysql_server import find_mariadbd, server_version

    if config.mysql.is_external:
        return Finding("ok", f"external: {config.mysql.host or config.mysql.socket}")
    binary = find_mariadbd(config.mysql.server)
    version = server_version(binary)
    if "MariaDB" not in version:
        text = f"{binary} {version} is not MariaDB"
        return Finding("failed", text, "mariadb-server-core, or an external [mysql]")
    return Finding("ok", f"{binary} {version}")


def check_disk(config: Config, home: Home) -> Finding:
    """Whether the home has room."""
    place = home.directory
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    text = f"{free >> 20} MiB free at {place}"
    if free < DISK_BYTES_MIN:
        return Finding("failed", text, f"free {DISK_BYTES_MIN >> 20} MiB or use another --home")
    return Finding("ok", text)


def check_memory(config: Config, home: Home) -> Finding:
    """Whether a whole cluster fits into what is free."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    facts = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines}
    free = facts["MemAvailable"]
    text = f"{free >> 20} MiB available"
    if free < MEMORY_BYTES_MIN and not supervisor_answers(home):
        return Finding("warning", text, f"{MEMORY_BYTES_MIN >> 20} MiB for a whole cluster")
    return Finding("ok", text)


def check_cores(config: Config, home: Home) -> Finding:
    """How many cores there are, and how busy."""
    count = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    if load > 2 * count:
        text = f"{count} cores, load {load:.1f}"
        return Finding("warning", text, "the machine is busy: times will be long")
    return Finding("ok", f"{count} cores, load {load:.1f}")


def check_clock(config: Config, home: Home) -> Finding:
    """Whether the kernel believes its clock; tokens between machines forgive two seconds."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    state = ctypes.CDLL(None).adjtimex(buffer)
    single = is_loopback(config.cluster.link_host)
    if state == _ADJTIMEX_UNSYNCHRONISED and not single:
        return Finding("warning", "not synchronised", "run chrony or systemd-timesyncd")
    if state == _ADJTIMEX_UNSYNCHRONISED:
        return Finding("ok", "not synchronised, and all servers are on this machine")
    return Finding("ok", "synchronised" if state >= 0 else "unknown to the kernel")


def check_secrets(config: Config, home: Home) -> Finding:
    """Whether the secrets are readable by their owner only."""
    from mmo.cluster.secret_files import read_secrets, too_open

    if not home.secrets.exists() and config.cluster.profile == "dev":
        return Finding("ok", "none yet: the first start makes them")
    open_files = too_open(home)
    if open_files:
        names = " ".join(str(path) for path in open_files)
        return Finding("failed", f"others may read {names}", f"chmod 600 {names}")
    read_secrets(home, config)
    return Finding("ok", "readable by the owner only")


def check_tls(config: Config, home: Home) -> Finding:
    """Plain TCP is for loopback and Unix sockets only."""
    if config.mysql.host and not is_loopback(config.mysql.host) and not config.mysql.tls_ca_file:
        return Finding(
            "failed", f"plain TCP to the database at {config.mysql.host}", "set mysql.tls_ca_file"
        )
    if not is_loopback(config.cluster.host) and not config.net.tls_certificate_file:
        return Finding(
            "warning",
            f"clients reach {config.cluster.host} in plain TCP",
            "set net.tls_certificate_file and net.tls_key_file",
        )
    return Finding("ok", "plain TCP on loopback only")


def check_socket_paths(config: Config, home: Home) -> Finding:
    """Whether the sockets have a directory, and paths that fit."""
    file = home.read()
    if file is not None and not Path(file.socket_directory).is_dir():
        text = f"{file.socket_directory} is gone"
        return Finding("warning", text, "mmo-cluster stop, then start makes a new one")
    longest = len(os.fsencode(home.directory / "run")) + 47
    return Finding("ok", f"longest path {longest} bytes" + (", moved" if longest > 100 else ""))


def check_backlog(config: Config, home: Home) -> Finding:
    """Whether the kernel allows the backlog that the listeners ask for."""
    limit = int(Path("/proc/sys/net/core/somaxconn").read_text(encoding="ascii"))
    if limit < config.net.accept_backlog:
        text = f"the kernel allows {limit}, net.accept_backlog asks for {config.net.accept_backlog}"
        return Finding("warning", text, f"sysctl net.core.somaxconn={config.net.accept_backlog}")
    return Finding("ok", f"{config.net.accept_backlog} of {limit}")


def check_leftovers(config: Config, home: Home) -> Finding:
    """Whether processes run that nobody watches."""
    file = home.read()
    if file is None:
        return Finding("ok", "nothing was ever started here")
    alive = [name for name, process in file.processes.items() if is_alive(process)]
    if alive and not supervisor_answers(home):
        text = f"{len(alive)} processes without a supervisor: {' '.join(alive)}"
        fix = "mmo-cluster start --yes ends them and starts anew, when players may be interrupted"
        return Finding("warning", text, fix)
    return Finding("ok", f"{len(alive)} processes, all watched" if alive else "none")


def check_schema(config: Config, home: Home) -> Finding:
    """Whether the database has run all migrations."""
    import asyncio

    from mmo.cli.compose import home_store_settings
    from mmo.store import migrate

    if not config.mysql.is_external and not supervisor_answers(home):
        return Finding("ok", "not looked at: the cluster does not run")
    left = asyncio.run(migrate.plan(home_store_settings(home.directory, config)))
    if left:
        return Finding("failed", f"{len(left)} statements pending", "mmo-cluster migrate apply")
    return Finding("ok", "up to date")


def check_address(config: Config, home: Home) -> Finding:
    """Whether the addresses of the configuration are this machine's."""
    hosts = {
        "cluster.host": config.cluster.host,
        "cluster.link_host": config.cluster.link_host,
        "cash.host": config.cash.host,
    }
    for name, host in hosts.items():
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind) as probe:
                probe.bind(address)
        except OSError as error:
            text = f"{name} {host}: {error.strerror or error}"
            return Finding("failed", text, f"set {name} to an address of this machine")
    text = f"{config.cluster.host}, links on {config.cluster.link_host}"
    return Finding("ok", f"{text}, payments on {config.cash.host}")


def supervisor_answers(home: Home) -> bool:
    """Whether the cluster of this home runs."""
    try:
        ask(home.socket("supervisor", home.read()), {"ask": "ping"}, 1.0)
    except OperatorError:
        return False
    return True
