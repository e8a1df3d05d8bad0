"""A storm of reloads: good and bad saves, and ways back, one right after the other under load.

Owns the order of a storm and what no save may do: a bad one is never taken, a good one is never
refused for what is in it. A storm goes on while other faults strike, so a reload may meet any of
them. Called through the menu of `nemesis`.
"""

import asyncio
import random
from pathlib import Path
from typing import Any

from mmo.errors import MmoError
from mmo.proof.bad_saves import DICE, KINDS
from mmo.proof.ground import Ground
from mmo.proof.live_code import RULES

SAVES = (4, 9)
BAD_SHARE = 0.5
BACK_SHARE = 0.3
BAD = ("syntax", "import", "raises", "opcode", "signature", "returns", "hazard")
"""Kinds of bad saves that are refused at once."""

OF_CODE = ("E040", "E0411", "E0412", "E0428")
"""How codes begin that find fault with the code itself; all others say that something was away."""

RELOAD_S = 60.0


async def reload_storm(ground: Ground) -> str:
    """Good and bad saves of rules right after each other, while other faults strike. It has begun,
    and is recovered from, when the first of them was decided."""
    if ground.game is None:
        raise LookupError("the cluster has no game of its own that could be saved")
    if ground.storm is not None and not ground.storm.done():
        raise LookupError("the last storm is not over")
    saves, first = ground.rng.randrange(*SAVES), asyncio.Event()
    ground.storm = asyncio.create_task(_storm(ground, ground.game, saves, first))
    deciding = asyncio.create_task(first.wait())
    try:
        await asyncio.wait((ground.storm, deciding), return_when=asyncio.FIRST_COMPLETED)
    finally:
        deciding.cancel()
    return f"{saves} saves from now on"


async def _storm(ground: Ground, game: Path, saves: int, first: asyncio.Event) -> None:
    """Saves, each after the other, and a good one last. `first`: one was decided."""
    for number in range(saves):
        if number == 1 or ground.rng.random() < BAD_SHARE:  # in each storm a bad one
            await _bad(ground, game)
        else:
            await _good(ground, game)
        first.set()
    await _good(ground, game)
    if ground.rng.random() < BACK_SHARE:
        await _reloaded(ground, "--back")


async def _bad(ground: Ground, game: Path) -> None:
    kind = ground.rng.choice(BAD)
    save = KINDS[kind](random.Random(ground.rng.random()))
    (game / save.path).write_text(save.text, encoding="utf-8")
    said = await _reloaded(ground)
    is_refused = _code(said).startswith(OF_CODE)
    ground.count("bad saves refused" if is_refused else "bad saves not decided")
    if said.get("changed"):
        ground.wrong.append(f"a bad save ({kind}) was taken: {said}: {save.text!r}")


async def _good(ground: Ground, game: Path) -> None:
    text = RULES.format(word=ground.rng.randrange(10**9))
    (game / DICE).write_text(text, encoding="utf-8")
    said = await _reloaded(ground)
    ground.count("good saves taken" if said.get("changed") else "good saves not taken")
    if _code(said).startswith(OF_CODE):
        ground.wrong.append(f"a good save was refused: {said}")


def _code(said: dict[str, Any]) -> str:
    """The code of a refusal, empty without one."""
    return str(said.get("error", {}).get("code", ""))


async def _reloaded(ground: Ground, *words: str) -> dict[str, Any]:
    """What the command printed; nothing when it did not end, which is a fault of its own."""
    try:
        said: dict[str, Any] = await ground.arena.command(
            "reload", *words, deadline_s=RELOAD_S, accept=(0, 1, 3, 4)
        )
    except (OSError, MmoError):
        return {}
    return said
