"""`start`, `status`, `kill`, `stop` with real processes: what an operator types, and what is left.

Owns one cluster for the tests that leave it whole, and homes of their own for those that do not.
Judges by exit codes, printed JSON and the processes themselves.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ports import PORTS

from mmo.cluster.control import ask
from mmo.cluster.home import Home
from mmo.cluster.process import ProcessId, identify, is_alive, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

NODES = ["login-1", "center-1", "channel-1", "channel-2", "matching-1", "raid-1", "cash-1"]

RUN = [sys.executable, "-m", "mmo.cli", "run"]
ENVIRONMENT = {**os.environ, **PORTS}


class Operator:
    """Types commands for one home."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def types(self, *words: str, code: int = 0) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "mmo.cli", *words, "--home", str(self.home), "--json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            env=ENVIRONMENT,
        )
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def starts(self, *words: str) -> Any:
        return self.types("start", "--follow", str(os.getpid()), *words)

    def status(self) -> Any:
        """What the supervisor says, ready or not."""
        home = Home(self.home)
        return ask(home.socket("supervisor", home.read()), {"ask": "status"}, 5.0)

    def is_ready(self) -> bool:
        return bool(self.status()["ready"])

    def node(self, name: str) -> dict[str, Any]:
        return next(dict(row) for row in self.status()["nodes"] if row["name"] == name)

    def processes(self) -> dict[str, ProcessId]:
        file = Home(self.home).read()
        assert file is not None
        return dict(file.processes)


