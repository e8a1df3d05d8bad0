"""The checks of `doctor` that look at a running cluster: its nodes, links, stores and figures.

Owns what is looked at and the bounds. Changes nothing; a cluster that does not run is no finding.
Called by `doctor`.
"""

import asyncio
import time
import urllib.request
from pathlib import Path
from typing import Any

from mmo.cli.doctor_checks import Finding, supervisor_answers
from mmo.cli.status import store_errors
from mmo.cluster.control import ask
from mmo.cluster.home import Home
from mmo.cluster.topology import config_of
from mmo.config import Config
from mmo.errors import OperatorError, StoreError

ANSWER_S = 2.0
LAG_MS_MAX = 50.0
RESTARTS_MAX = 3
CLOCK_MS_MAX = 1_000
LOG_BYTES_MAX = 4 << 30
NOT_RUNNING = Finding("ok", "not looked at: the cluster does not run")


def _said(home: Home) -> dict[str, Any]:
    """What `status` is told; without a row when nothing runs."""
    try:
        return ask(home.socket("supervisor", home.read()), {"ask": "status"}, ANSWER_S)
    except OperatorError:
        return {"nodes": [], "stores": {"redis": {}, "mysql": {}}}


def _nodes(home: Home) -> list[dict[str, Any]]:
    """The rows of `status`; empty when nothing runs."""
    rows: list[dict[str, Any]] = _said(home)["nodes"]
    return rows


def check_nodes(config: Config, home: Home) -> Finding:
    """Whether every node serves, and stays up."""
    rows = _nodes(home)
    if not rows:
        return NOT_RUNNING
    failed = [f"{row['name']} ({row['error']})" for row in rows if row["state"] == "failed"]
    if failed:
        return Finding("failed", f"given up: {', '.join(failed)}", "mmo-cluster start, then logs")
    away = [f"{row['name']} is {row['state']}" for row in rows if not row["ready"]]
    if away:
        return Finding("warning", ", ".join(away), "mmo-cluster start starts what was stopped")
    restless = [row["name"] for row in rows if row["restarts"] > RESTARTS_MAX]
    if restless:
        text = f"restarted more than {RESTARTS_MAX} times: {' '.join(restless)}"
        return Finding("warning", text, f"mmo-cluster logs {restless[0]} --level error")
    return Finding("ok", f"{len(rows)} serve")


def check_links(config: Config, home: Home) -> Finding:
    """Whether every server has a link to every center."""
    rows = [row for row in _nodes(home) if row["ready"]]
    if not rows:
        return NOT_RUNNING
    centers = {row["number"] for row in rows if row["role"] == "center"}
    lost = [row["name"] for row in rows if centers - {row["number"]} - set(row["links"])]
    if lost:
        text = f"without a link to a center: {' '.join(lost)}"
        return Finding("failed", text, "one link secret for all, and each link_host within reach")
    return Finding("ok", f"{sum(len(row['links']) for row in rows) // 2} links are up")


def check_generations(config: Config, home: Home) -> Finding:
    """Whether all nodes decide by the same code."""
    rows = [row for row in _nodes(home) if row["ready"]]
    if not rows:
        return NOT_RUNNING
    found = {row["generation"] for row in rows}
    if len(found) > 1:
        told = ", ".join(f"{row['name']} {row['generation']}" for row in rows)
        return Finding("warning", f"they differ: {told}", "mmo-cluster restart of those behind")
    return Finding("ok", f"{found.pop()} everywhere")


def check_loop(config: Config, home: Home) -> Finding:
    """Whether a node is too full to answer in time."""
    rows = [row for row in _nodes(home) if row["ready"]]
    if not rows:
        return NOT_RUNNING
    slow = [row for row in rows if row["loop_lag_p99_ms"] > LAG_MS_MAX]
    if slow:
        told = ", ".join(f"{row['name']} {row['loop_lag_p99_ms']:.0f} ms" for row in slow)
        return Finding("warning", f"late: {told}", f"mmo-cluster scale {slow[0]['role']}=N, N more")
    worst = max(row["loop_lag_p99_ms"] for row in rows)
    return Finding("ok", f"p99 {worst:.0f} ms at the slowest")


