"""The supervisor where nothing goes as planned: starts that break, looks that fail."""

import asyncio
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from tests.ports import PORTS

from mmo.cli import lifecycle, status, supervise
from mmo.cli.lifecycle import stop
from mmo.cluster.control import ask_async, serve
from mmo.cluster.home import AddedNode, ClusterFile, Home
from mmo.cluster.mysql_server import ManagedMysql
from mmo.cluster.process import ProcessId, identify
from mmo.cluster.secret_files import SIGNING_FILE, add_token_key, ensure_secrets, read_secrets
from mmo.cluster.supervisor import Supervisor
from mmo.config.load import load_config
from mmo.errors import OperatorError, StoreUnavailable

CONFIG = load_config(environment={**PORTS, "MMO__SUPERVISOR__WATCH_MS": "10"}).config
DEADLINE_S = 5.0


def a_supervisor(tmp_path: Path) -> Supervisor:
    async def prepare(secrets: Any, socket: str) -> str:
        return "nothing"

    return Supervisor(Home(tmp_path), CONFIG, (), "", prepare)


async def test_a_start_that_breaks_for_an_unknown_reason_is_told_and_stopped(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    supervisor = a_supervisor(tmp_path)

    async def breaks(before: Any) -> None:
        raise OSError(28, "No space left on device")

    supervisor._start_all = breaks  # type: ignore[method-assign]
    await supervisor._start(None)
    assert supervisor.state == "failed"
    assert supervisor.error is not None and supervisor.error.code == "E0001"
    assert "No space left on device" in supervisor.error.cause
    assert "Traceback" in capfd.readouterr().err, "the log of the supervisor has the details"
    await asyncio.wait_for(supervisor._ended.wait(), DEADLINE_S)


def open_to_others(secrets: Path) -> None:
    (secrets / "link").chmod(0o644)


def two_keys(secrets: Path) -> None:
    add_token_key(secrets)
    (secrets / SIGNING_FILE).unlink()


def no_pepper(secrets: Path) -> None:
    (secrets / "password-pepper").write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "code", "fix"),
    [
        (open_to_others, "E0109", "chmod 600"),
        (two_keys, "E0111", "mmo-cluster keys --sign"),
        (no_pepper, "E0109", "bring it back"),
    ],
)
async def test_secrets_that_keep_a_cluster_from_starting_are_told_to_who_starts_it(
    capfd: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    code: str,
    fix: str,
) -> None:
    with tempfile.TemporaryDirectory(prefix="mmo-") as short:  # its sockets are below it
        supervisor = a_supervisor(Path(short))
        ensure_secrets(supervisor.home, CONFIG)
        spoil(supervisor.home.secrets)
        running = asyncio.create_task(supervisor.run())
        child = SimpleNamespace(
            pid=os.getpid(),
            wait=lambda longest_s: True,
            is_running=lambda: not running.done(),
            log_tail=lambda lines: "nobody found its file",
        )
        with pytest.raises(OperatorError) as caught:
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.to_thread(
                    lifecycle._await_start, supervisor.home, child, DEADLINE_S, quiet=True
                )
        supervisor._ended.set()  # it would stay for a moment, to be asked
        assert await running == 1
    assert caught.value.code == code and fix in caught.value.fix
    assert str(caught.value) in capfd.readouterr().err, "its log has it too"


async def test_a_look_that_fails_does_not_end_the_watch(tmp_path: Path) -> None:
    supervisor = a_supervisor(tmp_path)
    looks: list[int] = []
    enough = asyncio.Event()

    def look() -> None:
        looks.append(1)
        if len(looks) == 3:
            enough.set()
        raise OSError(24, "Too many open files")

    supervisor.stores = SimpleNamespace(look=look)  # type: ignore[assignment]
    supervisor.state = "ready"
    watching = asyncio.create_task(supervisor._watch())
    await asyncio.wait_for(enough.wait(), DEADLINE_S)
    watching.cancel()
    assert not watching.done()


