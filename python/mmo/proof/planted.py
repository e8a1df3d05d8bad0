"""The proof of the checker: bugs are planted in the nodes, and each must be found.

Owns under which faults each bug is looked for, and the order: plant, restart the nodes, break and
play until the checker finds something, write down which check and how long it took. The checker is
a process that is told neither that a bug is planted nor which. Bugs are `mmo.testing.planted`, of
which this file knows only names.
"""

import asyncio
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from mmo.cluster import control
from mmo.errors import MmoError
from mmo.proof.arena import Arena
from mmo.proof.chaos import Chaos, Order
from mmo.proof.nemesis import chosen
from mmo.proof.verdict import Trial

CAUGHT_S = 600.0
"""A bug that is not found within this is a finding of the proof."""

ROUND_S = 12.0
SHORT_ROUND_S = 4.0
BOTS = 6

UNDER = {
    "no-epoch-test": "stop-node",
    "no-session-fence": "stop-node",
    "reservation-not-spent": "stop-node",
    "reply-before-commit": "kill-mysql,kill-channel,kill-center",
    "payment-acknowledged-early": "kill-cash",
    "outage-taken-for-success": "kill-mysql,stop-mysql,cut-mysql",
    "lock-taken-for-success": "lock-rows",
    "fence-taken-for-success": "stop-node",
    "statement-only-rollback": "lock-rows",
    "constraint-swallowed": "stop-node",
    "commit-in-two": "kill-mysql,kill-channel,kill-center",
    "apply-before-commit": "lock-rows,kill-mysql",
    "cache-before-commit": "kill-mysql,lock-rows,kill-channel",
    "cache-without-fence": "stop-node",
    "dirty-mark-lost": "stop-redis,kill-redis-primary",
    "stale-cache-at-claim": "stop-redis,kill-redis-primary,kill-center",
    "re-roll": "stop-node",
    "roll-not-logged": "stop-node",
    "operation-forgotten": "stop-node",
    "request-not-compared": "stop-node",
    "stored-answer-differs": "stop-node",
    "ledger-line-skipped": "stop-node",
    "amount-wrong": "stop-node",
    "item-lost": "stop-node",
    "item-doubled": "stop-node",
    "event-lost": "stop-node",
    "version-skipped": "stop-node",
    "grant-pays-twice": "stop-node",
    "order-booked-twice": "stop-node",
}
"""Faults that give each bug its chance; for many the doubled and rude requests alone do."""

SHORT = ("no-epoch-test", "reservation-not-spent", "version-skipped")


async def checker_is_proved(arena: Arena, trial: Trial, short: bool) -> None:
    """Each bug alone until it is found; without any, nothing is found."""
    if not await obeys(arena):
        trial.found("this cluster does not obey planted bugs: it needs node.failpoints = true")
        return
    names = list(SHORT) if short else list(UNDER)
    table: dict[str, dict[str, Any]] = {}
    try:
        for name in names:
            await planted(arena, name)
            table[name] = row = await caught(
                arena, name, 90.0 if short else CAUGHT_S, SHORT_ROUND_S if short else ROUND_S
            )
            trial.expect(bool(row["by"]), f"{name} was not found in {row['seconds']} s")
            trial.tried(f"{name}: {row['by'] or 'NOT FOUND'} after {row['seconds']} s")
    finally:
        await planted(arena, "")
    found = sum(bool(row["by"]) for row in table.values())
    trial.figure("bugs", table)
    trial.figure("caught", f"{found} of {len(table)}")
    clean = await play(arena, ("kill-channel", "lock-rows"), 1, SHORT_ROUND_S if short else ROUND_S)
    trial.expect(not clean["findings"], f"without a bug it finds {clean['findings'][:3]}")
    trial.tried(f"without a bug: {clean['acknowledged']} acknowledged, nothing found")


async def obeys(arena: Arena) -> bool:
    """Whether nodes of this cluster may be made to fail."""
    try:
        await arena.arm("login-1", "before-row", times=1_000_000)
    except MmoError:
        return False
    return True


async def planted(arena: Arena, name: str) -> None:
    """Name a bug in the home ("": none) and start every node anew."""
    path = arena.home.planted_bug
    if name:
        path.write_text(name, encoding="ascii")
    else:
        path.unlink(missing_ok=True)
    socket = arena.home.socket("supervisor", arena.file())
    for node in arena.file().nodes:
        try:
            await control.ask_async(socket, {"ask": "kill", "name": node.name}, 2.0)
        except MmoError:
            continue  # it is being started: it reads the name then
    await asyncio.sleep(0.5)
    if await arena.ready_s() is None:
        raise TimeoutError(f"the cluster did not start with {name or 'no bug'}")


async def caught(
    arena: Arena, name: str, within_s: float, round_s: float = ROUND_S
) -> dict[str, Any]:
    """Break and play, round after round, until something is found: which checks, after how
    long."""
    began, turn = time.monotonic(), 0
    while time.monotonic() - began < within_s:
        turn += 1
        try:
            answer = await play(arena, tuple(chosen(UNDER[name])), turn, round_s)
        except (MmoError, TimeoutError, OSError) as fault:
            # A cluster that no bot can play on any more is no judgement of the checker's.
            answer = {"checker": {"counts": {}}, "findings": [str(fault)]}
        counts = answer["checker"]["counts"]
        if counts:
            by = ", ".join(f"{check} ({times})" for check, times in sorted(counts.items()))
            return {"by": by, "seconds": round(time.monotonic() - began, 1), "rounds": turn}
    return {"by": "", "seconds": round(time.monotonic() - began, 1), "rounds": turn}


async def play(
    arena: Arena, faults: tuple[str, ...], seed: int, seconds: float, bots: int = BOTS
) -> dict[str, Any]:
    """One round of chaos with a history of its own; its answer."""
    directory = tempfile.mkdtemp(prefix="mmo-history-")
    try:
        order = Order(seed, seconds, faults, bots, every_s=2.0)
        return await Chaos(arena, order, Path(directory), lambda text: None).run()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
