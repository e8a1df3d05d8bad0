"""A real Redis Cluster of our own: three primaries and three replicas in one directory.

Owns the six server processes, their files and the forming of the cluster by its own commands.
Proves by process id and run id that the server which answers is the child that was started. Keeps
the data. Never touches a server that it did not start. Called by the supervisor and by tests.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from mmo.cluster.process import Child, ProcessId, end_process, identify, wait_until
from mmo.cluster.redis_protocol import RedisAnswerError, RedisConnection
from mmo.config import Redis
from mmo.errors import OperatorError

PRIMARIES = 3
SERVERS = 6
SLOTS = 16_384
HOST = "127.0.0.1"
_ANSWER_S = 2.0


def find_redis_server(configured: str) -> Path:
    """The server binary. Raises `OperatorError` E0213."""
    names = [configured] if configured else ["redis-server", "valkey-server"]
    for name in names:
        found = shutil.which(name)
        if found:
            return Path(found)
    raise OperatorError(
        "E0213",
        "no Redis server found: looked for " + ", ".join(names),
        "sudo apt-get install redis-server, or set redis.nodes or redis.server",
    )


def server_version(binary: Path) -> str:
    """What the binary says of itself, such as `7.0.15`."""
    done = subprocess.run([str(binary), "--version"], capture_output=True, text=True, check=False)
    for word in done.stdout.split():
        if word.startswith("v="):
            return word[2:]
    return done.stdout.strip()


class ManagedRedis:
    """Six servers, numbered 1..6; 1..3 begin as primaries. `start` blocks until it serves."""

    def __init__(
        self,
        directory: Path,
        settings: Redis,
        password: str,
        ports: Sequence[int],
        bus_ports: Sequence[int],
        *,
        dies_with_parent: bool = True,
    ) -> None:
        """`ports` and `bus_ports`: six free ports each, for clients and among the servers."""
        assert len(ports) == SERVERS and len(bus_ports) == SERVERS
        self.directory = directory
        self.settings = settings
        self.password = password
        self.ports = tuple(ports)
        self.bus_ports = tuple(bus_ports)
        self.children: dict[int, Child] = {}
        self.run_ids: dict[int, str] = {}
        self._dies_with_parent = dies_with_parent

    @property
    def addresses(self) -> list[str]:
        """`host:port` of every server, as `redis.nodes` wants them."""
        return [f"{HOST}:{port}" for port in self.ports]

    def start(self) -> None:
        """Spawn all, form the cluster if it is new, return when every slot is served and every
        replica knows its primary. Raises `OperatorError` E0213, E0208, E0209."""
        self.spawn()
        if not (self.directory / "formed").exists():
            self._form()
        self.wait_serving()

    def formed_elsewhere(self) -> bool:
        """Whether the cluster in the directory formed on other ports, by which its servers know
        each other. One that did not write them down, as it once was, is taken to be here."""
        try:
            words = (self.directory / "formed").read_text(encoding="ascii").split()
        except OSError:
            return False
        return words[SERVERS:] not in ([], self._port_words())

    def _port_words(self) -> list[str]:
        return [str(port) for port in (*self.ports, *self.bus_ports)]

    def spawn(self) -> None:
        """Start the six processes and see that they are ours and answer."""
        for number in range(1, SERVERS + 1):
            self._spawn_one(number)
        for number in range(1, SERVERS + 1):
            self._await_answer(number)

    def start_one(self, number: int) -> None:
        """Start one server again after it ended; returns when it answers, which is before it
        `serves`."""
        self._spawn_one(number)
        self._await_answer(number)

    def wait_serving(self) -> None:
        """Return when the whole cluster serves. Raises `OperatorError` E0208 at the deadline."""
        if not wait_until(self.is_serving, self.settings.start_ms / 1000, 0.02):
            raise self._did_not_start(1, "the cluster did not reach the state ok")

    def is_serving(self) -> bool:
        """Whether every server says that the cluster is ok and knows all slots."""
        return all(self.serves(number) for number in range(1, SERVERS + 1))

    def serves(self, number: int) -> bool:
        """Whether this server says so. One that was just started answers, and refuses every key
        until it has heard of the others."""
        try:
            with self.connect(number) as connection:
                facts = connection.fields("CLUSTER", "INFO")
        except (OSError, RedisAnswerError):
            return False
        return facts.get("cluster_state") == "ok" and facts.get("cluster_slots_ok") == str(SLOTS)

    def connect(self, number: int) -> RedisConnection:
        """A connection to server `number`. Raises `OSError` when it cannot be reached."""
        return RedisConnection(HOST, self.ports[number - 1], self.password, _ANSWER_S)

    def primary_numbers(self) -> list[int]:
        """Which of the living servers are primaries now."""
        primaries = []
        for number in range(1, SERVERS + 1):
            try:
                with self.connect(number) as connection:
                    if connection.fields("INFO", "replication").get("role") == "master":
                        primaries.append(number)
            except (OSError, RedisAnswerError):
                continue
        return primaries

    def wipe(self) -> None:
        """FLUSHALL on every primary: all cached values are gone, as after a disaster."""
        for number in self.primary_numbers():
            with self.connect(number) as connection:
                connection.ask("FLUSHALL")

    def pid(self, number: int) -> int:
        """Of one server process; 0 when there is none."""
        child = self.children.get(number)
        return child.pid if child else 0

    def is_running(self, number: int) -> bool:
        """Whether the process of one server lives."""
        child = self.children.get(number)
        return child is not None and child.is_running()

    def kill(self, number: int) -> None:
        """kill -9 of one server."""
        child = self.children.pop(number, None)
        if child is not None:
            child.kill()

    def stop(self) -> None:
        """End all; data is kept."""
        # Asked again and again: a server that is writing its first append-only file ignores one
        # SIGTERM.
        end = time.monotonic() + self.settings.stop_ms / 1000
        while any(child.is_running() for child in self.children.values()):
            for child in self.children.values():
                if child.is_running():
                    child.signal(signal.SIGTERM)
            for child in self.children.values():
                child.wait(0.25)
            if time.monotonic() >= end:
                break
        for child in self.children.values():
            child.kill()
        for number in list(self.children):
            self._identity_file(number).unlink(missing_ok=True)
        self.children.clear()

    def _spawn_one(self, number: int) -> None:
        binary = find_redis_server(self.settings.server)
        home = self.directory / str(number)
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._end_leftover(number)
        path = home / "redis.conf"
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(self._configuration(number, home))
        child = Child(
            [str(binary), str(path)], home / "server.log", dies_with_parent=self._dies_with_parent
        )
        self.children[number] = child
        self._identity_file(number).write_text(
            f"{child.identity.pid} {child.identity.started}", encoding="ascii"
        )

    def _configuration(self, number: int, home: Path) -> str:
        settings = self.settings
        lines = [
            f"port {self.ports[number - 1]}",
            f"cluster-port {self.bus_ports[number - 1]}",
            f"bind {HOST}",
            "protected-mode yes",
            f'dir "{home.absolute()}"',
            "daemonize no",
            'logfile ""',
            f"requirepass {self.password}",
            f"masterauth {self.password}",
            "cluster-enabled yes",
            "cluster-config-file nodes.conf",
            f"cluster-node-timeout {settings.node_timeout_ms}",
            "cluster-require-full-coverage no",
            "cluster-replica-validity-factor 0",
            f"cluster-announce-ip {HOST}",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "repl-diskless-sync yes",
            "repl-diskless-sync-delay 0",
            f"maxmemory {settings.memory_bytes_max}",
            "maxmemory-policy volatile-lru",
            "tcp-backlog 511",
            "shutdown-timeout 1",  # all six stop together: no replica to wait for
        ]
        return "\n".join(lines) + "\n"

    def _await_answer(self, number: int) -> None:
        child = self.children[number]
        if not wait_until(
            lambda: self._facts(number) is not None or not child.is_running(),
            self.settings.start_ms / 1000,
        ):
            raise self._did_not_start(number, "no answer within redis.start_ms")
        facts = self._facts(number)
        if not child.is_running():
            raise self._did_not_start(number, f"exit code {child.exit_code()}")
        if facts is None or facts.get("process_id") != str(child.pid):
            child.kill()
            raise OperatorError(
                "E0209",
                f"another Redis server answers on port {self.ports[number - 1]}",
                "stop it or use another --home",
            )
        self.run_ids[number] = facts["run_id"]

    def _facts(self, number: int) -> dict[str, str] | None:
        try:
            with self.connect(number) as connection:
                facts = connection.fields("INFO", "server")
                # While the append-only file is read the server answers INFO and little else.
                loading = connection.fields("INFO", "persistence").get("loading")
        except OSError:
            return None
        except RedisAnswerError as error:
            # Somebody else's server, with another password: a fact that is not ours.
            return None if str(error).startswith("LOADING") else {"process_id": "unknown"}
        return None if loading == "1" else facts

    def _form(self) -> None:
        """Give out slots and epochs, introduce everyone to server 1, then name the replicas."""
        names: dict[int, str] = {}
        for number in range(1, SERVERS + 1):
            with self.connect(number) as connection:
                connection.ask("CLUSTER", "RESET", "HARD")
                names[number] = connection.text("CLUSTER", "MYID")
                connection.ask("CLUSTER", "SET-CONFIG-EPOCH", number)
                if number <= PRIMARIES:
                    first = SLOTS * (number - 1) // PRIMARIES
                    last = SLOTS * number // PRIMARIES - 1
                    connection.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        for number in range(1, SERVERS + 1):
            with self.connect(number) as connection:
                for other in range(1, SERVERS + 1):
                    if other != number:
                        connection.ask(
                            "CLUSTER",
                            "MEET",
                            HOST,
                            self.ports[other - 1],
                            self.bus_ports[other - 1],
                        )
        for number in range(PRIMARIES + 1, SERVERS + 1):
            self._make_replica(number, names[number - PRIMARIES])
        words = (*names.values(), *self._port_words())
        (self.directory / "formed").write_text("\n".join(words), encoding="ascii")

    def _make_replica(self, number: int, primary: str) -> None:
        def accepted() -> bool:
            try:
                with self.connect(number) as connection:
                    connection.ask("CLUSTER", "REPLICATE", primary)
            except RedisAnswerError:  # The primary is not known here yet.
                return False
            return True

        if not wait_until(accepted, self.settings.start_ms / 1000, 0.02):
            raise self._did_not_start(number, "it never learned of its primary")

    def _end_leftover(self, number: int) -> None:
        """End a server that an earlier, killed parent left in this very directory."""
        try:
            words = self._identity_file(number).read_text(encoding="ascii").split()
            left = ProcessId(int(words[0]), int(words[1]))
        except (OSError, ValueError, IndexError):
            return
        if identify(left.pid) == left:
            end_process(left, self.settings.stop_ms / 1000)

    def _identity_file(self, number: int) -> Path:
        return self.directory / str(number) / "server.identity"

    def _did_not_start(self, number: int, why: str) -> OperatorError:
        child = self.children.get(number)
        tail = child.log_tail(4) if child else ""
        return OperatorError(
            "E0208",
            f"redis-{number} did not start: {why}\n{tail}",
            f"read {self.directory / str(number) / 'server.log'}",
        )