async def test_a_database_that_does_not_take_the_schema_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path)
    ensure_secrets(home, CONFIG)
    nobody = str(tmp_path / "nobody.sock")
    with pytest.raises(OperatorError) as caught:
        await supervise.apply_schema(CONFIG, read_secrets(home, CONFIG), nobody)
    assert caught.value.code == "E0214"
    assert isinstance(caught.value.__cause__, StoreUnavailable)


def a_file(supervisor: ProcessId | None) -> ClusterFile:
    return ClusterFile(1, "", 7_100, "", [], [], "", supervisor)


async def test_ports_that_move_are_told_with_what_took_the_old_ones(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    supervisor = a_supervisor(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        first = taken.getsockname()[1]
        before = a_file(None)
        before.port_first = first
        supervisor._open_file(before, str(tmp_path))
    assert supervisor.file is not None and supervisor.file.port_first != first
    (step,) = (await supervisor.answer({"ask": "progress"}))["steps"]
    told = (await supervisor.answer({"ask": "status"}))["ports_moved"]
    assert step["step"] == "ports" and step["text"] == told
    assert f"moved from {first} to {supervisor.file.port_first}" in told
    assert f"process {os.getpid()} " in told and told in capfd.readouterr().err
    assert supervisor._block is not None
    supervisor._block.close()


class FullDisk(Home):
    """A home whose file cannot be written any more."""

    def write(self, file: ClusterFile) -> None:
        raise OSError(28, "No space left on device")


async def test_a_cluster_on_a_full_disk_ends_all_the_same(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    supervisor = a_supervisor(tmp_path)
    supervisor.home = FullDisk(tmp_path)
    ended: list[str] = []

    async def stops() -> None:
        ended.append("stores")

    rows = {"redis": {"managed": True}, "mysql": {"managed": True}}
    supervisor.stores = SimpleNamespace(  # type: ignore[assignment]
        rows=lambda: rows, stop=stops, mysql=None, redis=None
    )
    supervisor.file = a_file(None)
    supervisor.file.processes = {"center-1": ProcessId(1, 1)}
    supervisor.state = "ready"
    reply = await supervisor.answer({"ask": "stop", "nodes": []})
    assert ended == ["stores"] and reply["stopped"] == ["redis", "mysql"]
    await asyncio.wait_for(supervisor._ended.wait(), DEADLINE_S)
    assert "No space left on device" in capfd.readouterr().err


async def test_whoever_asks_hears_of_a_full_disk_and_no_node_was_added(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    supervisor = a_supervisor(tmp_path)
    supervisor.home = FullDisk(tmp_path)
    supervisor.file, supervisor.state = a_file(None), "ready"
    server = await serve(tmp_path / "s.sock", supervisor.answer)
    with pytest.raises(OperatorError) as caught:
        question = {"ask": "scale", "role": "channel", "count": 1}
        await ask_async(tmp_path / "s.sock", question, DEADLINE_S)
    server.close()
    assert caught.value.code == "E0001" and "No space left" in caught.value.cause
    assert supervisor.file.nodes == [] and supervisor.file.added == []
    assert "Traceback" in capfd.readouterr().err


async def test_a_known_node_that_cannot_be_written_stays_removed(tmp_path: Path) -> None:
    supervisor = a_supervisor(tmp_path)
    supervisor.home = FullDisk(tmp_path)
    supervisor.configured = tuple(one for one in CONFIG.nodes if one.role == "channel")[:1]
    supervisor.file, supervisor.state = a_file(None), "ready"
    supervisor.file.removed = [supervisor.configured[0].number]
    with pytest.raises(OSError, match="No space left"):
        await supervisor.answer({"ask": "scale", "role": "channel", "count": 1})
    assert supervisor.file.removed == [supervisor.configured[0].number]
    assert supervisor.file.nodes == [] and supervisor.file.added == list[AddedNode]()


async def test_a_node_is_not_stopped_in_the_middle_of_another_change(tmp_path: Path) -> None:
    supervisor = a_supervisor(tmp_path)
    supervisor.state = "ready"
    async with supervisor._changes._alone("restart channel-2"):
        with pytest.raises(OperatorError, match="restart channel-2 is under way") as caught:
            await supervisor.answer({"ask": "stop", "nodes": ["channel-2"]})
    assert caught.value.code == "E0723"


async def test_nothing_is_started_again_in_the_middle_of_another_change(tmp_path: Path) -> None:
    supervisor = a_supervisor(tmp_path)
    supervisor.state = "ready"
    stopped = SimpleNamespace(state="stopped", ports=SimpleNamespace(number=11))
    async with supervisor._changes._alone("stop channel-1 channel-2"):
        assert await supervisor.answer({"ask": "start"}) == {"started": []}, "nothing is missing"
        supervisor.nodes = [stopped]  # type: ignore[list-item]
        with pytest.raises(OperatorError, match="stop channel-1 channel-2 is under way") as caught:
            await supervisor.answer({"ask": "start"})
        supervisor.nodes = []
    assert caught.value.code == "E0723"


async def test_who_waits_for_a_change_hears_of_the_stop_that_breaks_it_off(tmp_path: Path) -> None:
    supervisor = a_supervisor(tmp_path)
    supervisor.state = "ready"
    begun = asyncio.Event()

    async def drains(name: str) -> dict[str, Any]:
        begun.set()
        await asyncio.Event().wait()
        return {}

    supervisor._changes.drain = drains  # type: ignore[method-assign]
    server = await serve(tmp_path / "s.sock", supervisor.answer)
    question = {"ask": "drain", "name": "channel-1"}
    asking = asyncio.create_task(ask_async(tmp_path / "s.sock", question, DEADLINE_S))
    async with asyncio.timeout(DEADLINE_S):
        await begun.wait()
        await supervisor.answer({"ask": "stop", "nodes": []})
        with pytest.raises(OperatorError, match="E0715"):
            await asking
    server.close()


def test_who_follows_a_process_that_has_ended_does_not_begin(tmp_path: Path) -> None:
    async def prepare(secrets: Any, socket: str) -> str:
        return ""

    with pytest.raises(OperatorError) as caught:
        Supervisor(Home(tmp_path), CONFIG, (), "", prepare, follow=2**22 + 1)
    assert caught.value.code == "E0711"


@pytest.mark.parametrize("nodes", [[], ["channel-2"]])
def test_a_supervisor_that_lives_and_is_silent_is_not_passed_over(
    tmp_path: Path, nodes: list[str]
) -> None:
    home = Home(tmp_path)
    home.create()
    file = a_file(identify(os.getpid()))
    file.processes = {"mysql": ProcessId(os.getpid(), 0)}
    home.write(file)
    with pytest.raises(OperatorError) as caught:
        stop(nodes, tmp_path, wipe=not nodes, yes=True)
    assert caught.value.code == "E0728"
    assert home.read() == file, "nothing was ended and nothing removed"


def test_one_node_of_a_dead_supervisor_is_not_all_of_them(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    me = identify(os.getpid())
    assert me is not None
    file = a_file(ProcessId(me.pid, me.started - 1))
    file.processes = {"channel-1": me}
    home.write(file)
    with pytest.raises(OperatorError) as caught:
        stop(["channel-2"], tmp_path)
    assert caught.value.code == "E0733"


def left_behind(tmp_path: Path, *names: str) -> Home:
    """A home whose supervisor was killed, and where these processes live on."""
    home = Home(tmp_path)
    home.create()
    me = identify(os.getpid())
    assert me is not None
    gone = ProcessId(me.pid, me.started - 1)
    file = a_file(gone)
    file.processes = {"login-1": gone, **dict.fromkeys(names, me)}
    home.write(file)
    return home


def test_the_status_names_what_lives_on_without_a_supervisor(tmp_path: Path) -> None:
    home = left_behind(tmp_path, "channel-1", "mysql")
    with pytest.raises(OperatorError) as caught:
        status.read_status(home, home.read())
    assert caught.value.code == "E0733" and caught.value.cause.endswith(": channel-1 mysql")
    assert "mmo-cluster start" in caught.value.fix
    home = left_behind(tmp_path / "other")
    with pytest.raises(OperatorError) as caught:
        status.read_status(home, home.read())
    assert caught.value.code == "E0701"


def test_a_supervisor_imports_nothing_from_where_the_operator_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "argparse.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    nowhere = str(tmp_path / "nowhere.toml")
    child = lifecycle._spawn_supervisor(Home(tmp_path / "home"), nowhere, None, 0)
    assert child.wait(DEADLINE_S * 4) and child.exit_code() == 1
    assert "E0101" in child.log_tail()


def test_a_damaged_file_does_not_keep_the_supervisor_from_being_asked(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    home.cluster_file.write_text("{")
    with pytest.raises(OperatorError) as caught:
        stop([], tmp_path, wipe=True, yes=True)
    assert caught.value.code == "E0717"
    assert home.cluster_file.exists()


async def test_a_supervisor_with_a_damaged_file_is_stopped_and_writes_it_anew() -> None:
    with tempfile.TemporaryDirectory(prefix="mmo-") as short:  # its sockets are below it
        home = Home(Path(short))
        supervisor = a_supervisor(home.directory)
        answers = asyncio.Event()

        async def starts(before: Any) -> None:
            answers.set()

        supervisor._start_all = starts  # type: ignore[method-assign]
        running = asyncio.create_task(supervisor.run())
        async with asyncio.timeout(DEADLINE_S):
            await answers.wait()
            home.cluster_file.write_text("{")
            await asyncio.to_thread(stop, [], home.directory)
            assert await running == 0
        assert home.read() is not None


async def test_who_runs_is_written_with_the_successors(tmp_path: Path) -> None:
    supervisor = a_supervisor(tmp_path)
    supervisor.home.create()
    supervisor.file = a_file(None)
    running = {"center-1": ProcessId(7, 1), "center-1 successor": ProcessId(8, 1)}
    supervisor.nodes = [SimpleNamespace(running=lambda: running)]  # type: ignore[list-item]
    supervisor.stores = SimpleNamespace(mysql=None, redis=None)  # type: ignore[assignment]
    supervisor.record()
    file = supervisor.home.read()
    assert file is not None and file.processes == running


def test_a_database_is_known_from_its_spawn_on(tmp_path: Path) -> None:
    directory = tmp_path / "mysql"
    directory.mkdir()
    (directory / "bootstrapped").touch()
    program = tmp_path / "mariadbd"
    known = f"until [ -s {directory}/server.identity ]; do sleep 0.01; done"
    program.write_text(f"#!/bin/sh\n{known}\nexit 7\n")
    program.chmod(0o700)
    settings = msgspec.structs.replace(CONFIG.mysql, server=str(program))
    server = ManagedMysql(directory, settings, "secret", dies_with_parent=True)
    with pytest.raises(OperatorError, match="exit code 7"):
        server.start()


def test_a_database_without_its_mark_is_not_made_anew_over_the_old(tmp_path: Path) -> None:
    server = ManagedMysql(tmp_path / "mysql", CONFIG.mysql, "secret", dies_with_parent=True)
    kept = tmp_path / "mysql" / "data" / CONFIG.mysql.database / "player_head.ibd"
    kept.parent.mkdir(parents=True)
    kept.write_text("all players")
    with pytest.raises(OperatorError, match="bootstrapped is missing") as caught:
        server.start()
    assert caught.value.code == "E0202" and kept.read_text() == "all players"
