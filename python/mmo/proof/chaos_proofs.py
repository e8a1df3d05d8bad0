"""The proofs of chaos: a minute in the short form, an hour in the long one.

Owns what must come of a run; the run is `chaos`. `MMO_HISTORY` names an empty directory where the
history is kept. Called by `proofs`.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from mmo.proof import live_code
from mmo.proof.arena import Arena
from mmo.proof.chaos import Chaos, Order
from mmo.proof.load import books_balance
from mmo.proof.looks import expect_judged, expect_looks
from mmo.proof.nemesis import MENU
from mmo.proof.verdict import Trial

SHORT_FAULTS = (
    "kill-channel", "kill-center", "kill-mysql", "stop-node", "flush-redis", "lock-rows",
    "kill-redis-primary", "cut-mysql", "line-reset", "kill-at-point", "kill-raid", "cut-links",
)  # fmt: skip
SHORT_S, MINUTE_S, HOUR_S = 20.0, 120.0, 3_600.0
HOUR_FAULTS = 600
HOUR_OPERATIONS = 500_000
HOUR_BOTS, HOUR_RAIDERS = 40, 8
HOUR_EVERY_S, HOUR_TOGETHER = 5.4, 4
"""Faults keep their rhythm, some more than an hour must see, also on a machine that does other
things and starts a process in ten seconds: one may then meet the end of another."""

DUE_SHARE_MIN = 0.2
"""Least share of the samples of Redis that have to be as new as the bound wants; the others lie in
the time of faults under which nobody can repair it. Two minutes and an hour of all faults had about
0.6 of them."""

P99_MIN = 100
"""Of fewer faults of a kind the p99 is the longest, which is told anyway."""

SAVED = ("good saves taken", "bad saves refused")
"""What storms of reloads must have decided."""

NODES = (
    *(("login-1", "login", 1), ("center-1", "center", 2), ("center-2", "center", 3)),
    *(("channel-1", "channel", 11), ("channel-2", "channel", 12), ("matching-1", "matching", 21)),
    *(("raid-1", "raid", 31), ("cash-1", "cash", 41)),
)
OFFSETS_MS = {"login-1": 900, "center-1": -1_200, "center-2": 1_500, "channel-1": -700}
"""By how much clocks are wrong from the start; those of the others are 1.5 s ahead."""


def prepare(directory: Path) -> str:
    """A game of its own, whose rules may be saved in the middle, and a second center."""
    game = live_code.prepare(directory).partition(live_code.RATES)[0]
    return game + live_code.topology(NODES, OFFSETS_MS)


async def chaos_holds(arena: Arena, trial: Trial, short: bool) -> None:
    """Every fault of the menu, some twice."""
    if short:
        order = Order(11, SHORT_S, SHORT_FAULTS, bots=6, raiders=2, every_s=1.0)
    else:
        order = Order(11, MINUTE_S, tuple(MENU), bots=16, raiders=4, every_s=1.0)
    await _run(arena, trial, order, short)


async def chaos_hour(arena: Arena, trial: Trial, short: bool) -> None:
    """An hour of it; the short form is some seconds and asks for no number of faults."""
    if short:
        order = Order(12, SHORT_S, tuple(MENU), bots=10, raiders=2, every_s=1.0)
        await _run(arena, trial, order, short)
        return
    order = Order(
        12, HOUR_S, tuple(MENU), HOUR_BOTS, HOUR_RAIDERS, HOUR_EVERY_S, together=HOUR_TOGETHER
    )
    answer = await _run(arena, trial, order, short)
    faults, operations = answer["faults"], answer["operations"]
    trial.expect(faults >= HOUR_FAULTS, f"only {faults} faults")
    trial.expect(operations >= HOUR_OPERATIONS, f"only {operations} operations")


async def _run(arena: Arena, trial: Trial, order: Order, short: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="mmo-history-") as directory:
        place = Path(os.environ.get("MMO_HISTORY") or directory)
        answer = await Chaos(arena, order, place, trial.tried).run()
    for text in answer["findings"]:
        trial.found(text)
    trial.expect(answer["acknowledged"] > 0, "nothing was acknowledged")
    missing = set(order.faults) - answer["by_fault"].keys()
    least = 2 if short else len(order.faults)  # how many some seconds reach, the machine decides
    enough = len(order.faults) - len(missing) >= least
    trial.expect(enough, f"did not strike: {', '.join(sorted(missing))}")
    expect_looks(trial, answer)
    if not short:
        expect_judged(trial, answer)
        undecided = [name for name in SAVED if not answer["saves"].get(name)]
        trial.expect(not undecided, f"not once in storms of reloads: {', '.join(undecided)}")
        due, compared = answer["checker"]["samples_due"], answer["checker"]["samples_compared"]
        enough = due >= DUE_SHARE_MIN * compared > 0
        trial.expect(enough, f"only {due} of {compared} samples had to be up to date")
    for name in ("lost", "duplicated", "stale"):
        trial.expect(not answer[name], f"{answer[name]} {name}")
    for name, value in answer.items():
        if name != "findings":
            trial.figure(name, _with_p99(value) if name == "recovery" else value)
    await books_balance(arena, trial, answer["checker"]["players"])
    return answer


def _with_p99(recovery: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Recovery by kind of fault, with a p99 only where there were enough for one."""
    return {
        kind: {
            name: value for name, value in row.items() if name != "p99_ms" or row["count"] > P99_MIN
        }
        for kind, row in recovery.items()
    }
