"""A storm of reloads: good and bad saves, and ways back, one right after the other under load.

Owns the order of a storm and what no save may do: a bad one is never taken, a good one is never
refused for good. Called through the menu of `nemesis`.
"""

import random
import time
from pathlib import Path
from typing import Any

from mmo.proof.bad_saves import DICE, KINDS
from mmo.proof.ground import Ground
from mmo.proof.live_code import RULES

SAVES = (4, 9)
BAD_SHARE = 0.5
BACK_SHARE = 0.3
BAD = ("syntax", "import", "raises", "opcode", "signature", "returns", "hazard")
"""Kinds of bad saves that are refused at once."""

AWAY = frozenset({"E0415", "E0418", "E0419", "E0426"})
"""Refusals of a good save because a server or the database was away: it is saved again."""

AGAIN_S = 40.0
RELOAD_S = 40.0


async def reload_storm(ground: Ground) -> str:
    """Good and bad saves of rules right after each other; sometimes the way back at the end."""
    if ground.game is None:
        raise LookupError("the cluster has no game of its own that could be saved")
    good = bad = 0
    for _ in range(ground.rng.randrange(*SAVES)):
        if ground.rng.random() < BAD_SHARE:
            bad += await _bad(ground, ground.game)
        else:
            good += await _good(ground, ground.game)
    good += await _good(ground, ground.game)
    back = ground.rng.random() < BACK_SHARE
    if back:
        await _reloaded(ground, "--back")
    generation = (await ground.arena.status())["generation"]
    return f"{good} good, {bad} bad{', back' if back else ''}: generation {generation}"


async def _bad(ground: Ground, game: Path) -> int:
    kind = ground.rng.choice(BAD)
    save = KINDS[kind](random.Random(ground.rng.random()))
    (game / save.path).write_text(save.text, encoding="utf-8")
    said = await _reloaded(ground)
    error = said.get("error", {}).get("code", "")
    if error not in save.codes and error not in AWAY:
        ground.wrong.append(f"a bad save ({kind}) was answered {said}: {save.text!r}")
    return 1


async def _good(ground: Ground, game: Path) -> int:
    text = RULES.format(word=ground.rng.randrange(10**9))
    (game / DICE).write_text(text, encoding="utf-8")
    until = time.monotonic() + AGAIN_S
    while True:
        said = await _reloaded(ground)
        error = said.get("error", {}).get("code", "")
        if not error:
            return 1
        if error not in AWAY or time.monotonic() > until:
            ground.wrong.append(f"a good save was refused: {said}")
            return 0


async def _reloaded(ground: Ground, *words: str) -> dict[str, Any]:
    said: dict[str, Any] = await ground.arena.command(
        "reload", *words, deadline_s=RELOAD_S, accept=(0, 1, 4)
    )
    return said
