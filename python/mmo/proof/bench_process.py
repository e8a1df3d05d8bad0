"""Processes of a bench: the floor, the measured server, the load generator, and where they run.

Owns starting, pinning and ending them: servers on one processor, the generator on another. Never
judges a figure. Called by the benches of this package.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from mmo.errors import OperatorError

READY_S = 30.0
END_S = 15.0
CHECKOUT = Path(__file__).resolve().parents[3]


class Load(msgspec.Struct, frozen=True):
    """What the generator saw in one window. Times in milliseconds, processor time in microseconds a
    message; the `_busy` values are shares of one core."""

    messages: int
    seconds: float
    messages_per_s: float
    generator_busy: float
    void: bool
    sent_total: int
    received_total: int
    pushes_total: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    longest_ms: float
    server_us_per_message: float | None = None
    server_busy: float | None = None
    server_cpu_s: float | None = None
    server_main_cpu_s: float | None = None  # of its first thread, which runs Python
    watched_cpu_s: list[float] = []  # of the processes named by `watch`
    lag_p50_ms: float | None = None  # from a message's due time to its sending; open loops only
    lag_p99_ms: float | None = None
    lag_longest_ms: float | None = None
    held: int | None = None  # of these, waited for a connection that took no more

    def generator(self) -> dict[str, float]:
        """What the generator says of itself, for the `more` of a result: its share of a core and,
        of an open loop, how late it sent (milliseconds) and how many messages were held. A closed
        loop has no due times, so it has no lag."""
        lag = {
            "lag_p50_ms": self.lag_p50_ms,
            "lag_p99_ms": self.lag_p99_ms,
            "lag_longest_ms": self.lag_longest_ms,
            "held": self.held,
        }
        told = {"busy": round(self.generator_busy, 3)}
        return told | {name: round(one, 4) for name, one in lag.items() if one is not None}


def binary() -> Path:
    """The `mmo-bench` binary: named by MMO_BENCH_BINARY, or of this checkout, built when it is
    missing or older than its source. Raises `OperatorError` when there is neither
    binary nor checkout."""
    named = os.environ.get("MMO_BENCH_BINARY")
    if named:
        return Path(named)
    source = CHECKOUT / "rust" / "bench"
    built = CHECKOUT / "target" / "release" / "mmo-bench"
    cargo = shutil.which("cargo")
    if source.is_dir() and cargo is not None:
        newest = max(path.stat().st_mtime for path in source.rglob("*") if path.is_file())
        if not built.exists() or built.stat().st_mtime < newest:
            command = [cargo, "build", "--quiet", "--release", "--package", "mmo-bench"]
            subprocess.run(command, cwd=CHECKOUT, check=True)
            os.utime(built)
    if built.exists():
        return built
    raise OperatorError(
        "E0901",
        "the load generator mmo-bench is not built",
        "cargo build --release --package mmo-bench, or name it in MMO_BENCH_BINARY",
    )


def processors() -> tuple[int, int]:
    """(processor of the server, processor of the generator): the first two that this process may
    use, the same one twice on a machine with one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[1 % len(allowed)]


def pinned(cpu: int, command: Sequence[str]) -> list[str]:
    """The command kept on one processor."""
    return ["taskset", "--cpu-list", str(cpu), *command]


class Server:
    """A running server process that announced itself."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.last: dict[str, Any] = {}
        line = self._line()
        if not line:
            code = process.wait(END_S)
            raise OperatorError("E0902", f"a measured server ended at once with code {code}")
        ready = json.loads(line)
        self.port: int = ready["port"]
        self.pid: int = ready["pid"]

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"127.0.0.1:{self.port}"

    def end(self) -> dict[str, Any]:
        """End it; its last line, empty for one that prints none."""
        self.process.terminate()
        try:
            rest, _ = self.process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            rest, _ = self.process.communicate()
        lines = [line for line in rest.splitlines() if line.startswith("{")]
        self.last = json.loads(lines[-1]) if lines else {}
        return self.last


@contextmanager
def server(command: Sequence[str], environment: dict[str, str] | None = None) -> Iterator[Server]:
    """Start a server, hand it out when it is ready, end it whatever happens."""
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    running = None
    try:
        running = Server(process)
        yield running
    finally:
        if running is not None and process.poll() is None:
            running.end()
        elif process.poll() is None:
            process.kill()
            process.wait()


def process_cpu_ns(pid: int) -> int:
    """On-CPU nanoseconds of all threads of a process, by the scheduler's own count."""
    total_ns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that ended meanwhile
            total_ns += int((task / "schedstat").read_text().split()[0])
    return total_ns


def floor() -> list[str]:
    """The command of the bare epoll echo on the server's processor."""
    return pinned(processors()[0], [str(binary()), "echo-floor", "--port", "0"])


def measured(name: str, *arguments: str, cpu: int | None = None) -> list[str]:
    """The command of a server of `mmo.testing.measured`, on the server's processor unless `cpu`
    says another one (-1: free)."""
    module = f"mmo.testing.measured.{name}"
    chosen = processors()[0] if cpu is None else cpu
    return [sys.executable, "-m", module, "--cpu", str(chosen), *arguments]


def generate(target: Server, **options: object) -> Load:
    """Run the generator against `target`; options by their names (`for_`, `server_pid` is added).
    Raises `OperatorError` when a reply was wrong or missing: a wrong answer has no
    figure."""
    command = [str(binary()), "generate", "--address", target.address]
    command += ["--server-pid", str(target.pid)]
    for name, value in options.items():
        if value is not None:
            command += ["--" + name.strip("_").replace("_", "-"), str(value)]
    done = subprocess.run(
        pinned(processors()[1], command), capture_output=True, text=True, timeout=600
    )
    if done.returncode != 0:
        raise OperatorError("E0903", f"the load failed: {done.stderr.strip()}")
    return msgspec.json.decode(done.stdout, type=Load)