def holds(condition: Callable[[], bool]) -> bool:
    return wait_until(condition, 30.0, 0.05)


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A cluster that runs; a test that breaks something sees it repaired before it ends."""
    operator = Operator(tmp_path_factory.mktemp("start") / "home")
    operator.starts()
    yield operator
    operator.types("stop", "--wipe", "--yes")


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Operator]:
    """A home of its own; whatever a test leaves running is stopped."""
    operator = Operator(tmp_path / "home")
    yield operator
    subprocess.run(
        [sys.executable, "-m", "mmo.cli", "stop", "--home", str(operator.home)],
        capture_output=True,
        timeout=60,
    )


def test_status_has_the_form_that_scripts_rely_on(operator: Operator) -> None:
    said = operator.types("status")
    assert said["ready"] is True and said["generation"] == 1
    assert [row["name"] for row in said["nodes"]] == NODES
    for row in said["nodes"]:
        assert set(row) >= {
            *("name", "number", "role", "pid", "ready", "generation", "connections"),
            *("loop_lag_p99_ms", "queue"),
        }
        assert row["ready"] is True and identify(row["pid"]) is not None
    assert said["stores"]["mysql"]["ready"] and said["stores"]["redis"]["ready"]
    assert len(said["stores"]["redis"]["servers"]) == 6


def test_start_on_a_running_cluster_changes_nothing(operator: Operator) -> None:
    before = operator.processes()
    assert operator.starts()["ready"] is True
    assert operator.processes() == before


def test_doctor_finds_nothing_wrong_with_a_running_cluster(operator: Operator) -> None:
    said = operator.types("doctor")
    assert said["ok"] is True
    assert {row["name"]: row["found"] for row in said["checks"]}["schema"] == "up to date"


def test_migrate_check_agrees_on_a_started_cluster(operator: Operator) -> None:
    assert operator.types("migrate", "check") == {"pending": []}
    assert operator.types("migrate", "apply") == {"applied": 0, "statements": []}


@pytest.mark.parametrize("name", ["channel-2", "center-1"])
def test_a_killed_node_is_ready_again_with_another_pid(operator: Operator, name: str) -> None:
    before = operator.node(name)
    killed = operator.types("kill", name)
    assert killed == {"name": name, "pid": before["pid"]}
    assert holds(lambda: operator.node(name)["ready"])
    after = operator.node(name)
    assert after["pid"] != before["pid"] and after["restarts"] == before["restarts"] + 1
    assert after["incarnation"] > before["incarnation"]


@pytest.mark.parametrize("name", ["mysql", "redis-2"])
def test_a_killed_store_server_runs_again(operator: Operator, name: str) -> None:
    before = operator.processes()[name]
    assert operator.types("kill", name)["pid"] == before.pid
    assert holds(lambda: operator.processes().get(name, before) != before)
    assert holds(operator.is_ready)
    assert is_alive(operator.processes()[name]) and not is_alive(before)


def test_what_does_not_exist_cannot_be_killed(operator: Operator) -> None:
    for name in ("channel-9", "redis-7", "redis-x", ""):
        assert operator.types("kill", name, code=1)["error"]["code"] == "E0708"


def test_one_node_is_stopped_and_started_again(operator: Operator) -> None:
    assert operator.types("stop", "raid-1")["stopped"] == ["raid-1"]
    assert operator.node("raid-1")["state"] == "stopped"
    assert operator.types("status")["ready"] is True
    assert operator.starts()["ready"] is True
    assert operator.node("raid-1")["ready"] is True
    assert operator.types("stop", "nobody-1", code=1)["error"]["code"] == "E0708"


def test_a_second_cluster_beside_it_disturbs_nothing(operator: Operator, alone: Operator) -> None:
    before = operator.processes()
    alone.starts("--channels", "3")
    assert len(alone.types("status")["nodes"]) == 8
    assert operator.processes() == before
    first, second = (Home(one.home).read() for one in (operator, alone))
    assert first is not None and second is not None
    assert abs(first.port_first - second.port_first) >= 100


def test_data_secrets_and_ports_outlive_a_stop(alone: Operator) -> None:
    first = alone.starts()
    node = alone.node("login-1")
    processes = alone.processes()
    said = alone.types("stop")
    assert said["unflushed"] == 0 and said["killed"] == []
    assert said["stopped"][-2:] == ["redis", "mysql"]
    assert not [name for name, process in processes.items() if is_alive(process)]
    alone.types("status", code=3)
    secrets = {path: path.read_bytes() for path in Home(alone.home).secrets.iterdir()}
    second = alone.starts()
    assert second["port_first"] == first["port_first"]
    assert {path: path.read_bytes() for path in Home(alone.home).secrets.iterdir()} == secrets
    # The table of leases was kept: every process start takes the next incarnation.
    assert alone.node("login-1")["incarnation"] > node["incarnation"]
    error = alone.types("stop", "--wipe", code=1)["error"]
    assert error["code"] == "E0710"
    alone.types("stop", "--wipe", "--yes")
    assert not (alone.home / "mysql").exists() and not (alone.home / "secrets").exists()


def test_a_killed_supervisor_leaves_a_cluster_that_start_takes_over(alone: Operator) -> None:
    alone.starts()
    before = alone.processes()
    file = Home(alone.home).read()
    assert file is not None and file.supervisor is not None
    os.kill(file.supervisor.pid, signal.SIGKILL)
    assert holds(lambda: not is_alive(file.supervisor))  # type: ignore[arg-type]
    assert all(is_alive(process) for process in before.values())
    error = alone.types("status", code=3)["error"]
    assert error["code"] == "E0733" and "channel-1" in error["cause"]
    figures = ask(Home(alone.home).socket("channel-1", file), {"ask": "metrics"}, 5.0)["text"]
    assert 'mmo_supervisor_away{node="channel-1",role="channel"} 1.0' in figures
    said = {row["name"]: row for row in alone.types("doctor")["checks"]}
    assert said["leftovers"]["verdict"] == "warning"
    assert alone.starts()["ready"] is True
    assert not [name for name, process in before.items() if is_alive(process)]
    os.kill(Home(alone.home).read().supervisor.pid, signal.SIGKILL)  # type: ignore[union-attr]
    left = alone.processes()
    assert set(alone.types("stop")["stopped"]) == set(left)
    assert not [name for name, process in left.items() if is_alive(process)]


def test_a_start_that_fails_says_why_and_leaves_nothing(alone: Operator, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[mysql]\nserver = '/nowhere/mariadbd'\n")
    said = alone.types("start", "--config", str(config), code=1)
    assert said["error"]["code"] == "E0201"
    assert holds(lambda: not any(is_alive(p) for p in alone.processes().values()))
    alone.types("status", code=3)


def test_a_stop_in_the_middle_of_a_start_leaves_nothing(alone: Operator) -> None:
    starting = subprocess.Popen(
        [sys.executable, "-m", "mmo.cli", "start", "--home", str(alone.home), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    home = Home(alone.home)
    assert holds(lambda: bool((file := home.read()) and file.mysql_socket))
    alone.types("stop")
    assert starting.wait(60) == 1
    starting.communicate()
    marked = f"{alone.home}/".encode()
    running = [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if marked in _read(path) + b"/"
    ]
    assert running == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # It ended while it was looked at.
        return b""


def test_a_home_with_a_very_long_path_works(tmp_path: Path) -> None:
    deep = Operator(tmp_path / ("deep" * 25) / "home")
    deep.starts()
    assert deep.types("status")["ready"] is True
    deep.types("stop", "--wipe", "--yes")


def test_a_foreground_node_drains_and_exits_on_sigterm(operator: Operator, tmp_path: Path) -> None:
    operator.types("stop", "channel-1")
    process = subprocess.Popen(
        [*RUN, "channel", "--number", "11", "--home", str(operator.home)],
        stderr=subprocess.PIPE,
        text=True,
    )
    sockets = Home(operator.home).socket("channel-1", Home(operator.home).read())
    try:
        assert holds(lambda: sockets.exists() or process.poll() is not None)
        assert process.poll() is None, process.communicate()[1]
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert time.monotonic() - began < 10
    finally:
        process.kill()
        process.wait()
    assert operator.starts()["ready"] is True


def test_run_refuses_a_number_that_is_another_role(operator: Operator) -> None:
    done = subprocess.run(
        [*RUN, "raid", "--number", "11", "--home", str(operator.home)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2 and "E0106" in done.stderr and "Traceback" not in done.stderr