def check_stores(config: Config, home: Home) -> Finding:
    """Whether the supervisor's stores start, and every node reaches the database."""
    if errors := store_errors(_said(home)["stores"]):
        told = "; ".join(f"{name}: {' '.join(error.split())}" for name, error in errors)
        return Finding("failed", told, f"read {home.logs / 'supervisor.log'}")
    rows = [row for row in _nodes(home) if row["ready"]]
    if not rows:
        return NOT_RUNNING
    away = [row["name"] for row in rows if row.get("store_away")]
    if away:
        text = f"away as {' '.join(away)} see it: players hear RETRY_LATER"
        return Finding("failed", text, "mmo-cluster status; the supervisor restarts its own")
    return Finding("ok", f"{len(rows)} nodes reach it")


def check_database_clock(config: Config, home: Home) -> Finding:
    """Whether the database's clock, which judges seasons and reservations, agrees with ours."""
    if not supervisor_answers(home) and not config.mysql.is_external:
        return NOT_RUNNING
    from mmo.cli.compose import home_store_settings

    settings = home_store_settings(home.directory, config)
    try:
        differs_ms = asyncio.run(_clock_difference_ms(settings))
    except StoreError as error:
        return Finding("failed", f"the database does not answer: {error}", "mmo-cluster status")
    if abs(differs_ms) > CLOCK_MS_MAX:
        text = f"the database's clock differs by {differs_ms} ms"
        return Finding("warning", text, "run chrony or systemd-timesyncd on both machines")
    return Finding("ok", f"{abs(differs_ms)} ms apart")


async def _clock_difference_ms(settings: Any) -> int:
    from mmo.store.connection import Connection, Statement

    connection = await Connection.open(settings, 0.0)
    try:
        statement = Statement.verbatim("SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)")
        row = await connection.row(statement)
        assert row is not None, "the clock has one value"
        return int(row[0]) - time.time_ns() // 1_000_000
    finally:
        await connection.close()


def check_figures(config: Config, home: Home) -> Finding:
    """Whether Prometheus would get an answer from every node."""
    rows = [row for row in _nodes(home) if row["ready"]]
    if not rows:
        return NOT_RUNNING
    if not config.metrics.enabled:
        return Finding("ok", "switched off: metrics.enabled is false")
    hosts = {row["name"]: config_of(config, row["number"]).metrics.host for row in rows}
    deaf = [row["name"] for row in rows if not _tells(row, hosts[row["name"]])]
    if deaf:
        text = f"no figures from {' '.join(deaf)}"
        return Finding("warning", text, f"mmo-cluster logs {deaf[0]}: its metrics_port is taken")
    return Finding("ok", f"{len(rows)} nodes; {home.metrics_targets} lists them")


def _tells(row: dict[str, Any], host: str) -> bool:
    port = row.get("ports", {}).get("metrics", 0)
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=ANSWER_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def check_logs(config: Config, home: Home) -> Finding:
    """How much the logs hold, and whether they can be written."""
    if not home.logs.is_dir():
        return Finding("ok", "none yet")
    held = sum(path.stat().st_size for path in home.logs.iterdir() if path.is_file())
    if held > LOG_BYTES_MAX:
        text = f"{held >> 20} MiB in {home.logs}"
        return Finding("warning", text, "lower log.files_kept or log.file_bytes_max")
    return Finding("ok", f"{held >> 20} MiB in {home.logs}")


def check_overcommit(config: Config, home: Home) -> Finding:
    """Whether Redis may save in the background when memory is short."""
    path = Path("/proc/sys/vm/overcommit_memory")
    if config.redis.is_external or not path.exists():
        return Finding("ok", "not ours to say")
    if path.read_text(encoding="ascii").strip() == "2":
        text = "vm.overcommit_memory is 2: a background save of Redis may fail"
        return Finding("warning", text, "sysctl vm.overcommit_memory=1")
    return Finding("ok", "a background save of Redis is allowed")
