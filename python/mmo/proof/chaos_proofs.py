"""The proofs of chaos: a minute in the short form, an hour in the long one.

Owns what must come of a run; the run is `chaos`. Called by `proofs`.
"""

import tempfile
from pathlib import Path

from mmo.proof.arena import Arena
from mmo.proof.chaos import Chaos, Order
from mmo.proof.nemesis import MENU
from mmo.proof.verdict import Trial

SHORT_FAULTS = (
    "kill-channel", "kill-center", "kill-mysql", "stop-node", "flush-redis", "lock-rows",
    "kill-redis-primary", "cut-mysql", "line-reset", "kill-at-point",
)  # fmt: skip
HOUR_S = 3_600.0
HOUR_FAULTS = 600
HOUR_OPERATIONS = 500_000
HOUR_BOTS = 80
HOUR_EVERY_S = 4.5
"""Some more than the faults that an hour must see, so that most of it is play between them."""


async def chaos_holds(arena: Arena, trial: Trial, short: bool) -> None:
    """Every fault of the menu, some twice."""
    faults = SHORT_FAULTS if short else tuple(MENU)
    await _run(arena, trial, Order(11, 15.0 if short else 90.0, faults, 6 if short else 16, 1.0))


async def chaos_hour(arena: Arena, trial: Trial, short: bool) -> None:
    """An hour of it; the short form is some seconds and asks for its share of the faults."""
    share = 1 / 450 if short else 1.0
    bots = 10 if short else HOUR_BOTS
    every_s = 1.0 if short else HOUR_EVERY_S
    answer = await _run(arena, trial, Order(12, HOUR_S * share, tuple(MENU), bots, every_s))
    faults, operations = answer["faults"], answer["operations"]
    if short:
        return
    trial.expect(faults >= HOUR_FAULTS, f"only {faults} faults")
    trial.expect(operations >= HOUR_OPERATIONS, f"only {operations} operations")


async def _run(arena: Arena, trial: Trial, order: Order) -> dict[str, int]:
    with tempfile.TemporaryDirectory(prefix="mmo-history-") as directory:
        answer = await Chaos(arena, order, Path(directory), trial.tried).run()
    for text in answer["findings"]:
        trial.found(text)
    trial.expect(answer["acknowledged"] > 0, "nothing was acknowledged")
    trial.expect(answer["faults"] > 0, "no fault struck")
    for name in ("lost", "duplicated", "stale"):
        trial.expect(not answer[name], f"{answer[name]} {name}")
    for name, value in answer.items():
        if name != "findings":
            trial.figure(name, value)
    return answer
