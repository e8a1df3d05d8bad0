"""The home directory of a cluster on one machine: where everything is, and who runs in it.

Owns the paths, `cluster.json` (ports, nodes, processes) and its atomic writing. Never starts
anything. Called by the supervisor, by nodes that look for their ports and by the command line.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mmo.cluster.process import ProcessId, is_alive
from mmo.cluster.unwritable import unwritable
from mmo.errors import OperatorError

SOCKET_PATH_BYTES_MAX = 100  # the kernel's limit is 108 with the final NUL
_LONGEST_SOCKET_NAME = 46  # a node name of 41 characters and `.sock`


class NodePorts(msgspec.Struct, frozen=True):
    """A node of the home with the ports that are kept for it; 0: none. Whether it listens on one is
    its role's: only raid servers take datagrams."""

    name: str
    role: str
    number: int
    client_port: int
    link_port: int
    datagram_port: int
    metrics_port: int = 0


class AddedNode(msgspec.Struct, frozen=True):
    """A node that `scale` or `start --channels` added: no configuration names it."""

    name: str
    role: str
    number: int


class ClusterFile(msgspec.Struct):
    """What `cluster.json` says. Printable; nothing secret."""

    version: int
    config_file: str
    port_first: int  # of the home's block of 100
    socket_directory: str
    nodes: list[NodePorts]
    redis_nodes: list[str]
    mysql_socket: str
    supervisor: ProcessId | None = None
    processes: dict[str, ProcessId] = {}
    added: list[AddedNode] = []
    removed: list[int] = []  # numbers of configured nodes that those took away


def is_store(name: str) -> bool:
    """Whether a name of `ClusterFile.processes` is that of a store server, not of a node."""
    return name == "mysql" or name.startswith("redis-")


def lives(file: ClusterFile | None) -> bool:
    """Whether anything of a start still runs."""
    if file is None:
        return False
    return (file.supervisor is not None and is_alive(file.supervisor)) or bool(unwatched(file))


def unwatched(file: ClusterFile | None) -> list[str]:
    """Names of the processes that live on without the supervisor that started them."""
    if file is None or (file.supervisor is not None and is_alive(file.supervisor)):
        return []
    return [name for name, process in file.processes.items() if is_alive(process)]


