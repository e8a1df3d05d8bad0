"""The checks of `doctor` over a cluster: each finds what it is there for, and has a page."""

import os
import resource
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.ports import PORTS

from mmo.cli import doctor, doctor_checks, doctor_cluster, doctor_list, open_files
from mmo.cli.doctor_checks import Finding
from mmo.cli.doctor_list import CHECKS
from mmo.cli.explain import read_pages
from mmo.cluster.home import ClusterFile, Home
from mmo.cluster.topology import assign_ports, take_block
from mmo.config.load import load_config
from mmo.errors import StoreUnavailable

CONFIG = load_config(environment=PORTS).config
CENTER = {
    "name": "center-1", "role": "center", "number": 2, "state": "ready", "ready": True, "error": "",
    "restarts": 0, "generation": 3, "loop_lag_p99_ms": 2.0, "links": [11], "store_away": False,
    "ports": {},
}  # fmt: skip
CHANNEL = CENTER | {"name": "channel-1", "role": "channel", "number": 11, "links": [2]}


def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, **changes: Any) -> Finding:
    """What a check says of a center and a channel server, which differs by `changes`."""
    rows = [dict(CENTER), CHANNEL | changes]
    monkeypatch.setattr(doctor_cluster, "_nodes", lambda home: rows)
    check = {check_name: check for check_name, _, check in CHECKS}[name]
    return check(CONFIG, Home(tmp_path))


@pytest.mark.parametrize(
    ("name", "verdict", "changes"),
    [
        ("nodes", "failed", {"state": "failed", "ready": False, "error": "ended with 1"}),
        ("nodes", "warning", {"state": "draining", "ready": False}),
        ("nodes", "warning", {"restarts": 9}),
        ("links", "failed", {"links": []}),
        ("generations", "warning", {"generation": 2}),
        ("event loops", "warning", {"loop_lag_p99_ms": 900.0}),
        ("database", "failed", {"store_away": True}),
    ],
)
def test_a_check_names_the_node_and_what_mends_it(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    verdict: str,
    changes: dict[str, Any],
) -> None:
    found = seen(monkeypatch, tmp_path, name, **changes)
    assert found.verdict == verdict
    assert "channel-1" in found.text and found.fix
    assert seen(monkeypatch, tmp_path, name).verdict == "ok"


def test_figures_that_nobody_tells_are_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = seen(monkeypatch, tmp_path, "figures", ports={"metrics": 1})
    assert found.verdict == "warning" and "channel-1" in found.text


def test_a_taken_port_is_a_warning_whether_the_home_or_the_configuration_names_it(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path)
    home.create()
    block = take_block(CONFIG, 0, CONFIG.nodes)
    block.close()
    ports = assign_ports(CONFIG.nodes, block.first)
    home.write(ClusterFile(1, "", block.first, str(tmp_path / "run"), ports, [], ""))
    assert doctor_checks.check_ports(CONFIG, home).verdict == "ok"
    with socket.create_server(("127.0.0.1", ports[0].client_port)) as taken:
        found = doctor_checks.check_ports(CONFIG, home)
        assert found.verdict == "warning" and f"process {os.getpid()} " in found.text
        assert "login-1 client_port" in found.text and found.fix
        port = taken.getsockname()[1]
        entry = msgspec.structs.replace(CONFIG.nodes[0], link_port=port)
        config = msgspec.structs.replace(CONFIG, nodes=(entry,))
        found = doctor_checks.check_ports(config, Home(tmp_path / "other"))
        assert found.verdict == "warning" and f"{port} (login-1 link_port)" in found.text


def test_a_store_that_does_not_start_is_told_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mysql = {"ready": False, "error": "E0202 it did not start:\nNo space left"}
    said = {"nodes": [], "stores": {"redis": {}, "mysql": mysql}}
    monkeypatch.setattr(doctor_cluster, "_said", lambda home: said)
    found = doctor_cluster.check_stores(CONFIG, Home(tmp_path))
    assert found.verdict == "failed" and "supervisor.log" in found.fix
    assert found.text == "mysql: E0202 it did not start: No space left"


def test_a_check_that_breaks_is_a_failed_row_among_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def away(config: Any, home: Home) -> Finding:
        raise StoreUnavailable("[Errno 111] Connection refused")

    def breaks(config: Any, home: Home) -> Finding:
        raise ValueError("no number")

    last = ("disk", "E0809", lambda config, home: Finding("ok", "much"))
    checks = (("schema", "E0821", away), ("clock", "E0811", breaks), last)
    monkeypatch.setattr(doctor_list, "CHECKS", checks)
    _, *rows = doctor._findings(tmp_path, None)
    assert [(name, code, found.verdict) for name, code, found in rows] == [
        ("schema", "E0214", "failed"), ("clock", "E0811", "failed"), ("disk", "E0809", "ok"),
    ]  # fmt: skip
    assert "Connection refused" in rows[0][2].text and rows[0][2].fix
    assert "ValueError: no number" in rows[1][2].text and rows[1][2].fix


def test_logs_that_grew_beyond_the_bound_are_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = Home(tmp_path)
    home.create()
    (home.logs / "a.jsonl").write_text("x" * 100, encoding="utf-8")
    assert doctor_cluster.check_logs(CONFIG, home).verdict == "ok"
    monkeypatch.setattr(doctor_cluster, "LOG_BYTES_MAX", 99)
    assert doctor_cluster.check_logs(CONFIG, home).verdict == "warning"


def test_every_check_has_a_name_and_a_code_of_its_own_with_a_page() -> None:
    names, codes = [name for name, _, _ in CHECKS], [code for _, code, _ in CHECKS]
    assert len(set(names)) == len(set(codes)) == len(CHECKS) >= 20
    assert set(codes) <= set(read_pages())


@pytest.mark.parametrize(
    ("limits", "set_to", "told"),
    [
        ((1_024, 1_048_576), 13_536, ""),
        ((1_024, resource.RLIM_INFINITY), 13_536, ""),
        ((1_024, 4_096), 4_096, "E0805 4096 descriptors are allowed and a full node opens 13536"),
        ((4_096, 4_096), None, "E0805 4096 descriptors"),
        ((20_000, 20_000), None, ""),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None, ""),
    ],
)
def test_a_node_raises_its_soft_limit_of_descriptors_as_far_as_it_may(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], set_to: int | None, told: str
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda what: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda what, both: asked.append(both))
    missing = open_files.raise_limit(CONFIG)
    assert asked == ([] if set_to is None else [(set_to, limits[1])])
    assert missing.startswith(told) and bool(missing) == bool(told)
