"""`status`: a row a node and the state of the stores, within 250 ms.

Owns the print; the supervisor gathers. Imports only the parser, the home and the control socket.
Called by the operator, by scripts and by `start`.
"""

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from mmo.cli import terminal
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, open_home
from mmo.cli.rim import OK, PARTIAL
from mmo.cluster.control import NotRunning, ask
from mmo.cluster.home import ClusterFile, Home, unwatched
from mmo.cluster.process import is_alive
from mmo.errors import OperatorError

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
    if watch and not json and terminal.on_terminal():
        return _watch_live(place, file)
    while True:
        said = read_status(place, file)
        if json:
            terminal.print_json(said)
        else:
            _print(said)
        if not watch:
            return OK if said["ready"] else PARTIAL
        time.sleep(WATCH_S)


def _watch_live(place: Home, file: ClusterFile | None) -> int:
    """One table that changes in place until Ctrl-C, for a person. A cluster that stops answering is
    shown as such; it may come back."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False, screen=False) as live:
        while True:
            try:
                said = read_status(place, file)
                table = terminal.table(*_fitting(said))
                live.update(Group(table, *map(Text, _below(said))))
            except OperatorError as gone:
                live.update(Text(f"{gone.cause}; asking again"))
            live.refresh()
            time.sleep(WATCH_S)


def read_status(place: Home, file: ClusterFile | None) -> dict[str, Any]:
    """Ask the supervisor. Raises `NotRunning` E0701, or `OperatorError` E0733 when only that is
    gone of the cluster, E0728 when it lives and is silent."""
    if file is None:
        raise NotRunning(place.cluster_file)
    with silence_told(place):
        return ask(place.socket("supervisor", file), {"ask": "status"}, ANSWER_S)


@contextmanager
def silence_told(place: Home) -> Iterator[None]:
    """Around a question to the supervisor of a home. Raises `OperatorError` E0728 when it lives and
    does not answer, E0733 when only that is gone of the cluster: to start is no advice then."""
    try:
        yield
    except NotRunning as gone:
        file = place.read()  # as it is by now: one that ended meanwhile is not silent
        refuse_while_alive(file)
        left = unwatched(file)
        if left:
            raise unwatched_error(left) from gone
        raise


def refuse_while_alive(file: ClusterFile | None) -> None:
    """Raises `OperatorError` E0728 while a supervisor lives that does not answer: nobody else may
    end what it would start again."""
    supervisor = file.supervisor if file is not None else None
    if supervisor is not None and is_alive(supervisor):
        raise OperatorError(
            "E0728",
            f"the supervisor, process {supervisor.pid}, does not answer",
            f"ask again; kill -CONT {supervisor.pid} if it was stopped; if it stays silent, kill -9"
            f" {supervisor.pid}, then mmo-cluster stop",
        )


_START_ANEW = "when players may be interrupted, mmo-cluster start: it ends these and starts anew"


def unwatched_error(names: list[str], fix: str = _START_ANEW) -> OperatorError:
    """What to do about processes that go on without their supervisor."""
    return OperatorError(
        "E0733",
        f"the supervisor is gone; without it go on, and none is restarted: {' '.join(names)}",
        fix,
    )


_HEADS = (
    *("node", "number", "role", "pid", "state", "gen", "players", "conns"),
    *("lag p99 ms", "queue", "links", "restarts", "port", "figures"),
)


_WIDE_COLUMNS = 116  # of a terminal that shows all of a row
_LEFT_OUT = ("role", "links", "restarts", "queue", "figures")


def _fitting(said: dict[str, Any]) -> tuple[list[str], list[list[object]]]:
    """Heads and rows; on a narrow terminal without those columns that are looked at least."""
    narrow = terminal.on_terminal() and shutil.get_terminal_size().columns < _WIDE_COLUMNS
    shown = [at for at, head in enumerate(_HEADS) if not (narrow and head in _LEFT_OUT)]
    rows = [[row[at] for at in shown] for row in _rows(said)]
    return [_HEADS[at] for at in shown], rows


def _rows(said: dict[str, Any]) -> list[tuple[object, ...]]:
    return [
        (
            row["name"],
            row["number"],
            row["role"],
            row["pid"] or "-",
            row["state"],
            row["generation"],
            row.get("players", "-"),
            row["connections"],
            f"{row['loop_lag_p99_ms']:.1f}",
            row["queue"],
            len(row.get("links", ())),
            row["restarts"],
            row["client_port"],
            row.get("ports", {}).get("metrics", "-"),
        )
        for row in said["nodes"]
    ]


def _below(said: dict[str, Any]) -> list[str]:
    """Lines under the table: stores, and what went wrong last."""
    redis, mysql = said["stores"]["redis"], said["stores"]["mysql"]
    servers = redis.get("servers", [])
    running = sum(1 for server in servers if server["running"])
    lines = ["", f"redis  {_word(redis)}" + (f"  {running}/{len(servers)} servers" * bool(servers))]
    lines[-1] += _times(sum(server["restarts"] for server in servers))
    lines.append(f"mysql  {_word(mysql)}" + (f"  pid {mysql['pid']}" if mysql.get("pid") else ""))
    lines[-1] += _times(mysql.get("restarts", 0))
    for name, error in store_errors(said["stores"]):
        lines += f"{name}: {error}".replace("\n", "\n    ").splitlines()
    if said.get("ports_moved"):
        lines.append(f"ports  {said['ports_moved']}")
    rooms: Counter[str] = Counter()
    for row in said["nodes"]:
        rooms.update(row.get("rooms", {}))
        lines += [f"{row['name']}: quarantined {rule}" for rule in row.get("quarantined", ())]
    if rooms:
        told = ", ".join(f"{rooms[number]} of generation {number}" for number in sorted(rooms))
        lines.append(f"rooms  {told}")
    return lines + [f"{row['name']}: {row['error']}" for row in said["nodes"] if row["error"]]


def store_errors(stores: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and error of every store server that does not start."""
    rows = [*stores["redis"].get("servers", []), {"name": "mysql", **stores["mysql"]}]
    return [(row["name"], row["error"]) for row in rows if row.get("error")]


def _times(restarts: int) -> str:
    return f"  {restarts} restarts" if restarts else ""


def _print(said: dict[str, Any]) -> None:
    terminal.print_table(*_fitting(said))
    print("\n".join(_below(said)), flush=True)  # also of `--watch` into a pipe


def _word(store: dict[str, Any]) -> str:
    if not store.get("ready"):
        return "not ready"
    return "ready" if store.get("managed") else "ready (external)"
