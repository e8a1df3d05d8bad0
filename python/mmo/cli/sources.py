"""The sources of the game that a configuration names.

Owns which folders those are, and which of their files are frozen. Reading them is `node.sources`,
which is imported when it is needed: a short command needs none of it. Called by everything that
starts, checks or changes code.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmo.config import Config
    from mmo.content.tables import Content
    from mmo.node.sources import Sources

FROZEN = ("state", "wire", "content", "store", "node", "edges")
"""Folders of the box that change by a rolling restart only."""


def read_sources(config: "Config") -> "Sources":
    """The hot files as they are now. A file of the game's folder takes the place of one of the same
    name in the box. Raises `OperatorError` E0422 for a folder that is no game, E0428 for a file
    that is no text."""
    from mmo.node.bundle import ROLES, SYSTEMS
    from mmo.node.sources import read

    tables = config.cluster.content_directory
    box = {"mmo.systems": SYSTEMS, "mmo.roles": ROLES}
    return read(box, Path(tables) if tables else None, game_folder(config))


def read_tables(config: "Config") -> "Content":
    """The tables as nodes read them: the box's, and the game's own over them. Raises
    `ContentError`, and what `read_sources` raises."""
    from mmo.content.files import TableTexts
    from mmo.content.tables import load_content
    from mmo.node.bundle import TABLES

    return load_content(TableTexts(read_sources(config).bundle.folder(TABLES)))


def frozen_since(config: "Config", started_ms: int) -> list[str]:
    """Files that a running process keeps as they were, and that were saved after `started_ms`."""
    box = Path(__file__).resolve().parents[1]
    folders = [(box, name) for name in FROZEN]
    game = game_folder(config)
    if game is not None:
        folders += [(game, "state"), (game, "messages")]
    return sorted(
        path.relative_to(root.parent).as_posix()
        for root, name in folders
        for path in (root / name).rglob("*.py")
        if _saved_ms(path) > started_ms
    )


def _saved_ms(path: Path) -> float:
    """When a source was saved; 0 for what only looks like one, as the locks of an editor do."""
    if path.name.startswith("."):
        return 0.0
    try:
        return path.stat().st_mtime * 1_000
    except FileNotFoundError:
        return 0.0


def watched(config: "Config") -> list[Path]:
    """Folders in which a save may change the bundle."""
    box = Path(__file__).resolve().parents[1]
    tables = config.cluster.content_directory
    found = [box / "systems", box / "roles", box / "state", box / "wire", box / "content"]
    found += [Path(tables)] if tables else []
    game = game_folder(config)
    return [*found, *([game] if game is not None else [])]


def game_folder(config: "Config") -> Path | None:
    """The folder of `[game] path`; None without one. Raises `OperatorError` E0422."""
    if not config.game.path:
        return None
    from mmo.node.sources import checked

    return checked(Path(config.game.path))


def import_game(config: "Config") -> None:
    """Import the frozen parts of the game, so that its messages are declared. Raises
    `OperatorError` E0423 when one cannot be imported or takes a number that is not a game's."""
    folder = game_folder(config)
    if folder is not None:
        from mmo.node.sources import import_frozen

        import_frozen(folder)
