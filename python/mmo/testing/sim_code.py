"""The code of a simulation where it is not that of the test's own process: of a game's folder.

Owns the reading of a game, the versions of its code, and the generations that the processes of a
run hold, each its own as real ones do: what a rule remembers in a module ends with its process.
Called by `simulation`, and by `sim_reload` for code that is changed.
"""

from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mmo.node.bundle import ROLES, SYSTEMS, Bundle
from mmo.node.engine import Engine
from mmo.node.generation import Generation, build
from mmo.node.sources import checked, import_frozen, read

if TYPE_CHECKING:
    from mmo.testing.sim_node import SimNode

BOX = {"mmo.systems": SYSTEMS, "mmo.roles": ROLES}
VERSIONS = 3


def sources_of(game: Path | None) -> Bundle:
    """The game in a folder over the one in the box, as its files are now; its messages are declared
    in this process. None: the box alone. Raises `OperatorError` as `mmo-cluster check` does."""
    if game is None:
        return _box()
    folder = checked(game.resolve())
    import_frozen(folder)
    return read(BOX, None, folder).bundle


@cache
def _box() -> Bundle:
    return read(BOX, None, None).bundle


@lru_cache(maxsize=4)
def versions_of(first: Bundle) -> tuple[Bundle, ...]:
    """Code as it is after saves that change nothing of what it does."""
    changed = f"{SYSTEMS}/shop.py"
    return tuple(
        Bundle({**first.files, changed: f"{first.files[changed]}\n# {number}\n"}, first.packages)
        for number in range(VERSIONS)
    )


class Code:
    """What the processes of one run decide by: one generation, built by each for itself."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._engines: list[Engine] = []

    async def generation(self, node: "SimNode") -> Generation:
        """What a new process of `node` has to decide by."""
        return build(1, self._bundle, node.role.name)

    def started(self, engine: Engine) -> None:
        """A process has its generation, which is given back at the end of the run."""
        self._engines.append(engine)

    def free(self) -> None:
        """Nothing of any generation is left in this process."""
        for engine in self._engines:
            kept = engine.generations
            for one in (kept.current, kept.candidate, kept._before, *kept.older):
                if one is not None:
                    one.free()
        self._engines = []
