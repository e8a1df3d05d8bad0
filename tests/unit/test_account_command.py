"""`account` on the command line: what it takes, what it refuses, what it prints."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import typer

from mmo.cli import account as command
from mmo.cli import compose
from mmo.cli.books import one_player
from mmo.cli.rim import OK
from mmo.errors import OperatorError, StoreUnavailable
from mmo.ops.accounts import FOR_EVER_MS, REASON_CHARACTERS_MAX, AccountSeen, Changed
from mmo.store.mysql_pool import MysqlPool

Ask = Callable[..., int]
NOW_MS = 1_800_000_000_000
SEEN = AccountSeen(7, "Ann", NOW_MS, 3, 0, 0, 4, 11, NOW_MS)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Ask, list[Any]]:
    """`ask(answer, **options)`: the command over a given answer, and what would have been done."""
    calls: list[Any] = []

    def ask(answer: AccountSeen | Exception = SEEN, **options: Any) -> int:
        async def answered(
            settings: Any, identity: str, done: Changed | None, config: Any, home: Path, new: str
        ) -> AccountSeen:
            calls.append((identity, done, new))
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(command, "_asked", answered)
        monkeypatch.setattr(compose, "home_store_settings", lambda home, config: None)
        monkeypatch.setattr("time.time", lambda: NOW_MS / 1_000)
        defaults: dict[str, Any] = {
            "identity": "Ann", "ban": None, "lift": False, "unlock": False, "password": False,
            "reason": "", "home": tmp_path, "config": None, "json": False,
        }  # fmt: skip
        return command.account(**(defaults | options))

    return ask, calls


def test_a_look_changes_nothing_and_prints_what_is_known(
    asked: tuple[Ask, list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    ask, calls = asked
    assert ask() == OK and calls == [("Ann", None, "")]
    out = capsys.readouterr().out
    assert "user 7, Ann" in out and "server 11" in out and "2027-01-15 08:00:00" in out
    assert ask(json=True) == OK
    assert json.loads(capsys.readouterr().out)["user"] == 7


@pytest.mark.parametrize(
    ("typed", "until_ms", "shown"),
    [
        ("7d", NOW_MS + 604_800_000, "until 2027-01-22 08:00:00"),
        ("90m", NOW_MS + 5_400_000, "until 2027-01-15 09:30:00"),
        ("forever", FOR_EVER_MS, "for ever"),
    ],
)
def test_a_ban_has_an_end_a_reason_and_who_ordered_it(
    asked: tuple[Ask, list[Any]],
    capsys: pytest.CaptureFixture[str],
    typed: str,
    until_ms: int,
    shown: str,
) -> None:
    ask, calls = asked
    made = Changed("ban", until_ms, "sold gold", "ann@desk", NOW_MS)
    answer = AccountSeen(7, "Ann", NOW_MS, 0, 0, until_ms, 4, 0, 0, [made])
    assert ask(answer, ban=typed, reason="sold gold") == OK
    ((_, done, _),) = calls
    assert (done.what, done.until_ms, done.reason, done.at_ms) == made_of(made)
    assert "@" in done.who
    out = capsys.readouterr().out
    assert shown in out and "sold gold" in out and "ann@desk" in out and "no server" in out


def made_of(change: Changed) -> tuple[str, int, str, int]:
    """All but by whom, which is the machine's."""
    return change.what, change.until_ms, change.reason, change.at_ms


@pytest.mark.parametrize(
    "options",
    [
        {"ban": ""},
        {"ban": "7"},
        {"ban": "0d"},
        {"ban": "never"},
        {"ban": "36501d"},
        {"ban": "7d", "lift": True},
        {"unlock": True, "password": True},
        {"reason": "for a look"},
        {"lift": True, "reason": "\udcff"},
        {"lift": True, "reason": "x" * (REASON_CHARACTERS_MAX + 1)},
    ],
)
def test_what_is_no_change_is_a_usage_error(
    asked: tuple[Ask, list[Any]], options: dict[str, Any]
) -> None:
    ask, calls = asked
    with pytest.raises(typer.BadParameter):
        ask(**options)
    assert not calls


class Input(io.TextIOWrapper):
    """Standard input that is no terminal."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8", errors="surrogateescape")


def test_a_password_is_the_first_line_of_input_and_is_printed_nowhere(
    asked: tuple[Ask, list[Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask, calls = asked
    monkeypatch.setattr("sys.stdin", Input("pässword of Ann \r\nnot this\n".encode()))
    assert ask(password=True) == OK
    ((_, done, new),) = calls
    assert (done.what, new) == ("password", "pässword of Ann ")
    told = capsys.readouterr()
    assert "pässword" not in told.out + told.err


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"short\n", b"x" * 2_000 + b"\n", b"\xff" * 12 + b"\n"]
)
def test_a_password_that_the_game_does_not_take_changes_nothing(
    asked: tuple[Ask, list[Any]], monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    ask, calls = asked
    monkeypatch.setattr("sys.stdin", Input(data))
    with pytest.raises(OperatorError, match="E0736"):
        ask(password=True)
    assert not calls


def test_who_has_no_standard_input_types_no_password(
    asked: tuple[Ask, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, calls = asked
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(OperatorError, match="E0736"):
        ask(password=True)
    assert not calls


async def test_what_is_no_text_is_nobody() -> None:
    with pytest.raises(OperatorError, match="E0720"):
        await one_player(cast("MysqlPool", None), "\udcff")


def test_a_database_that_is_away_is_told(asked: tuple[Ask, list[Any]]) -> None:
    ask, _ = asked
    with pytest.raises(OperatorError, match="E0214"):
        ask(StoreUnavailable("away"), lift=True)
