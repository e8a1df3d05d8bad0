"""A node that cannot have its address or certificate: told with its key, and not tried again."""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from tests.contract.core_sides import core_settings

from mmo._core import CoreError, NetCore
from mmo.cli import run
from mmo.cli.core_faults import operator_error
from mmo.cli.node_runner import NodeRunner
from mmo.cli.rim import USAGE
from mmo.cluster.home import ClusterFile, Home, NodePorts
from mmo.cluster.listeners import who_listens
from mmo.cluster.process import ProcessId, identify
from mmo.config.load import load_config
from mmo.errors import ConfigError, OperatorError, StoreUnavailable

CONFIG = load_config(environment={}).config


def failure(tmp_path: Path, ports: NodePorts, start: Callable[[], Any]) -> OperatorError:
    """What a node says whose core does this at the start."""

    async def starts() -> None:
        start()

    runner = NodeRunner(Home(tmp_path), CONFIG, ports, replaces=True, logs_to_file=False)
    with pytest.raises(OperatorError) as caught:
        asyncio.run(runner._start(SimpleNamespace(start=starts)))  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("client_port", socket.SOCK_STREAM),
        ("link_port", socket.SOCK_STREAM),
        ("datagram_port", socket.SOCK_DGRAM),
    ],
)
def test_a_port_that_is_taken_is_told_with_its_key_and_who_has_it(
    tmp_path: Path, key: str, kind: socket.SocketKind
) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        ports = msgspec.structs.replace(NodePorts("raid-1", "raid", 31, 0, 0, 0), **{key: port})
        settings = msgspec.structs.replace(core_settings(31, "raid"), **{key: port})
        told = failure(tmp_path, ports, NetCore(settings).start)
        assert told.code == "E0732" and not isinstance(told, ConfigError)
        assert f"raid-1 cannot listen on 127.0.0.1 port {port} ({key})" in told.cause
        assert who_listens(port, datagrams=kind == socket.SOCK_DGRAM) in told.cause
        assert f"process {os.getpid()} " in told.cause and key in told.fix


def test_an_address_of_another_machine_is_told_with_its_key(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(core_settings(31, "raid"), link_host="192.0.2.1")
    settings = msgspec.structs.replace(settings, link_port=7_199)
    ports = NodePorts("raid-1", "raid", 31, 0, 7_199, 0)
    told = failure(tmp_path, ports, NetCore(settings).start)
    assert told.code == "E0732" and "192.0.2.1" in told.cause and "cluster.link_host" in told.fix


@pytest.mark.parametrize("why", ["failed to lookup address information", "(os error 24)"])
def test_what_passes_by_itself_is_left_to_the_next_try(why: str) -> None:
    ports = NodePorts("raid-1", "raid", 31, 7_100, 7_199, 0)
    assert operator_error(CoreError(f"address game.test:7100: {why}"), CONFIG, ports) is None


def test_a_database_that_is_away_while_the_lease_is_taken_is_told_as_that(tmp_path: Path) -> None:
    def away() -> None:
        raise StoreUnavailable("no answer in 3 s")

    told = failure(tmp_path, NodePorts("raid-1", "raid", 31, 0, 0, 0), away)
    assert told.code == "E0214" and "no answer in 3 s" in told.cause


def test_a_log_that_another_user_began_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.log_file("raid-1").mkdir(parents=True)  # in its place: root may write any file
    ports = NodePorts("raid-1", "raid", 31, 0, 0, 0)
    runner = NodeRunner(home, CONFIG, ports, replaces=True, logs_to_file=True)
    with pytest.raises(OperatorError, match=r"E0735.*raid-1\.jsonl"):
        runner._log()


def test_a_certificate_that_is_none_is_told_with_its_key(tmp_path: Path) -> None:
    file = tmp_path / "chain.pem"
    file.write_text("no certificate")
    files = {"tls_certificate_file": str(file), "tls_key_file": str(file)}
    settings = msgspec.structs.replace(core_settings(31, "raid"), **files)
    ports = NodePorts("raid-1", "raid", 31, 0, 0, 0)
    told = failure(tmp_path, ports, lambda: NetCore(settings).start())
    assert isinstance(told, ConfigError) and told.code == "E0109"
    assert "net.tls_" in told.cause


def test_another_setting_that_the_core_refuses_is_told_with_its_key(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(core_settings(31, "raid"), ring_bytes=8)
    ports = NodePorts("raid-1", "raid", 31, 0, 0, 0)
    told = failure(tmp_path, ports, lambda: NetCore(settings))
    assert isinstance(told, ConfigError) and told.code == "E0104" and "net.ring_bytes" in told.cause


@pytest.mark.parametrize("started", [0, 1])
async def test_a_node_knows_whether_the_supervisor_that_started_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: int
) -> None:
    me = identify(os.getpid())
    assert me is not None
    supervisor = ProcessId(me.pid, me.started - started)  # one that had this pid before is gone
    file = ClusterFile(1, "", 7_100, "", [], [], "", supervisor)
    node = SimpleNamespace(is_unwatched=lambda: False)

    async def nothing(*_: object) -> None:
        pass

    async def ends(*_: object) -> None:
        raise asyncio.CancelledError

    for name in ("_give_back_lease", "_load_generation", "_publish_keys"):
        monkeypatch.setattr(NodeRunner, name, nothing)
    monkeypatch.setattr(NodeRunner, "_compose", lambda *_: node)
    monkeypatch.setattr(NodeRunner, "_payment_door", lambda *_: None)
    monkeypatch.setattr(NodeRunner, "_start", ends)
    ports = NodePorts("raid-1", "raid", 31, 0, 0, 0)
    runner = NodeRunner(Home(tmp_path), CONFIG, ports, replaces=True, logs_to_file=False)
    store: Any = SimpleNamespace(close=nothing)
    with pytest.raises(asyncio.CancelledError):
        await runner._live(store, file)
    assert node.is_unwatched() == bool(started)


@pytest.mark.parametrize("code", ["E0718", "E0732"])
def test_a_node_whose_port_is_taken_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    async def refused(self: NodeRunner) -> int:
        raise OperatorError(code, "taken", "stop it")

    monkeypatch.setattr(NodeRunner, "run", refused)
    assert run.run_node("raid", 31, tmp_path, "") == USAGE
    assert code in capsys.readouterr().err
    # One that stands by may meet the ports of one that hangs: the supervisor ends that.
    with pytest.raises(OperatorError):
        run.run_node("raid", 31, tmp_path, "", stands_by=True)
