"""`new game DIR`: a small game of one's own that runs, with a test.

Owns the files it writes; their texts are in `new_game/`, whose names say where each goes. Never
writes over anything. Called by whoever begins a game.
"""

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from mmo.cli import terminal
from mmo.cli.options import JsonOption
from mmo.cli.rim import OK
from mmo.cluster.unwritable import unwritable
from mmo.errors import OperatorError

KINDS = ("game",)
PACKAGE = "game"
"""The folder that `[game] path` names, and the name its modules are imported by."""


def register(app: typer.Typer) -> None:
    """Add the command to the table."""
    app.command()(new)


def new(
    kind: Annotated[str, typer.Argument(help="game")],
    directory: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    json: JsonOption = False,
) -> int:
    """Write a small game of one's own that runs."""
    if kind not in KINDS:
        raise typer.BadParameter(f"no kind {kind!r}; there is {', '.join(KINDS)}")
    written = write_game(directory)
    if json:
        terminal.print_json({"directory": str(directory), "files": written})
        return OK
    for path in written:
        print(f"  {directory / path}")
    print(f"\n  next: cd {directory} && mmo-cluster dev --config cluster.toml")
    return OK


def write_game(directory: Path) -> list[str]:
    """Write all files; their paths below `directory`. Raises `OperatorError` E0429 when there is
    something already, E0735 where nothing can be written."""
    try:
        return _written(directory)
    except OSError as error:
        raise unwritable(directory, error, "name another folder") from error


def _written(directory: Path) -> list[str]:
    if directory.exists():
        what = "is not empty" if directory.is_dir() else "is a file"
        if not directory.is_dir() or any(directory.iterdir()):
            raise OperatorError("E0429", f"{directory} {what}", "name a folder that is not there")
    written = []
    for file in sorted(_texts(), key=lambda one: one.name):
        path = path_of(file.name)
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
        written.append(path)
    return written


def path_of(name: str) -> str:
    """`game.systems.dice.py.txt` -> `game/systems/dice.py`."""
    *folders, stem, suffix = name.removesuffix(".txt").split(".")
    return "/".join([*folders, f"{stem}.{suffix}"])


def _texts() -> list[resources.abc.Traversable]:
    place = resources.files("mmo.cli").joinpath("new_game")
    return [file for file in place.iterdir() if file.name.endswith(".txt")]
