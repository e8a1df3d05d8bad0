"""The machinery of a home: names, files, secrets, sockets, processes."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mmo.cluster.control import NotRunning, ask, ask_async, serve
from mmo.cluster.home import ClusterFile, Home
from mmo.cluster.node_process import EXIT_CONFIGURATION, NodeProcess, node_command
from mmo.cluster.process import Child, ProcessId, end_process, identify, is_alive, wait_until
from mmo.cluster.secret_files import ensure_secrets, read_secrets, too_open
from mmo.cluster.topology import assign_ports
from mmo.config import NodeEntry
from mmo.config.load import load_config
from mmo.errors import ConfigError, OperatorError

CONFIG = load_config(environment={}).config
ENTRIES = CONFIG.nodes
LIMITS = msgspec.structs.replace(CONFIG.node, drain_ms=100, leave_ms=0, busy_ms=0)
SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]


def a_file(home: Home) -> ClusterFile:
    return ClusterFile(1, "", 7100, str(home.directory / "run"), [], [], "")


def test_secrets_are_made_once_for_the_owner_only(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    ensure_secrets(home, CONFIG)
    first = read_secrets(home, CONFIG)
    ensure_secrets(home, CONFIG)
    assert read_secrets(home, CONFIG) == first
    files = list(home.secrets.iterdir())
    assert len(files) == 7
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert too_open(home) == []
    for secret in (first.mysql, first.redis, first.link.decode(), first.pepper.decode()):
        assert len(secret) >= 32 and secret not in repr(first)


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    ensure_secrets(home, CONFIG)
    (home.secrets / "link").chmod(0o644)
    assert too_open(home) == [home.secrets / "link"]
    with pytest.raises(ConfigError, match="E0109"):
        read_secrets(home, CONFIG)


def test_a_short_link_secret_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    ensure_secrets(home, CONFIG)
    (home.secrets / "link").write_text("short")
    with pytest.raises(ConfigError, match="fewer than 32"):
        read_secrets(home, CONFIG)


@pytest.mark.parametrize("name", ["mysql", "redis", "password-pepper", "roll", "payment", "link"])
def test_an_empty_secret_is_refused_whatever_it_is_for(tmp_path: Path, name: str) -> None:
    """As a process leaves it that was killed between making the file and writing it."""
    home = Home(tmp_path)
    ensure_secrets(home, CONFIG)
    (home.secrets / name).write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        read_secrets(home, CONFIG)


def test_a_secret_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)

    def killed(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            ensure_secrets(home, CONFIG)
    assert list(home.secrets.iterdir()) == []
    ensure_secrets(home, CONFIG)
    assert read_secrets(home, CONFIG).mysql


def test_missing_secrets_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="E0109"):
        read_secrets(Home(tmp_path), CONFIG)


def test_the_cluster_file_comes_back_as_written_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    assert home.read() is None
    file = a_file(home)
    file.processes = {"mysql": ProcessId(1, 2)}
    home.write(file)
    assert home.read() == file
    home.cluster_file.write_text("{")
    with pytest.raises(OperatorError, match="E0717"):
        home.read()


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    for directory in (file, file / "below"):
        home = Home(directory)
        for act in (home.create, home.read):
            with pytest.raises(OperatorError, match="E0735") as refused:
                act()
            assert str(file) in refused.value.cause and "--home" in refused.value.fix


def test_a_home_of_another_user_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    home.create()
    monkeypatch.setattr(os, "access", lambda path, mode: path != home.logs)  # root may do all
    with pytest.raises(OperatorError, match="E0735") as refused:
        home.create()
    assert str(home.logs) in refused.value.cause and "chown" in refused.value.fix
    (tmp_path / "run" / "supervisor.lock").mkdir()
    with pytest.raises(OperatorError, match=r"E0735.*supervisor\.lock"):
        home.lock()


def test_one_supervisor_holds_a_home(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    held = home.lock()
    with pytest.raises(OperatorError, match="E0716"):
        home.lock()
    os.close(held)
    os.close(home.lock())


def test_sockets_of_a_deep_home_live_in_a_short_directory(tmp_path: Path) -> None:
    deep = Home(tmp_path / ("d" * 90))
    deep.create()
    directory = deep.choose_socket_directory("")
    assert len(directory) < 60 and stat.S_IMODE(Path(directory).stat().st_mode) == 0o700
    assert deep.choose_socket_directory(directory) == directory
    file = a_file(deep)
    file.socket_directory = directory
    deep.write(file)
    assert deep.socket("login-1", file) == Path(directory) / "login-1.sock"
    deep.wipe()
    assert not Path(directory).exists()


async def echo(request: dict[str, Any]) -> dict[str, Any]:
    if request.get("ask") == "fail":
        raise OperatorError("E0708", "no such thing", "try another")
    return {"said": request}


async def test_a_question_is_answered_and_an_error_told(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    server = await serve(path, echo)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert await ask_async(path, {"ask": "x", "text": "한글\n"}, 2.0) == {
        "said": {"ask": "x", "text": "한글\n"}
    }
    assert await asyncio.to_thread(ask, path, {"ask": "y"}, 2.0) == {"said": {"ask": "y"}}
    with pytest.raises(OperatorError) as told:
        await ask_async(path, {"ask": "fail"}, 2.0)
    assert (told.value.code, told.value.fix) == ("E0708", "try another")
    server.close()


@pytest.mark.parametrize("line", [b"nonsense\n", b"[1]\n", b"\xff\xfe\n", b"3\n"])
async def test_a_line_that_is_no_question_is_refused_and_the_next_answered(
    tmp_path: Path, line: bytes
) -> None:
    path = tmp_path / "s.sock"
    server = await serve(path, echo)
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(line + b'{"ask": "x"}\n')
    assert json.loads(await reader.readline())["error"]["code"] == "E0707"
    assert json.loads(await reader.readline()) == {"said": {"ask": "x"}}
    writer.close()
    server.close()


async def test_nobody_behind_the_socket_is_not_running(tmp_path: Path) -> None:
    for path in (tmp_path / "none.sock", tmp_path):
        with pytest.raises(NotRunning):
            ask(path, {"ask": "x"}, 0.5)
        with pytest.raises(NotRunning):
            await ask_async(path, {"ask": "x"}, 0.5)


def test_a_pid_is_a_process_only_with_its_start_time(tmp_path: Path) -> None:
    child = Child(SLEEPER, tmp_path / "log", dies_with_parent=True)
    identity = identify(child.pid)
    assert identity == child.identity and is_alive(child.identity)
    assert not is_alive(ProcessId(child.pid, child.identity.started + 1))
    child.kill()
    assert not is_alive(child.identity)
    assert identify(child.pid) is None


def test_a_deaf_process_is_killed_after_the_grace(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\n"
    child = Child(
        [sys.executable, "-c", deaf + "while True: signal.pause()"],
        tmp_path / "log",
        dies_with_parent=True,
    )
    assert wait_until(lambda: child.log_tail() == "up", 10.0)
    assert child.stop(0.05) is False
    assert child.exit_code() == -signal.SIGKILL
    assert end_process(child.identity, 0.05) is True


def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="E0301"):
        Child(["/nowhere/program"], tmp_path / "log", dies_with_parent=True)


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    directory, file = tmp_path / "directory", tmp_path / "file"
    directory.mkdir()
    file.touch()
    for log, named in ((directory, directory), (file / "log", file)):
        with pytest.raises(OperatorError, match="E0735") as refused:
            Child(SLEEPER, log, dies_with_parent=True)
        assert str(named) in refused.value.cause and "chown" in refused.value.fix


async def look_until(node: NodeProcess, state: str) -> None:
    async with asyncio.timeout(20.0):
        while node.state != state:
            await node.look(CONFIG.supervisor)
            await asyncio.sleep(0)


def test_a_node_imports_nothing_from_where_the_operator_stands(tmp_path: Path) -> None:
    (tmp_path / "argparse.py").write_text("raise SystemExit(7)")
    (ports,) = assign_ports((NodeEntry(name="a", role="raid", number=1),), 7100)
    command = [*node_command(ports, tmp_path / "home", ""), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "mmo-cluster run" in done.stdout, done


def node_that(
    tmp_path: Path, code: str, *more: str, record: Callable[[], None] = lambda: None
) -> NodeProcess:
    (ports,) = assign_ports((NodeEntry(name="a", role="raid", number=1),), 7100)
    command = [sys.executable, "-c", code, *more]
    return NodeProcess(ports, command, tmp_path / "a.sock", tmp_path / "a.out", record)


async def test_a_node_that_always_crashes_is_given_up(tmp_path: Path) -> None:
    settings = load_config(
        environment={
            "MMO__SUPERVISOR__RESTART_MS_MIN": "1",
            "MMO__SUPERVISOR__RESTART_MS_MAX": "2",
            "MMO__SUPERVISOR__CRASHES_MAX": "3",
        }
    ).config.supervisor
    said = "E0409  broken inside\\n       more       mmo-cluster explain E0409"
    node = node_that(tmp_path, f"raise SystemExit('{said}')")
    node.spawn()
    async with asyncio.timeout(30.0):
        while node.state != "failed":
            await node.look(settings)
            await asyncio.sleep(0)
    assert node.restarts == 3
    assert node.error == "ended with 1: E0409  broken inside"
    assert (await node.row())["ready"] is False


ANSWERS_ALWAYS = """
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
while True:
    connection, _ = server.accept()
    connection.recv(1000)
    connection.sendall(b'{"ready": true}\\n')
