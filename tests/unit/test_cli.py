"""The command line without a cluster: forms, exit codes, errors with a code, quick imports."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from mmo.cli.app import MODULES, run_command
from mmo.cli.explain import read_pages
from mmo.cli.rim import FAILED, NOT_RUNNING, OK, USAGE, guard, run_guarded
from mmo.errors import OperatorError


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run_guarded(arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize(
    "command",
    [
        *(("status",), ("stop",), ("kill", "mysql"), ("logs",), ("migrate", "check")),
        *(("drain", "channel-1"), ("restart", "--rolling"), ("scale", "channel=3")),
        *(("metrics", "center-1"), ("trace", "--user", "1")),
    ],
)
def test_without_a_cluster_exit_code_three(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    home = tmp_path / "none"
    home.mkdir()
    if command[0] == "migrate":
        from mmo.cluster.home import Home
        from mmo.cluster.secret_files import ensure_secrets
        from mmo.config.load import load_config

        ensure_secrets(Home(home), load_config(environment={}).config)
    code, out, err = ran(capsys, *command, "--home", str(home), "--json")
    assert code == NOT_RUNNING
    assert json.loads(out)["error"]["code"] == "E0701"
    assert "mmo-cluster start" in err


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("status", "--colour"), ("run", "login"), ("run", "login", "--number", "0"),
     ("migrate", "undo"), ("start", "--channels", "0"), ("kill",), ("drain",), ("restart",),
     ("restart", "a", "--rolling"), ("scale", "channel"), ("scale", "channel=0"), ("purge",),
     ("scale", "tavern=2"), ("trace",)],
)  # fmt: skip
def test_wrong_usage_is_two(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    code, _, err = ran(capsys, *arguments)
    assert code == USAGE
    assert "Traceback" not in err and err


def test_an_unexpected_failure_is_a_code_and_a_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> int:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert guard(broken, as_json=True) == FAILED
    said = capsys.readouterr()
    assert json.loads(said.out)["error"]["code"] == "E0001"
    assert "Traceback" not in said.err
    (details,) = tmp_path.iterdir()
    assert str(details) in said.err
    assert "ZeroDivisionError: a defect" in details.read_text()


def test_an_operators_error_is_code_cause_and_fix(capsys: pytest.CaptureFixture[str]) -> None:
    def wrong() -> int:
        raise OperatorError("E0201", "no server", "install one")

    assert guard(wrong, as_json=False) == FAILED
    said = capsys.readouterr()
    assert said.out == ""
    assert "E0201  no server" in said.err
    assert "install one" in said.err and "mmo-cluster explain E0201" in said.err


def test_every_command_of_the_contract_has_home_config_and_json() -> None:
    from typer.main import get_command

    from mmo.cli.app import make_app

    commands = get_command(make_app()).commands  # type: ignore[attr-defined]
    wanted = {
        *("start", "stop", "status", "play", "bot", "call", "logs", "doctor", "explain"),
        *("check", "config", "migrate", "audit", "kill", "bench", "prove", "run"),
        *("drain", "restart", "scale", "metrics", "trace"),
    }
    assert wanted <= set(commands)
    for name in wanted:
        options = {option for param in commands[name].params for option in param.opts}
        assert {"--home", "--config"} <= options, name
        assert "--json" in options or name in ("play", "run"), name


def test_every_module_of_the_table_exists() -> None:
    import importlib.util

    assert all(importlib.util.find_spec(f"mmo.cli.{name}") for name in MODULES)


def test_explain_prints_the_page_of_a_code_in_any_case(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = ran(capsys, "explain", "e0201")
    assert code == OK and out.startswith("# E0201 ") and "mariadb" in out
    code, _, err = ran(capsys, "explain", "E9999")
    assert code == FAILED and "E0714" in err
    code, out, _ = ran(capsys, "explain", "--json")
    assert set(json.loads(out)) == set(read_pages())


def test_config_prints_values_and_origins(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[net]\nidle_ms = 70000\n")
    monkeypatch.setenv("MMO__NODE__SWEEP_MS", "500")
    home = str(tmp_path)
    code, out, _ = ran(
        capsys, "config", "--origin", "--json", "--config", str(file), "--home", home
    )
    assert code == OK
    shown = json.loads(out)
    assert shown["net.idle_ms"] == {"value": 70_000, "origin": str(file)}
    assert shown["node.sweep_ms"] == {"value": 500, "origin": "MMO__NODE__SWEEP_MS"}
    code, out, _ = ran(capsys, "config", "--home", home)
    assert code == OK and "net.idle_ms = 60000" in out


def test_a_wrong_configuration_stops_every_command_before_it_acts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[net]\nidle_mss = 70000\n")
    home = tmp_path / "home"
    for command in ("start", "config"):
        code, _, err = ran(capsys, command, "--config", str(file), "--home", str(home))
        assert code == FAILED and "E0102" in err and "net.idle_ms" in err
    assert not home.exists()
    code, out, _ = ran(capsys, "check", "--json", "--config", str(file), "--home", str(home))
    assert code == FAILED
    assert not json.loads(out)["checks"][0]["ok"]


def test_check_builds_every_role_without_starting(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, _ = ran(capsys, "check", "--json", "--home", str(tmp_path / "home"))
    assert code == OK, out
    assert [row["name"] for row in json.loads(out)["checks"]] == [
        "config", "content", "handlers", "schema",
    ]  # fmt: skip


def test_doctor_makes_many_checks_and_tells_a_fix_for_what_fails(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from mmo.cluster.home import Home
    from mmo.cluster.secret_files import ensure_secrets
    from mmo.config.load import load_config

    home = Home(tmp_path / "home")
    ensure_secrets(home, load_config(environment={}).config)
    _, out, _ = ran(capsys, "doctor", "--json", "--home", str(home.directory))
    rows = json.loads(out)["checks"]
    assert len(rows) >= 20
    assert all(row["code"] in read_pages() for row in rows)
    assert {row["name"]: row["verdict"] for row in rows}["secrets"] == "ok"
    (home.secrets / "link").chmod(0o644)
    code, out, _ = ran(capsys, "doctor", "--json", "--home", str(home.directory))
    bad = {row["name"]: row for row in json.loads(out)["checks"] if row["verdict"] == "failed"}
    assert code == FAILED
    assert "chmod 600" in bad["secrets"]["fix"]


def test_doctor_sees_a_missing_server(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[mysql]\nserver = '/nowhere/mariadbd'\n[redis]\nserver = '/nowhere/redis'\n")
    code, out, _ = ran(
        capsys, "doctor", "--json", "--config", str(file), "--home", str(tmp_path / "home")
    )
    found = {row["name"]: row["code"] for row in json.loads(out)["checks"]}
    assert code == FAILED
    assert (found["mysql server"], found["redis server"]) == ("E0201", "E0213")


@pytest.mark.parametrize("act", ["plan", "apply", "check"])
def test_a_migration_without_a_database_names_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, act: str
) -> None:
    from mmo.cluster.home import Home
    from mmo.cluster.secret_files import ensure_secrets
    from mmo.config.load import load_config

    home = Home(tmp_path / "home")
    ensure_secrets(home, load_config(environment={}).config)
    file = tmp_path / "c.toml"
    file.write_text(f"[mysql]\nsocket = '{tmp_path}/nobody'\n[redis]\nnodes = ['127.0.0.1:1']\n")
    words = ("migrate", act, "--config", str(file), "--home", str(home.directory))
    code, _, err = ran(capsys, *words)
    assert code == FAILED and "E0214" in err and "mmo-cluster status" in err


def test_logs_are_merged_by_time_and_filtered(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    directory = tmp_path / "log"
    directory.mkdir()
    lines = {
        "a": [("10:00:01", "info", 7), ("10:00:04", "error", 8)],
        "b": [("10:00:02", "debug", 8), ("10:00:03", "warning", 7)],
    }
    for name, rows in lines.items():
        text = "".join(
            json.dumps({"time": when, "level": level, "event": "e", "user": user}) + "\n"
            for when, level, user in rows
        )
        (directory / f"{name}.jsonl").write_text(text + '{"half')

    def times(*arguments: str) -> list[str]:
        code, out, _ = ran(capsys, "logs", "--json", "--home", str(tmp_path), *arguments)
        assert code == OK
        return [json.loads(line)["time"][-1] for line in out.splitlines()]

    assert times() == ["1", "2", "3", "4"]
    assert times("--user", "7") == ["1", "3"]
    assert times("--level", "warning") == ["3", "4"]
    assert times("b") == ["2", "3"]
    assert times("-n", "1") == ["4"]
    code, _, err = ran(capsys, "logs", "c", "--home", str(tmp_path))
    assert code == FAILED and "E0708" in err


def test_status_imports_nothing_that_is_slow() -> None:
    code = (
        "import sys\n"
        "from mmo.cli.rim import run_guarded\n"
        "assert run_guarded(['status', '--home', '/nowhere', '--json']) == 3\n"
        "print(' '.join(sorted(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    slow = {"asyncio", "redis", "mysql", "mysql.connector", "jwt", "cryptography",
            "rich", "uvloop", "mmo._core", "mmo.store", "mmo.node", "mmo.content",
            "mmo.systems", "mmo.roles", "mmo.wire", "mmo.client"}  # fmt: skip
    assert not loaded & slow
    assert "mmo.cluster.control" in loaded


def test_a_help_page_is_shown_for_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    code = run_command([])
    out = capsys.readouterr()
    assert code in (OK, USAGE) and "start" in out.out + out.err


SAID = {
    "ready": True,
    "nodes": [
        {
            "name": "channel-1", "number": 11, "role": "channel", "pid": 7, "state": "ready",
            "ready": True, "generation": 1, "connections": 5, "players": 4, "links": [2],
            "loop_lag_p99_ms": 1.25, "queue": 0, "restarts": 0, "error": "", "client_port": 7116,
            "ports": {"metrics": 7118},
        },
    ],
    "stores": {"redis": {"ready": True, "servers": []}, "mysql": {"ready": True, "pid": 9}},
}  # fmt: skip


@pytest.mark.parametrize("person", [True, False])
def test_status_watch_shows_again_and_again_until_it_is_interrupted(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    person: bool,
) -> None:
    from mmo.cli import status, terminal
    from mmo.cluster.home import ClusterFile, Home

    home = Home(tmp_path)
    home.create()
    home.write(ClusterFile(1, "", 7100, str(tmp_path / "run"), [], [], ""))
    asked: list[int] = []

    def told(*_: object) -> dict[str, object]:
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return SAID

    monkeypatch.setattr(status, "read_status", told)
    monkeypatch.setattr(status, "WATCH_S", 0.0)
    monkeypatch.setattr(terminal, "on_terminal", lambda: person)
    words = ("status", "--watch", "--home", str(tmp_path), *(() if person else ("--json",)))
    _, out, _ = ran(capsys, *words)
    assert len(asked) == 3
    if person:
        assert "channel-1" in out and "7116" in out and "…" not in out
    else:
        assert [json.loads(line) for line in out.splitlines()] == [SAID, SAID]


def test_call_knows_every_message_but_those_of_links_and_raid_servers() -> None:
    from mmo.cli.call import message_of
    from mmo.wire.opcode import Op

    assert message_of("ranking_page", '{"start": 1}').opcode == Op.RANKING_PAGE
    assert message_of("RAID_QUEUE", '{"kind": 1}').opcode == Op.RAID_QUEUE
    for name in ("RAID_READY", "TICKET_PUT", "ENTER"):
        with pytest.raises(typer.BadParameter, match="no message"):
            message_of(name, "{}")


def test_a_node_asked_to_end_while_it_waits_for_the_database_ends_in_order(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, and never says a word
        settings = tmp_path / "mmo.toml"
        settings.write_text(
            f'[mysql]\nhost = "127.0.0.1"\nport = {silent.getsockname()[1]}\n'
            '[redis]\nnodes = ["127.0.0.1:1"]\n'
        )
        words = ("run", "channel", "--number", "11", "--config", str(settings))
        node = subprocess.Popen(
            [sys.executable, "-m", "mmo.cli", *words, "--home", str(tmp_path / "home")],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            silent.settimeout(30)
            connection, _ = silent.accept()
            with connection:
                node.send_signal(signal.SIGTERM)
                said = node.communicate(timeout=30)[1]
                assert node.returncode == 0 and "Traceback" not in said, said
        finally:
            node.kill()
            node.wait()
