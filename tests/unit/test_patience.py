"""How long a stop or a change may take, and what is told of nodes that end: by the configuration in
use, with what each node overrides."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from mmo.cli import lifecycle, logs, metrics, rolling, terminal
from mmo.cli.desk import Desk
from mmo.cluster import control, patience
from mmo.cluster.control import NotRunning
from mmo.cluster.home import ClusterFile, Home
from mmo.cluster.leftovers import grace_s
from mmo.cluster.node_process import AFTER_DRAIN_S, NodeProcess
from mmo.cluster.process import Child, ProcessId, identify
from mmo.cluster.redis_servers import ManagedRedis
from mmo.cluster.topology import assign_ports, config_of, listeners_of
from mmo.config import Config
from mmo.config.load import load_config
from mmo.errors import OperatorError

CONFIG = load_config(environment={}).config
PAUSES = "import signal; signal.pause()"


def overridden(number: int, **override: dict[str, Any]) -> Config:
    """The box, where the node of a number differs."""
    nodes = tuple(
        msgspec.structs.replace(entry, override=override) if entry.number == number else entry
        for entry in CONFIG.nodes
    )
    return msgspec.structs.replace(CONFIG, nodes=nodes)


def number_of(role: str) -> int:
    return next(entry.number for entry in CONFIG.nodes if entry.role == role)


def a_file(config: Config = CONFIG) -> ClusterFile:
    return ClusterFile(1, "", 7_100, "", assign_ports(config.nodes, 7_100), [], "")


def test_a_node_is_seen_with_what_its_entry_overrides() -> None:
    number = number_of("raid")
    config = overridden(number, node={"busy_ms": 600_000}, metrics={"host": "127.0.0.9"})
    assert config_of(config, number).node.busy_ms == 600_000
    assert config_of(config, number_of("center")) is config
    file = a_file(config)
    slow_s = 600.0 + config.node.drain_ms / 1_000 + AFTER_DRAIN_S
    (raid,) = (node.name for node in file.nodes if node.number == number)
    assert grace_s(raid, file, config) == grace_s(f"{raid} successor", file, config) == slow_s
    hosts = {one.owner: one.host for one in listeners_of(config, file.nodes)}
    assert hosts[f"{raid} metrics_port"] == "127.0.0.9"
    assert hosts["center-1 metrics_port"] == config.metrics.host


def test_who_waits_does_so_as_long_as_raids_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = number_of("raid")
    slow = overridden(number, node={"busy_ms": 3_600_000})
    home, file = Home(tmp_path), a_file()
    (raid,) = (node.name for node in file.nodes if node.number == number)

    def sums(config: Config) -> list[float]:
        monkeypatch.setattr(patience, "limits", lambda home, file: config)
        return [
            patience.stop_s(home, file),
            patience.stop_s(home, file, [raid]),
            patience.change_s(home, file, raid),
            patience.scale_s(home, file, "raid", 1),
        ]

    longer_s = (3_600_000 - CONFIG.node.busy_ms) / 1_000
    assert sums(slow) == pytest.approx([one + longer_s for one in sums(CONFIG)])
    assert patience.stop_s(home, None) == patience.stop_s(home, file)
    assert patience.stop_s(home, file, ["center-1"]) < patience.stop_s(home, file, [raid])
    four, one = (patience.scale_s(home, file, "channel", count) for count in (4, 1))
    assert four > one, "those that were added in vain end one after the other"


@pytest.mark.parametrize(
    ("fault", "code"),
    [(TimeoutError(), "E0724"), (ConnectionResetError(), "E0701"), (None, "E0701")],
)
def test_only_who_is_silent_takes_longer_than_anybody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: OSError | None, code: str
) -> None:
    def asked(path: Path, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        if request["ask"] == "ping":
            return {}
        raise NotRunning(path) from fault

    monkeypatch.setattr(control, "ask", asked)
    with pytest.raises(OperatorError, match=code):
        control.ask_long(tmp_path / "s.sock", {"ask": "stop"}, 240.0)


async def test_a_signal_gives_a_node_the_time_of_a_drain_that_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = node_that(tmp_path, PAUSES)
    node.spawn()
    given: list[bool] = []

    async def awaited(child: Child, settings: Any, move: bool) -> bool:
        given.append(move)
        return False

    monkeypatch.setattr(node, "_await_end", awaited)
    done = await node.stop(CONFIG.node, move=False)  # nobody answers on its socket
    assert given == [True] and done["killed"]


def node_that(tmp_path: Path, code: str) -> NodeProcess:
    ports = assign_ports(CONFIG.nodes, 7_100)[0]
    command = [sys.executable, "-c", code]
    return NodeProcess(ports, command, tmp_path / "a.sock", tmp_path / "a.out")


def test_the_tail_of_a_log_is_of_this_process_alone(tmp_path: Path) -> None:
    log = tmp_path / "a.out"
    log.write_text("E0702 a number is held\n")
    child = Child([sys.executable, "-c", "print('mine')"], log, dies_with_parent=True)
    assert child.wait(30.0)
    assert child.log_tail() == "mine"


def test_what_ended_a_node_is_told_and_kept(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.out").write_text("E0702 a number is held\n")
    node = node_that(tmp_path, PAUSES)
    node.spawn()
    assert node.child is not None
    node.child.kill()
    node._ended(-9, CONFIG.supervisor)
    assert node.error == "killed by signal 9" and node.state == "waiting"
    node._killed_for = "silent for 31 s"
    node._ended(-9, CONFIG.supervisor)
    assert node.error == "silent for 31 s"
    node._ended(-9, CONFIG.supervisor)
    assert node.error == "killed by signal 9", "of the next end it is not the reason"
    told = capfd.readouterr().err
    assert f"{node.name} silent for 31 s: restart 1" in told


def test_a_process_that_the_kernel_holds_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = Child([sys.executable, "-c", PAUSES], tmp_path / "a.out", dies_with_parent=True)
    with monkeypatch.context() as held:

        def waits(longest_s: float) -> int:
            raise subprocess.TimeoutExpired("it", longest_s)

        held.setattr(child._popen, "wait", waits)
        child.kill()
    assert child.wait(30.0)


def test_a_cache_that_formed_on_other_ports_is_known_at_any_later_start(tmp_path: Path) -> None:
    def on(first: int) -> ManagedRedis:
        ports = range(first, first + 6)
        return ManagedRedis(tmp_path, CONFIG.redis, "", ports, [port + 10 for port in ports])

    assert not on(7_180).formed_elsewhere(), "none formed yet"
    names = ["a"] * 6
    (tmp_path / "formed").write_text("\n".join(names), encoding="ascii")
    assert not on(7_180).formed_elsewhere(), "an older one did not say"
    words = [*names, *on(7_180)._port_words()]
    (tmp_path / "formed").write_text("\n".join(words), encoding="ascii")
    assert not on(7_180).formed_elsewhere()
    assert on(7_280).formed_elsewhere()


def a_stopped_home(tmp_path: Path, supervisor: ProcessId | None = None) -> Home:
    home = Home(tmp_path)
    home.create()
    file = a_file()
    file.supervisor = supervisor
    home.write(file)
    (home.directory / "mysql").mkdir()
    return home


def stops(*_: object) -> dict[str, Any]:
    return {"stopped": ["mysql"], "unflushed": 0, "killed": []}


def test_a_home_that_another_start_holds_by_now_is_not_wiped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = a_stopped_home(tmp_path)
    monkeypatch.setattr(lifecycle, "_ask_to_stop", stops)
    monkeypatch.setattr(lifecycle, "STOPPED_S", 0.0)
    lock = home.lock()
    with pytest.raises(OperatorError, match="E0716"):
        lifecycle.stop([], tmp_path, wipe=True, yes=True)
    assert (home.directory / "mysql").is_dir() and home.cluster_file.exists()
    os.close(lock)
    assert lifecycle.stop([], tmp_path, json=True, wipe=True, yes=True) == 0
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_removed_is_named_and_can_be_wiped_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = a_stopped_home(tmp_path)
    monkeypatch.setattr(lifecycle, "_ask_to_stop", stops)
    with monkeypatch.context() as held:
        held.setattr("mmo.cluster.home._removed", lambda place: place.name != "mysql")
        with pytest.raises(OperatorError, match="E0735") as caught:
            lifecycle.stop([], tmp_path, wipe=True, yes=True)
    assert str(home.directory / "mysql") in caught.value.cause
    assert lifecycle.stop([], tmp_path, json=True, wipe=True, yes=True) == 0
    assert list(tmp_path.iterdir()) == []


def test_figures_of_one_stopped_node_are_no_cluster_that_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = a_stopped_home(tmp_path, identify(os.getpid()))

    def asked(path: Path, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        if path != home.socket("supervisor", home.read()):
            raise NotRunning(path)
        return {"pid": 1}

    monkeypatch.setattr(metrics, "ask", asked)
    with pytest.raises(OperatorError, match="E0708"):
        metrics.metrics("center-1", tmp_path)


def test_all_lines_are_those_of_the_files_that_were_turned_over_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path)
    home.create()
    log = home.log_file("center-1")
    for time_s, suffix in enumerate((".10", ".2", ".1", "")):
        line = f'{{"time": "2026-01-01T00:00:0{time_s}", "event": "e{time_s}", "user": 7}}\n'
        log.with_name(log.name + suffix).write_text(line, encoding="ascii")

    def said() -> list[str]:
        return [line.split()[3] for line in capsys.readouterr().out.splitlines()]

    logs.logs([], tmp_path, last=0)
    assert said() == ["e0", "e1", "e2", "e3"]
    logs.logs([], tmp_path, user=7, last=2)
    assert said() == ["e2", "e3"]
    logs.logs([], tmp_path)
    assert said() == ["e3"]


def test_a_rolling_restart_leaves_stopped_what_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"name": "channel-1", "role": "channel", "number": 11, "state": "stopped"},
        {"name": "channel-2", "role": "channel", "number": 12, "state": "ready"},
    ]
    done = {"name": "channel-2", "killed": False, "unflushed": 0}
    asked: list[str] = []

    def changed(home: Path, kind: str, name: str) -> dict[str, Any]:
        asked.append(name)
        return done

    printed: list[Any] = []
    monkeypatch.setattr(rolling, "_ask", lambda home, request, longest_s: {"nodes": rows})
    monkeypatch.setattr(rolling, "_change", changed)
    monkeypatch.setattr("mmo.cli.reload.at_desk", lambda home, config, work: 1)
    monkeypatch.setattr(terminal, "print_json", printed.append)
    assert rolling.restart(None, tmp_path, json=True, rolling=True) == 0
    assert asked == printed[0]["restarted"] == ["channel-2"]


async def test_a_desk_that_does_not_open_leaves_no_checker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(Home(tmp_path), a_file(), CONFIG)
    done: list[str] = []

    async def starts() -> None:
        done.append("started")

    async def closes() -> None:
        done.append("closed")

    def refused(*_: object) -> None:
        raise OperatorError("E0109", "too open")

    desk._checker = SimpleNamespace(start=starts, close=closes)  # type: ignore[assignment]
    monkeypatch.setattr("mmo.cli.desk.import_game", lambda config: None)
    monkeypatch.setattr("mmo.cluster.secret_files.read_secrets", refused)
    with pytest.raises(OperatorError, match="E0109"):
        async with desk:
            pass
    assert done == ["started", "closed"]