"""


async def test_a_node_that_no_longer_answers_is_ended_and_started_again(tmp_path: Path) -> None:
    settings = load_config(
        environment={"MMO__SUPERVISOR__SILENT_MS": "1", "MMO__SUPERVISOR__RESTART_MS_MIN": "1"}
    ).config.supervisor
    node = node_that(tmp_path, ANSWERS_ALWAYS, str(tmp_path / "a.sock"))
    node.spawn()
    async with asyncio.timeout(30.0):
        while node.state != "ready":
            await node.look(settings)
            await asyncio.sleep(0)
        assert node.child is not None
        first = node.child.pid
        node.child.signal(signal.SIGSTOP)
        while node.restarts == 0 or node.state != "ready":
            await node.look(settings)
            await asyncio.sleep(0)
    assert node.child.pid != first
    await node.stop(LIMITS, move=False)


async def test_a_node_that_is_configured_wrongly_is_not_tried_again(tmp_path: Path) -> None:
    node = node_that(tmp_path, f"raise SystemExit({EXIT_CONFIGURATION})")
    node.spawn()
    await look_until(node, "failed")
    assert node.restarts == 0


async def test_a_node_that_served_and_finds_its_port_taken_for_a_moment_is_tried_again(
    tmp_path: Path,
) -> None:
    node = node_that(tmp_path, f"raise SystemExit({EXIT_CONFIGURATION})")
    node._has_served = True
    node.spawn()
    await look_until(node, "waiting")
    assert len(node.crashes) == 1


async def test_a_node_that_is_killed_on_request_is_always_restarted(tmp_path: Path) -> None:
    settings = load_config(
        environment={
            "MMO__SUPERVISOR__RESTART_MS_MIN": "1",
            "MMO__SUPERVISOR__RESTART_MS_MAX": "1",
            "MMO__SUPERVISOR__CRASHES_MAX": "2",
        }
    ).config.supervisor
    recorded: list[dict[str, ProcessId]] = []
    node = node_that(
        tmp_path, "import signal; signal.pause()", record=lambda: recorded.append(node.running())
    )
    node.spawn()
    async with asyncio.timeout(30.0):
        for times in range(1, 6):
            node.kill()
            while node.restarts < times:
                await node.look(settings)
                await asyncio.sleep(0)
            assert recorded[-1] == node.running() and len(recorded) == times
    assert node.state == "starting"
    await node.stop(LIMITS, move=False)


async def test_a_stopped_node_stays_stopped(tmp_path: Path) -> None:
    node = node_that(tmp_path, "import signal; signal.pause()")
    node.spawn()
    assert node.child is not None
    result = await node.stop(LIMITS, move=False)
    assert result["name"] == "a" and not is_alive(node.child.identity)
    await node.look(CONFIG.supervisor)
    assert node.state == "stopped"
    with pytest.raises(OperatorError, match="E0708"):
        node.kill()


def test_the_targets_of_a_home_name_every_node_with_its_labels(tmp_path: Path) -> None:
    home = Home(tmp_path)
    file = a_file(home)
    file.nodes = assign_ports(ENTRIES, 7100)
    hosts = {entry.name: "127.0.0.1" for entry in ENTRIES} | {"channel-1": "10.0.0.9"}
    home.write_targets(file, hosts)
    groups = json.loads(home.metrics_targets.read_text(encoding="utf-8"))
    assert len(groups) == len(ENTRIES)
    assert groups[0] == {
        "targets": ["127.0.0.1:7112"],
        "labels": {"node": "login-1", "role": "login", "number": "1"},
    }
    del hosts["login-1"]
    home.write_targets(file, hosts)
    told = json.loads(home.metrics_targets.read_text(encoding="utf-8"))
    assert told == groups[1:], "who tells no figures is not asked for them"
    by_name = {group["labels"]["node"]: group["targets"][0] for group in told}
    assert by_name["channel-1"].startswith("10.0.0.9:")


LOADS = """
import pathlib, signal, sys
if "--stands-by" in sys.argv:
    pathlib.Path(sys.argv[1]).write_text(str(__import__("os").getpid()))
