"""What a killed supervisor left is ended in its own time, and who had to be killed is told."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mmo.cli import lifecycle, terminal
from mmo.cli.rim import OK, PARTIAL
from mmo.cluster import leftovers
from mmo.cluster.home import ClusterFile, Home
from mmo.cluster.node_process import AFTER_DRAIN_S
from mmo.cluster.process import KILLED_S, ProcessId, identify, is_alive
from mmo.cluster.supervisor import Supervisor
from mmo.cluster.topology import assign_ports
from mmo.config import Config
from mmo.config.load import load_config
from mmo.errors import OperatorError

CONFIG = load_config(environment={}).config
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
READY = "print(flush=True)\nwhile True: signal.pause()"


def without_patience(config: Config) -> Config:
    """Nobody is given any time."""
    node = msgspec.structs.replace(config.node, drain_ms=0, leave_ms=0, busy_ms=0)
    mysql = msgspec.structs.replace(config.mysql, stop_ms=0)
    return msgspec.structs.replace(config, node=node, mysql=mysql)


@contextmanager
def process(script: str) -> Iterator[ProcessId]:
    """One that runs, and has come as far as its first line of output."""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline()
        identity = identify(child.pid)
        assert identity is not None
        try:
            yield identity
        finally:
            child.kill()


def a_home(directory: Path, **processes: ProcessId) -> Home:
    """A home whose supervisor was killed, and where these processes live on."""
    home = Home(directory)
    home.create()
    me = identify(os.getpid())
    assert me is not None
    gone = ProcessId(me.pid, me.started - 1)
    ports = assign_ports(CONFIG.nodes, 7_100)
    named = {name.replace("_", "-"): one for name, one in processes.items()}
    home.write(ClusterFile(1, "", 7_100, "", ports, [], "", gone, named))
    return home


def test_each_has_the_time_that_its_supervisor_would_have_given_it(tmp_path: Path) -> None:
    file = a_home(tmp_path).read()
    assert file is not None
    node = CONFIG.node
    flush_s = node.drain_ms / 1_000 + AFTER_DRAIN_S
    for name, expected_s in {
        "channel-1": node.leave_ms / 1_000 + flush_s,
        "center-1 successor": node.leave_ms / 1_000 + flush_s,
        "raid-1": node.busy_ms / 1_000 + flush_s,
        "raid-1 successor": node.busy_ms / 1_000 + flush_s,
        "mysql": CONFIG.mysql.stop_ms / 1_000,
        "redis-3": CONFIG.redis.stop_ms / 1_000,
    }.items():
        assert leftovers.grace_s(name, file, CONFIG) == expected_s, name
    assert node.busy_ms > 10_000 and CONFIG.mysql.stop_ms > 10_000, "a raid and a store need more"


def test_who_waits_for_a_start_waits_for_the_slowest_of_each_kind(tmp_path: Path) -> None:
    me = identify(os.getpid())
    assert me is not None
    home = a_home(tmp_path, channel_1=me, raid_1=me, mysql=me, redis_1=me)
    file = home.read()
    assert file is not None
    slowest = ("raid-1", "mysql")
    expected_s = sum(leftovers.grace_s(name, file, CONFIG) for name in slowest)
    assert leftovers.longest_s(home, file) == expected_s + 2 * KILLED_S
    assert leftovers.longest_s(home, None) == 0.0


def test_what_is_left_ends_by_the_file_it_was_started_with_and_not_by_the_next(
    tmp_path: Path,
) -> None:
    me = identify(os.getpid())
    assert me is not None
    home = a_home(tmp_path, raid_1=me)
    home.keep_config("[node]\nbusy_ms = 123456\n")
    file = home.read()
    assert file is not None
    file.config_file = str(tmp_path / "edited.toml")
    Path(file.config_file).write_text("[node]\nbusy_ms = 1000\n", encoding="utf-8")
    assert leftovers.limits(home, file).node.busy_ms == 123_456


def test_stop_runs_beside_no_start_that_holds_the_home(tmp_path: Path) -> None:
    with process("import signal\n" + READY) as node:
        home = a_home(tmp_path, channel_1=node)
        lock = home.lock()
        with pytest.raises(OperatorError) as caught:
            lifecycle.stop([], home.directory, wipe=True, yes=True)
        os.close(lock)
        assert caught.value.code == "E0716" and is_alive(node) and home.cluster_file.exists()
        assert lifecycle.stop([], home.directory, json=True) == OK
        os.close(home.lock())  # it is let go of


def test_one_node_is_not_stopped_where_only_the_supervisor_is_gone(tmp_path: Path) -> None:
    with process("import signal\n" + READY) as node:
        home = a_home(tmp_path, channel_1=node)
        with pytest.raises(OperatorError) as caught:
            lifecycle.stop(["channel-1"], home.directory)
        assert caught.value.code == "E0733" and is_alive(node)


def test_stop_tells_who_was_killed_and_ends_with_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "AFTER_DRAIN_S", 0.0)
    monkeypatch.setattr(leftovers, "limits", lambda home, file: without_patience(CONFIG))
    said: list[Any] = []
    monkeypatch.setattr(terminal, "print_json", said.append)
    with process(DEAF + READY) as node, process(DEAF + READY) as store:
        home = a_home(tmp_path, channel_1=node, mysql=store)
        assert lifecycle.stop([], home.directory, json=True) == PARTIAL
    names = ["channel-1", "mysql"]
    assert said == [{"stopped": names, "unflushed": 1, "killed": names}]
    file = home.read()
    assert file is not None and file.processes == {} and file.supervisor is None


def test_stop_of_what_ends_by_itself_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Any] = []
    monkeypatch.setattr(terminal, "print_json", said.append)
    with process("import signal\n" + READY) as node:
        home = a_home(tmp_path, channel_1=node)
        assert lifecycle.stop([], home.directory, json=True) == OK
    assert said == [{"stopped": ["channel-1"], "unflushed": 0, "killed": []}]


async def test_the_next_supervisor_tells_whom_it_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(leftovers, "AFTER_DRAIN_S", 0.0)

    async def prepare(secrets: Any, socket: str) -> str:
        return ""

    with process(DEAF + READY) as node, process("import signal\n" + READY) as store:
        home = a_home(tmp_path, channel_1=node, mysql=store)
        config = without_patience(CONFIG)
        patient = msgspec.structs.replace(config, mysql=CONFIG.mysql)
        monkeypatch.setattr(leftovers, "limits", lambda home, file: patient)
        supervisor = Supervisor(home, CONFIG, (), "", prepare)
        await supervisor._end_leftovers(home.read())
    (step,) = supervisor.steps
    assert step["text"].startswith("2 processes of an earlier start ended")
    assert step["text"].endswith(": channel-1") and step["text"] in capfd.readouterr().err


def test_a_file_that_is_gone_does_not_keep_a_cluster_from_being_stopped(tmp_path: Path) -> None:
    home = a_home(tmp_path)
    file = home.read()
    assert file is not None
    file.config_file = str(tmp_path / "gone.toml")
    home.write(file)
    assert leftovers.limits(home, file).node == CONFIG.node
