"""The sources of a game as they lie on the disk: the box, and a game's own folder over it.

Owns how hot files are read into a bundle, and the import of a game's frozen parts. Never judges
them, and knows no rules by name: what the packages of the box are called is handed in. Called by
the commands that start, check or change code, and by the simulator.
"""

import importlib
import pkgutil
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mmo.errors import OperatorError
from mmo.node.bundle import EXTRA_ROLES, ROLES, SYSTEMS, TABLES, Bundle
from mmo.wire import codec
from mmo.wire.opcode import OPCODE_GAME_MIN

FILES_MAX = 2_000
FILE_BYTES_MAX = 1 << 20


class Sources(msgspec.Struct, frozen=True):
    """A bundle and where each of its files was read."""

    bundle: Bundle
    origins: dict[str, Path]


def read(box: Mapping[str, str], tables: Path | None, game: Path | None) -> Sources:
    """The hot files as they are now. `box`: which import names mean which folder of the box;
    `tables`: a folder in place of the box's tables. A file of the folder `game` takes the place of
    one of the same name in the box. Raises `OperatorError` E0422 for too many files, E0428 for one
    that is no text."""
    root = Path(__file__).resolve().parents[1]
    packages = dict(box)
    origins = {
        **_listed(root / "systems", SYSTEMS, ".py"),
        **_listed(root / "roles", ROLES, ".py"),
        **_listed(tables or root / "content" / "data", TABLES, ".toml"),
    }
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


def checked(folder: Path) -> Path:
    """A game's folder. Raises `OperatorError` E0422 when there is none or its name cannot be
    imported."""
    if not folder.is_dir():
        raise OperatorError("E0422", f"[game] path: there is no folder {folder}", "correct it")
    if not folder.name.isidentifier() or folder.name in ("mmo", "tests"):
        raise OperatorError(
            "E0422",
            f"[game] path: {folder.name!r} cannot be imported by that name",
            "call the folder by a word of letters, such as game",
        )
    return folder


def import_frozen(folder: Path) -> None:
    """Import the frozen parts of a game, so that its messages are declared. Raises `OperatorError`
    E0423 when one cannot be imported or takes a number that is not a game's."""
    if str(folder.parent) not in sys.path:
        sys.path.insert(0, str(folder.parent))
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
