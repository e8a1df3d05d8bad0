"""The sources of the game as they lie on the disk now: the box, and a game's own folder over it.

Owns which files are hot and how they are read into a bundle, and the import of a game's frozen
parts. Never judges them. Called by everything that starts, checks or changes code.
"""

import importlib
import pkgutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mmo.errors import OperatorError

if TYPE_CHECKING:
    from mmo.config import Config
    from mmo.node.bundle import Bundle

FILES_MAX = 2_000
FILE_BYTES_MAX = 1 << 20
FROZEN = ("state", "wire", "content", "store", "node", "edges")
"""Folders of the box that change by a rolling restart only."""
OPCODE_GAME_MIN = 10_000
"""Opcodes from here on belong to games; the box never takes one."""


class Sources(msgspec.Struct, frozen=True):
    """A bundle and where each of its files was read."""

    bundle: "Bundle"
    origins: dict[str, Path]


def read_sources(config: "Config") -> Sources:
    """The hot files as they are now. A file of the game's folder takes the place of one of the same
    name in the box. Raises `OperatorError` E0422 for a folder that is no game, E0428 for a file
    that is no text."""
    from mmo.node.bundle import EXTRA_ROLES, ROLES, SYSTEMS, TABLES, Bundle

    box = Path(__file__).resolve().parents[1]
    packages = {"mmo.systems": SYSTEMS, "mmo.roles": ROLES}
    tables = config.cluster.content_directory
    origins = {
        **_listed(box / "systems", SYSTEMS, ".py"),
        **_listed(box / "roles", ROLES, ".py"),
        **_listed(Path(tables) if tables else box / "content" / "data", TABLES, ".toml"),
    }
    game = game_folder(config)
    if game is not None:
        packages[f"{game.name}.systems"] = SYSTEMS
        origins |= _listed(game / "systems", SYSTEMS, ".py")
        origins |= _listed(game / "content", TABLES, ".toml")
        if (game / EXTRA_ROLES).is_file():
            origins[EXTRA_ROLES] = game / EXTRA_ROLES
    if len(origins) > FILES_MAX:
        raise OperatorError("E0422", f"{len(origins)} files of code; at most {FILES_MAX}")
    files = {path: _text(path, origin) for path, origin in sorted(origins.items())}
    return Sources(Bundle(files, packages), origins)


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
        if path.stat().st_mtime * 1_000 > started_ms
    )


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
    folder = Path(config.game.path)
    if not folder.is_dir():
        raise OperatorError("E0422", f"[game] path: there is no folder {folder}", "correct it")
    if not folder.name.isidentifier() or folder.name in ("mmo", "tests"):
        raise OperatorError(
            "E0422",
            f"[game] path: {folder.name!r} cannot be imported by that name",
            "call the folder by a word of letters, such as game",
        )
    return folder


def import_game(config: "Config") -> None:
    """Import the frozen parts of the game, so that its messages are declared. Raises
    `OperatorError` E0423 when one cannot be imported or takes a number that is not a game's."""
    folder = game_folder(config)
    if folder is None:
        return
    if str(folder.parent) not in sys.path:
        sys.path.insert(0, str(folder.parent))
    from mmo.wire import codec

    for part in ("state", "messages"):
        if not (folder / part).is_dir():
            continue
        for found in pkgutil.iter_modules([str(folder / part)], f"{folder.name}.{part}."):
            before = set(codec.opcodes())
            try:
                importlib.import_module(found.name)
            except Exception as fault:
                raise OperatorError(
                    "E0423",
                    f"{found.name} cannot be imported: {type(fault).__name__}: {fault}",
                    "mend it; messages are read when a process starts",
                ) from fault
            low = [op for op in set(codec.opcodes()) - before if op < OPCODE_GAME_MIN]
            if low:
                raise OperatorError(
                    "E0423",
                    f"{found.name} takes opcode {low[0]}, which belongs to the box",
                    f"games have the opcodes from {OPCODE_GAME_MIN} to 65535",
                )


def _listed(folder: Path, name: str, suffix: str) -> dict[str, Path]:
    """Files of one folder by their path in the bundle; what an editor leaves beside them is no
    code."""
    if not folder.is_dir():
        return {}
    return {
        f"{name}/{path.name}": path
        for path in sorted(folder.iterdir())
        if path.suffix == suffix
        and path.stem.isidentifier()
        and path.is_file()
        and path.name != "__init__.py"
    }


def _text(path: str, origin: Path) -> str:
    try:
        raw = origin.read_bytes()
        if len(raw) > FILE_BYTES_MAX:
            raise OperatorError(
                "E0428", f"{path} has {len(raw)} bytes; at most {FILE_BYTES_MAX}", "split it"
            )
        return raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise OperatorError("E0428", f"{path} is no readable text: {fault}", "save it again") from (
            None
        )
