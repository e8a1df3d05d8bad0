"""`drain`, `restart`, `scale`: change the processes of a cluster while players play.

Owns the order of a rolling restart and the print. The supervisor makes each change; a node moves
its players itself. Called by the operator and by scripts.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from mmo.cli import terminal
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, open_home
from mmo.cli.rim import OK, PARTIAL
from mmo.cli.status import silence_told
from mmo.cluster.control import ask_long
from mmo.cluster.home import ClusterFile, Home

STATUS_S = 2.0
ROLLING = ("login", "cash", "matching", "raid", "channel", "center")
"""Roles in the order of a rolling restart: those that others depend on come last."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(drain)
    app.command()(restart)
    app.command()(scale)


def drain(
    name: Annotated[str, typer.Argument(help="A node.")],
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Move a node's players to others, let end what runs there, and stop it until `start`."""
    done = _change(home, "drain", name)
    if json:
        terminal.print_json(done)
    else:
        terminal.step(name, _drained(done), done["seconds"])
    return PARTIAL if done["killed"] else OK


def restart(
    names: Annotated[list[str] | None, typer.Argument(help="These nodes.")] = None,
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
    rolling: Annotated[
        bool, typer.Option("--rolling", help="Every node, one after the other.")
    ] = False,
) -> int:
    """Replace processes by new ones, one after the other; their players move and play on."""
    if rolling == bool(names):
        raise typer.BadParameter("name nodes, or say --rolling for all")
    began = time.monotonic()
    rows = _ask(home, {"ask": "status"}, lambda place, file: STATUS_S)["nodes"]
    if rolling:
        rows.sort(key=lambda row: (ROLLING.index(row["role"]), row["number"]))
        # Who was stopped on purpose stays so; `start` brings it back by the new code.
        names = [row["name"] for row in rows if row["state"] != "stopped"]
        stopped = [row["name"] for row in rows if row["state"] == "stopped"]
        if stopped and not json:
            print(f"  stopped, and left so: {' '.join(stopped)}")
    done = []
    with _code_of_the_disk(home, config, json) if rolling else contextlib.nullcontext():
        for name in names or []:
            done.append(_change(home, "restart", name))
            if not json:
                told = f"pid {done[-1]['pid_before']} -> {done[-1]['pid']}"
                terminal.step(name, f"{told}, {_drained(done[-1])}", done[-1]["seconds"])
    if json:
        seconds = round(time.monotonic() - began, 3)
        terminal.print_json({"restarted": [one["name"] for one in done], "nodes": done}
                            | {"unflushed": sum(one["unflushed"] for one in done)}
                            | {"seconds": seconds})  # fmt: skip
    return PARTIAL if any(one["killed"] for one in done) else OK


@contextlib.contextmanager
def _code_of_the_disk(home: Path, config: Path | None, json: bool) -> Iterator[None]:
    """Processes that start meanwhile run what lies on the disk, messages included; the older ones
    go on by the generation they have. Where a restart fails half way, the next one goes on."""
    from mmo.cli.reload import at_desk

    number = at_desk(home, config, lambda desk: desk.begin_rolling())
    if not json:
        print(f"  generation {number}")
    yield
    at_desk(home, config, lambda desk: desk.end_rolling())


def scale(
    change: Annotated[str, typer.Argument(help="ROLE=COUNT, such as channel=4.")],
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Exactly so many nodes of a role: new ones join, those too many are drained."""
    match = re.fullmatch(r"([a-z]+)=([0-9]{1,3})", change)
    if match is None or match[1] not in ROLLING or int(match[2]) < 1:
        raise typer.BadParameter(f"{change!r} is not ROLE=COUNT with one of {', '.join(ROLLING)}")
    began = time.monotonic()
    done = _scale(home, match[1], int(match[2]))
    if json:
        terminal.print_json(done)
    else:
        for one in done["removed"]:
            terminal.step(one["name"], _drained(one), one["seconds"])
        if done["added"]:
            terminal.step("added", " ".join(done["added"]), time.monotonic() - began)
        print(f"  {match[1]}: {' '.join(done['nodes'])}")
    return PARTIAL if any(one["killed"] for one in done["removed"]) else OK


def _change(home: Path, kind: str, name: str) -> dict[str, Any]:
    """Drain or restart a node."""
    from mmo.cluster.patience import change_s

    request = {"ask": kind, "name": name}
    return _ask(home, request, lambda place, file: change_s(place, file, name))


def _scale(home: Path, role: str, count: int) -> dict[str, Any]:
    from mmo.cluster.patience import scale_s

    request = {"ask": "scale", "role": role, "count": count}
    return _ask(home, request, lambda place, file: scale_s(place, file, role, count))


def _ask(
    home: Path, request: dict[str, Any], longest_s: Callable[[Home, ClusterFile], float]
) -> dict[str, Any]:
    place, file = open_home(home)
    with silence_told(place):
        path = place.socket("supervisor", file)
        return ask_long(path, request, longest_s(place, file))


def _drained(done: dict[str, Any]) -> str:
    return "killed: it did not end by itself" if done["killed"] else "drained"