class Home:
    """Paths below one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()

    @property
    def cluster_file(self) -> Path:
        """Who runs where."""
        return self.directory / "cluster.json"

    @property
    def secrets(self) -> Path:
        """Where generated secrets are."""
        return self.directory / "secrets"

    @property
    def planted_bug(self) -> Path:
        """Names a bug that the nodes of a proof's cluster plant in themselves."""
        return self.directory / "planted-bug"

    @property
    def logs(self) -> Path:
        """Where all processes write."""
        return self.directory / "log"

    @property
    def code_named(self) -> Path:
        """There since the supervisor named the code that this start runs; nodes wait for it."""
        return self.directory / "run" / "code"

    @property
    def kept_config(self) -> Path:
        """The operator's file as it was at the start. What runs goes by it, restarted or not."""
        return self.directory / "run" / "config.toml"

    @property
    def metrics_targets(self) -> Path:
        """Where every node's figures are, as Prometheus reads it (`file_sd_configs`)."""
        return self.directory / "metrics-targets.json"

    def loaded_file(self, name: str) -> Path:
        """Written by a node that stands by, with its pid, when its code is loaded."""
        return self.directory / "run" / f"{name}.loaded"

    def log_file(self, name: str) -> Path:
        """The structured log of a node."""
        return self.logs / f"{name}.jsonl"

    def create(self) -> None:
        """Make the directories; 0700, because sockets and data live below. Raises `OperatorError`
        E0735 where they cannot be made, or are another user's."""
        paths = (self.directory, self.secrets, self.logs, self.directory / "run")
        try:
            for path in paths:
                path.mkdir(parents=True, exist_ok=True, mode=0o700)
            for path in (self.secrets, self.directory / "run"):
                path.chmod(0o700)  # also where somebody made it before
            for path in paths:
                if not os.access(path, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        except OSError as error:
            raise self._unusable(error) from error

    def read(self) -> ClusterFile | None:
        """`cluster.json`, or None where no cluster was ever started. Raises `OperatorError` E0717
        when the file is damaged, E0735 when it is another user's."""
        try:
            return msgspec.json.decode(self.cluster_file.read_bytes(), type=ClusterFile)
        except FileNotFoundError:
            return None
        except (PermissionError, NotADirectoryError) as error:
            raise self._unusable(error) from error
        except (OSError, msgspec.MsgspecError) as error:
            raise OperatorError(
                "E0717",
                f"{self.cluster_file} cannot be read: {error}",
                f"mmo-cluster stop writes it anew; if nothing runs, remove {self.cluster_file}"
                " (data is elsewhere)",
            ) from error

    def write(self, file: ClusterFile) -> None:
        """Replace `cluster.json` at once or not at all."""
        path = self.cluster_file.with_suffix(".new")
        with path.open("wb") as new:
            new.write(msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n")
            new.flush()
            os.fsync(new.fileno())
        path.replace(self.cluster_file)

    def keep_config(self, text: str) -> None:
        """Write `kept_config` at once or not at all."""
        path = self.kept_config.with_suffix(".new")
        path.write_text(text, encoding="utf-8")
        path.replace(self.kept_config)

    def config_in_use(self, file: ClusterFile | None) -> str:
        """The file by which what runs here goes; where nothing runs, that of the last start, as it
        is now. Empty for none."""
        if lives(file) and self.kept_config.exists():
            return str(self.kept_config)
        return file.config_file if file is not None else ""

    def write_targets(self, file: ClusterFile, hosts: Mapping[str, str]) -> None:
        """Say where the figures of all nodes are; Prometheus notices the change by itself. `hosts`:
        of the nodes that tell any, by name."""
        groups = [
            {
                "targets": [f"{hosts[node.name]}:{node.metrics_port}"],
                "labels": {"node": node.name, "role": node.role, "number": str(node.number)},
            }
            for node in file.nodes
            if node.metrics_port and node.name in hosts
        ]
        path = self.metrics_targets.with_suffix(".new")
        path.write_bytes(msgspec.json.format(msgspec.json.encode(groups), indent=2) + b"\n")
        path.replace(self.metrics_targets)

    def socket(self, name: str, file: ClusterFile | None) -> Path:
        """The admin socket of a node or of `supervisor`."""
        if file is not None and file.socket_directory:
            return Path(file.socket_directory) / f"{name}.sock"
        return self.directory / "run" / f"{name}.sock"

    def choose_socket_directory(self, before: str) -> str:
        """`run` where its paths fit into a socket address, else a short 0700 directory: the one
        of `before` while it exists."""
        run = self.directory / "run"
        if len(os.fsencode(run)) + 1 + _LONGEST_SOCKET_NAME <= SOCKET_PATH_BYTES_MAX:
            return str(run)
        if before and before != str(run) and _is_ours(Path(before)):
            return before
        return tempfile.mkdtemp(prefix="mmo-run-")

    def lock(self) -> int:
        """Hold the home for this process until it ends. Raises `OperatorError` E0716 when another
        supervisor holds it, E0735 when it is another user's. Returns the descriptor that holds
        the lock."""
        path = self._lock_file
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise OperatorError(
                "E0716", f"another supervisor runs {self.directory}", "mmo-cluster status"
            ) from error
        return descriptor

    @property
    def _lock_file(self) -> Path:
        return self.directory / "run" / "supervisor.lock"

    def wipe(self) -> list[Path]:
        """Remove data, logs and secrets. The caller holds the lock, made sure that nothing runs and
        was asked. Returns what cannot be removed; then the home is one still, to be wiped again."""
        with contextlib.suppress(OperatorError):
            file = self.read()
            if file is not None and file.socket_directory.startswith(tempfile.gettempdir()):
                shutil.rmtree(file.socket_directory, ignore_errors=True)
        places = [self.directory / name for name in ("redis", "mysql", "log", "secrets")]
        places += [self.planted_bug, self.metrics_targets]
        left = [place for place in places if not _removed(place)]
        if left or not _removed(self.cluster_file):
            return left or [self.cluster_file]
        # The lock last: a start that comes meanwhile is refused by it.
        run = self._lock_file.parent
        inside = list(run.iterdir()) if run.is_dir() else []
        left = [place for place in inside if place != self._lock_file and not _removed(place)]
        if not left:
            shutil.rmtree(run, ignore_errors=True)
        return left

    def _unusable(self, fault: OSError) -> OperatorError:
        return unwritable(self.directory, fault, "name another --home")


def _removed(place: Path) -> bool:
    """Remove a file or a whole folder; False where that cannot be."""
    try:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _is_ours(directory: Path) -> bool:
    """Whether a directory below a shared one is still the one that we made."""
    try:
        found = directory.lstat()
    except FileNotFoundError:
        return False
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return mine and stat.S_IMODE(found.st_mode) == 0o700
