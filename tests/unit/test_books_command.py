"""Commands that ask the books of a database whose schema is behind: told so, before they ask."""

import json
from pathlib import Path

import pytest

from mmo.cli.rim import FAILED, run_guarded
from mmo.cluster.home import Home
from mmo.cluster.secret_files import ensure_secrets
from mmo.config.load import load_config
from mmo.store import mysql_pool
from mmo.store.connection import Statement, StatementFailed

NO_SUCH_TABLE = 1146


class EmptyDatabase:
    """A pool and its connection at once: no table is there, and nothing else is asked for."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def take(self) -> "EmptyDatabase":
        return self

    async def __aenter__(self) -> "EmptyDatabase":
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def rows(self, statement: Statement, *values: object) -> list[tuple[object, ...]]:
        raise StatementFailed(NO_SUCH_TABLE, f"no such table: {statement.text}")

    row = execute = rows

    async def begin(self) -> None: ...


@pytest.mark.parametrize(
    "command",
    [
        ("audit",),
        ("odds", "--report"),
        ("purge", "--older-than", "90d", "--dry-run"),
        ("rebuild", "ranking"),
        ("replay", "--all"),
        ("restore", "player", "7", "--at", "2026-01-01"),
    ],
)
def test_a_schema_that_is_behind_is_told_with_its_fix(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    monkeypatch.setattr(mysql_pool, "MysqlPool", EmptyDatabase)
    file = tmp_path / "cluster.toml"
    file.write_text("[mysql]\nsocket = 'nowhere'\n[redis]\nnodes = ['127.0.0.1:1']\n")
    home = Home(tmp_path / "home")
    ensure_secrets(home, load_config(file, {}).config)
    words = ("--home", str(home.directory), "--config", str(file), "--json")
    assert run_guarded((*command, *words)) == FAILED
    said = json.loads(capsys.readouterr().out)["error"]
    assert (said["code"], said["fix"]) == ("E0204", "mmo-cluster migrate apply")