signal.pause()
"""


async def test_a_successor_takes_the_place_when_its_code_is_loaded(tmp_path: Path) -> None:
    loaded = tmp_path / "a.loaded"
    recorded: list[dict[str, ProcessId]] = []
    node = node_that(tmp_path, LOADS, str(loaded), record=lambda: recorded.append(node.running()))
    node.spawn()
    assert node.child is not None
    first = node.child.identity
    done = await node.replace(LIMITS, CONFIG.supervisor, loaded)
    assert done["name"] == "a" and not is_alive(first)
    assert node.state == "starting" and is_alive(node.child.identity)
    assert node.child.identity != first
    # Whoever comes after a supervisor that is killed meanwhile finds both.
    assert recorded == [{"a": first, "a successor": node.child.identity}]
    assert node.running() == {"a": node.child.identity}
    node.child.kill()


async def test_a_successor_that_does_not_load_changes_nothing(tmp_path: Path) -> None:
    program = 'import signal, sys; "--stands-by" in sys.argv and sys.exit("E0102 wrong"); '
    node = node_that(tmp_path, program + "signal.pause()")
    node.spawn()
    assert node.child is not None
    first = node.child.identity
    with pytest.raises(OperatorError, match="E0722") as caught:
        await node.replace(LIMITS, CONFIG.supervisor, tmp_path / "a.loaded")
    assert "E0102 wrong" in caught.value.cause
    assert node.child.identity == first and is_alive(first) and node.state == "starting"
    node.child.kill()
