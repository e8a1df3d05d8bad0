"""`status`: a row a node and the state of the stores, within 250 ms.

Owns the print; the supervisor gathers. Imports only the parser, the home and the control socket.
Called by the operator, by scripts and by `start`.
"""

import time
from typing import Annotated, Any

import typer

from mmo.cli import terminal
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, open_home
from mmo.cli.rim import OK, PARTIAL
from mmo.cluster.control import NotRunning, ask
from mmo.cluster.home import ClusterFile, Home

ANSWER_S = 2.0
WATCH_S = 1.0


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(status)


def status(
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="Again every second.")] = False,
) -> int:
    """A row a node, and the stores."""
    place, file = open_home(home)
    while True:
        said = read_status(place, file)
        if json:
            terminal.print_json(said)
        else:
            if watch and terminal.on_terminal():
                print("\x1b[2J\x1b[H", end="")
            _print(said)
        if not watch:
            return OK if said["ready"] else PARTIAL
        time.sleep(WATCH_S)


def read_status(place: Home, file: ClusterFile | None) -> dict[str, Any]:
    """Ask the supervisor. Raises `NotRunning` E0701."""
    if file is None:
        raise NotRunning(place.cluster_file)
    return ask(place.socket("supervisor", file), {"ask": "status"}, ANSWER_S)


def _print(said: dict[str, Any]) -> None:
    heads = (
        "node",
        "number",
        "role",
        "pid",
        "state",
        "gen",
        "conns",
        "lag p99 ms",
        "queue",
        "port",
    )
    rows = [
        (
            row["name"],
            row["number"],
            row["role"],
            row["pid"] or "-",
            row["state"],
            row["generation"],
            row["connections"],
            f"{row['loop_lag_p99_ms']:.1f}",
            row["queue"],
            row["client_port"],
        )
        for row in said["nodes"]
    ]
    terminal.print_table(heads, rows)
    redis, mysql = said["stores"]["redis"], said["stores"]["mysql"]
    servers = redis.get("servers", [])
    running = sum(1 for server in servers if server["running"])
    print()
    print(f"redis  {_word(redis)}" + (f"  {running}/{len(servers)} servers" if servers else ""))
    print(f"mysql  {_word(mysql)}" + (f"  pid {mysql['pid']}" if mysql.get("pid") else ""))
    for row in said["nodes"]:
        if row["error"]:
            print(f"{row['name']}: {row['error']}")


def _word(store: dict[str, Any]) -> str:
    if not store.get("ready"):
        return "not ready"
    return "ready" if store.get("managed") else "ready (external)"
