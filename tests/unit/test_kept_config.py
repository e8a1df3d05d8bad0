"""What runs goes by its file as it was at the start, until the next start: the copy in the home."""

import argparse
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mmo.cli import options, supervise
from mmo.cli.desk import Desk
from mmo.cluster.home import ClusterFile, Home
from mmo.cluster.node_process import NodeProcess
from mmo.cluster.process import ProcessId, identify
from mmo.cluster.supervisor import Supervisor
from mmo.cluster.topology import assign_ports
from mmo.config.kept import kept_text
from mmo.config.load import load_config
from mmo.errors import OperatorError

CONFIG = load_config(environment={}).config
FILE = """
[game]
path = "game"

[cluster]
host = 'c:\\quoted "twice"'  # a comment

[log]
level = "debug"

[metrics]
enabled = false

[[nodes]]
name = "login-1"
role = "login"
number = 1
override.login.password_threads = 1
override.net.tls_key_file = "tab\\tdelete\\u007f ü 🎲"

[[nodes]]
name = "center-1"
role = "center"
number = 2
"""


def given(directory: Path, text: str = FILE) -> Path:
    file = directory / "of the operator.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_copy_says_what_the_file_said_wherever_it_lies(tmp_path: Path) -> None:
    file = given(tmp_path)
    loaded = load_config(file, environment={})
    elsewhere = tmp_path / "run"
    elsewhere.mkdir()
    copy = elsewhere / "config.toml"
    copy.write_text(kept_text(loaded, str(file)), encoding="utf-8")
    again = load_config(copy, environment={})
    assert again.config == loaded.config
    assert again.config.game.path == str(tmp_path / "game")
    said = tomllib.loads(FILE)
    said["game"]["path"] = str(tmp_path / "game")
    assert again.overlay == said, "and neither defaults nor environment"
    assert str(file) in copy.read_text(encoding="utf-8").splitlines()[0]


def test_without_a_file_the_copy_says_nothing(tmp_path: Path) -> None:
    assert tomllib.loads(kept_text(load_config(environment={"MMO__LOG__LEVEL": "debug"}), "")) == {}


@pytest.mark.parametrize("game", ["3", "{path = 3}"])
def test_a_game_of_the_wrong_type_is_refused(tmp_path: Path, game: str) -> None:
    with pytest.raises(OperatorError, match="E0103"):
        load_config(given(tmp_path, f"game = {game}"), environment={})


async def nothing(secrets: Any, socket: str) -> str:
    return ""


async def test_nodes_are_started_and_started_again_by_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stores(*_: object) -> None:
        raise OperatorError("E0201", "no further")

    monkeypatch.setattr("mmo.cluster.supervisor.Stores", stores)
    monkeypatch.setattr(NodeProcess, "spawn", lambda node: None)
    home = Home(tmp_path)
    home.create()
    supervisor = Supervisor(home, CONFIG, (), "/x.toml", nothing, config_text="[log]\n")
    supervisor._open_file(None, str(tmp_path))
    assert supervisor.file is not None and supervisor._block is not None
    with pytest.raises(OperatorError, match="no further"):
        await supervisor._start_all(None)
    assert home.kept_config.read_text(encoding="utf-8") == "[log]\n", "before any node"
    node = supervisor.spawn_node(assign_ports(CONFIG.nodes, 7_100)[0])
    assert node._command[-2:] == ["--config", str(home.kept_config)]
    assert supervisor.file.config_file == "/x.toml", "who asks is told the operator's file"
    supervisor._block.close()


async def test_a_supervisor_is_composed_with_what_it_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[str] = []

    class Composed(Supervisor):
        async def run(self) -> int:
            texts.append(self._config_text)
            return 0

    monkeypatch.setattr(supervise, "Supervisor", Composed)
    file = given(tmp_path, "[log]\nlevel = 'debug'\n")
    arguments = argparse.Namespace(config=str(file), home=tmp_path, channels=None, follow=0)
    assert await supervise.supervise(arguments) == 0
    assert [tomllib.loads(text) for text in texts] == [{"log": {"level": "debug"}}]


def level(config: Path | None, home: Home) -> tuple[str, str]:
    """What a tool of the running cluster reads, and what a start would."""
    in_use = options.load(config, home.directory).config.log.level
    return in_use, options.load_next(config, home.directory).config.log.level


def test_tools_go_by_the_copy_while_anything_runs_and_a_start_by_the_file(tmp_path: Path) -> None:
    me = identify(os.getpid())
    assert me is not None
    gone = ProcessId(me.pid, me.started - 1)
    home = Home(tmp_path)
    home.create()
    file = given(tmp_path, "[log]\nlevel = 'error'\n")
    home.keep_config("[log]\nlevel = 'debug'\n")
    other = tmp_path / "other.toml"
    other.write_text("[log]\nlevel = 'warning'\n")
    cases: tuple[tuple[ProcessId | None, ProcessId, str], ...] = (
        (me, gone, "debug"),
        (gone, me, "debug"),
        (gone, gone, "error"),
        (None, gone, "error"),
    )
    for supervisor, node, expected in cases:
        processes = {"channel-1": node}
        home.write(ClusterFile(1, str(file), 7_100, "", [], [], "", supervisor, processes))
        assert level(None, home) == (expected, "error")
        assert level(other, home) == ("warning", "warning")
    home.write(ClusterFile(1, str(file), 7_100, "", [], [], "", me))
    opened = home.read()
    assert opened is not None
    assert Desk(home, opened, CONFIG)._checker._config_file == str(home.kept_config)
    home.kept_config.unlink()
    assert level(None, home) == ("error", "error"), "started by a release that kept none"
