"""`logs`: the structured logs of all nodes, merged in the order of time.

Owns merging and filtering; the nodes write. Called by the operator.
"""

import contextlib
import heapq
import json as json_text
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from mmo.cli import terminal
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption
from mmo.cli.rim import OK
from mmo.cluster.home import Home
from mmo.errors import OperatorError

FOLLOW_S = 0.2
_ORDERED = ("time", "level", "event", "node")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(logs)


def logs(
    nodes: Annotated[list[str] | None, typer.Argument(help="Only these nodes.")] = None,
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Wait for more.")] = False,
    user: Annotated[int | None, typer.Option("--user", help="Only this user id.")] = None,
    level: Annotated[str, typer.Option("--level", help="Only this level and worse.")] = "",
    last: Annotated[
        int, typer.Option("-n", "--last", min=0, help="Only the last lines; 0: all.")
    ] = 200,
) -> int:
    """Merged log lines of the nodes."""
    directory = Home(home).logs
    files = _files(directory, nodes or [])
    wanted = _Filter(user, level)
    offsets = {path: 0 for path in files}
    # Where all is asked for, or what may be rare, the files that were turned over are read too.
    is_deep = not last or user is not None
    streams = [_read_whole(path, offsets, wanted, is_deep=is_deep) for path in files]
    for line in deque(heapq.merge(*streams, key=_when), maxlen=last or None):
        _print(line, json)
    while follow:
        time.sleep(FOLLOW_S)
        for path in _files(directory, nodes or []):
            offsets.setdefault(path, 0)
        new = [line for path in offsets for line in _read(path, offsets, wanted)]
        for line in sorted(new, key=_when):
            _print(line, json)
    return OK


class _Filter:
    def __init__(self, user: int | None, level: str) -> None:
        levels = ("debug", "info", "warning", "error", "critical")
        if level and level not in levels:
            raise OperatorError("E0712", f"no level {level!r}", "one of: " + ", ".join(levels))
        self._user = user
        self._levels = levels[levels.index(level) :] if level else levels

    def takes(self, line: dict[str, Any]) -> bool:
        if self._user is not None and line.get("user") != self._user:
            return False
        return line.get("level", "info") in self._levels


def _files(directory: Path, nodes: list[str]) -> list[Path]:
    files = sorted(directory.glob("*.jsonl"))
    if not files and not nodes:
        raise OperatorError("E0701", f"no logs in {directory}", "mmo-cluster start")
    missing = [name for name in nodes if not (directory / f"{name}.jsonl").exists()]
    if missing:
        raise OperatorError(
            "E0708", f"no log of {missing[0]} in {directory}", "mmo-cluster status names the nodes"
        )
    return [path for path in files if not nodes or path.stem in nodes]


def _read_whole(
    path: Path, offsets: dict[Path, int], wanted: _Filter, *, is_deep: bool
) -> Iterator[dict[str, Any]]:
    """A file from its beginning. `is_deep`: from that of those that it was before."""
    for older in _turned(path) if is_deep else ():
        with contextlib.suppress(FileNotFoundError):  # it was turned over at this moment
            yield from _read(older, {older: 0}, wanted)
    yield from _read(path, offsets, wanted)


def _turned(path: Path) -> list[Path]:
    """The files that one was before, the oldest first."""
    numbered = [one for one in path.parent.glob(f"{path.name}.*") if one.suffix[1:].isdecimal()]
    return sorted(numbered, key=lambda one: -int(one.suffix[1:]))


def _read(path: Path, offsets: dict[Path, int], wanted: _Filter) -> Iterator[dict[str, Any]]:
    """Complete lines from the remembered place on; a file that became shorter was turned over."""
    with path.open("rb") as file:
        if file.seek(0, 2) < offsets[path]:
            offsets[path] = 0
        file.seek(offsets[path])
        for raw in file:
            if not raw.endswith(b"\n"):
                break
            offsets[path] += len(raw)
            try:
                line = json_text.loads(raw)
            except ValueError:
                line = {"event": raw.decode(errors="replace").rstrip()}
            if isinstance(line, dict):
                line.setdefault("node", path.name.partition(".jsonl")[0])
                if wanted.takes(line):
                    yield line


def _when(line: dict[str, Any]) -> str:
    return str(line.get("time", ""))


def _print(line: dict[str, Any], json: bool) -> None:
    if json:
        terminal.print_json(line)
        return
    rest = "  ".join(f"{key}={value}" for key, value in line.items() if key not in _ORDERED)
    print(
        f"{line.get('time', '-')}  {line['node']:<12} {line.get('level', '-'):<8}"
        f" {line.get('event', '')}  {rest}".rstrip(),
        flush=True,
    )
