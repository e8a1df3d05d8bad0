"""The command line with a game of one's own: which configuration counts, whose tables are read, and
what `call` makes of an answer that never comes."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.test_cli import ran

from mmo.cli import lifecycle
from mmo.cli.new import write_game
from mmo.cli.rim import FAILED, OK
from mmo.cli.sources import read_tables
from mmo.client.connection import Shell
from mmo.client.session import Displaced, Stranded
from mmo.cluster.home import ClusterFile, Home
from mmo.config.load import load_config
from mmo.content.tables import data_directory
from mmo.errors import MmoError


def remembered(directory: Path, config_file: str) -> Home:
    """A home whose last start was by this file."""
    home = Home(directory)
    home.create()
    home.write(ClusterFile(1, config_file, 7100, "", [], ["127.0.0.1:1"], ""))
    return home


def test_start_by_another_file_than_the_running_cluster_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = remembered(tmp_path / "home", str(tmp_path / "one.toml"))
    monkeypatch.setattr(lifecycle, "_supervisor_status", lambda place: {"state": "ready"})
    other = tmp_path / "two.toml"
    other.write_text("")
    code, _, err = ran(capsys, "start", "--home", str(home.directory), "--config", str(other))
    assert code == FAILED
    assert "E0731" in err and "one.toml" in err and "two.toml" in err


def test_check_without_a_file_takes_that_of_the_last_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    write_game(mine)
    home = remembered(tmp_path / "home", str(mine / "cluster.toml"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    code, out, _ = ran(capsys, "check", "--json", "--home", str(home.directory))
    assert code == OK, out


def test_tables_are_those_of_the_game_over_those_of_the_box(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    write_game(mine)
    config = load_config(mine / "cluster.toml", environment={}).config
    box = read_tables(config)
    text = (data_directory() / "combat.toml").read_text(encoding="utf-8")
    assert box.combat.damage_bare == 4 and "damage_bare = 4" in text
    own = mine / "game" / "content" / "combat.toml"
    own.write_text(text.replace("damage_bare = 4", "damage_bare = 9"), encoding="utf-8")
    assert read_tables(config).combat.damage_bare == 9


@pytest.mark.parametrize("fault", [Stranded("Wave was not answered"), Displaced("it is over")])
def test_call_without_an_answer_is_an_operators_error(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    fault: MmoError,
) -> None:
    def walks(shell: Any, walk: Any) -> Any:
        raise fault

    monkeypatch.setattr(Shell, "walk", walks)
    monkeypatch.setattr("mmo.cli.call.login_addresses", lambda home: [("127.0.0.1", 1)])
    home = str(tmp_path / "home")
    code, out, _ = ran(capsys, "call", "SERVER_LIST", "--as", "ann", "--home", home, "--json")
    assert code == FAILED and json.loads(out)["error"]["code"] == "E0730"


@pytest.mark.parametrize("command", [("prove", "chaos"), ("bench", "loopback")])
def test_a_proof_does_not_take_a_configuration_that_it_would_not_heed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    file = tmp_path / "c.toml"
    file.write_text("")
    code, _, err = ran(capsys, *command, "--config", str(file))
    assert code != OK and "--config" in err
