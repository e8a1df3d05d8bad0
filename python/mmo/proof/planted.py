"""The proof of the checker: bugs are planted in the nodes, and each must be found.

Owns under which faults each bug is looked for, which checks may find it, and the order: without a
bug nothing is found; then plant one, restart the nodes, break and play until one of those checks
finds something, write down which and how long it took. `MMO_BUGS=NAME,NAME` looks for these alone.
The checker is a process that is told neither that a bug is planted nor which. Bugs are
`mmo.testing.planted`, of which this file knows only names.
"""

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mmo.errors import MmoError, OperatorError
from mmo.proof import live_code
from mmo.proof.arena import LOOK_EVERY_S, START_S, Arena
from mmo.proof.chaos import BOUND_S, CHECKER_ENVIRONMENT, Chaos, Order, checker_words
from mmo.proof.looks import expect_compared
from mmo.proof.nemesis import chosen
from mmo.proof.verdict import Trial

CAUGHT_S = 600.0
"""No round for a bug begins later than this after its first; one that is not found by then is a
finding of the proof."""

KILL_AGAIN_S = 1.0
"""How long after an order to kill the nodes those that did not follow it are killed again."""

ROUND_S = 6.0
CLEAN_S = 60.0
SHORT_CAUGHT_S = 60.0
SHORT_ROUND_S = 3.0
EVERY_S = 1.5
BOTS = 6
CALM_S = BOUND_S + 4.0
"""How long all play on after the last fault where it is asked whether Redis was up to date: so
there are samples that had to be."""

STORM = "reload-storm"

UNDER = {
    "no-epoch-test": "stop-node",
    "no-session-fence": "stop-node",
    "old-session-resumes": "stop-node",
    "reservation-not-spent": "stop-node",
    "reply-before-commit": "kill-mysql,kill-channel,kill-center",
    "payment-acknowledged-early": "kill-cash",
    "outage-taken-for-success": "kill-mysql,stop-mysql,cut-mysql",
    "lock-taken-for-success": "lock-rows",
    "fence-taken-for-success": "stop-node",
    "statement-only-rollback": "lock-rows",
    "constraint-swallowed": "stop-node",
    "commit-in-two": "kill-mysql,kill-channel,kill-center",
    "apply-before-commit": "lock-rows",
    "cache-before-commit": "kill-mysql,lock-rows,kill-channel",
    "cache-without-fence": "stop-node",
    "fence-expires": "stop-node",
    "dirty-mark-lost": "stop-redis,kill-redis-primary",
    "cursor-outbox": "stop-redis,kill-redis-primary",
    "stale-cache-at-claim": "kill-channel",
    "re-roll": "stop-node",
    "roll-not-logged": "stop-node",
    "roll-day-unpublished": "stop-node",
    "operation-forgotten": "stop-node",
    "request-not-compared": "stop-node",
    "stored-answer-differs": "stop-node",
    "ledger-line-skipped": "stop-node",
    "amount-wrong": "stop-node",
    "coins-unsigned": "stop-node",
    "item-lost": "stop-node",
    "item-doubled": "stop-node",
    "item-change-lost": "stop-node",
    "event-lost": "stop-node",
    "version-skipped": "stop-node",
    "grant-pays-twice": "stop-node",
    "grant-never-offered": "stop-node",
    "order-booked-twice": "stop-node",
    "raid-reward-twice": "stop-node",
    "raid-reward-lost": "stop-node",
    "raid-told-differs": "stop-node",
    "ranking-adds-up": "stop-node",
    "old-generation-decides": f"{STORM},kill-channel",
}
"""Faults that give each bug its chance; for many the doubled and rude requests alone do. Who was
decided for by the new code must come to a server that has the former: so channel servers die."""

RAIDERS = dict.fromkeys(
    ("raid-reward-twice", "raid-reward-lost", "raid-told-differs", "ranking-adds-up"), 2
)
"""Where a bug needs raids, so many raid; a round waits for the first result of each."""

NOT_DONE = (
    *("acknowledged", "unknown", "order", "owner", "books/balance-told", "books/item-told"),
    *("once/roll-told", "cache/ahead", "cache/content"),
)
"""What comes of an answer, or of what memory holds, without its commit: something was told that the
log has not, or has for another owner, or later, or not as told."""

HALF_DONE = (*NOT_DONE, "books", "versions", "once/attempt", "cache")
"""What comes of a part of a commit: besides, the books contradict each other."""

GOODS = ("books", "once/roll-told", "order/stale-arrival", "cache/content")
"""What comes of money or items that are not what was told."""

CATCHES: dict[str, tuple[str, ...]] = {
    "no-epoch-test": ("owner", "order"),
    "no-session-fence": ("owner", "order", "once/token"),
    "old-session-resumes": ("owner/old-session",),
    "reservation-not-spent": ("once/token", "owner"),
    "reply-before-commit": NOT_DONE,
    "payment-acknowledged-early": ("once/payment", "once/payment-lost", "once/payment-grant"),
    "outage-taken-for-success": NOT_DONE,
    "lock-taken-for-success": NOT_DONE,
    "fence-taken-for-success": NOT_DONE,
    "statement-only-rollback": HALF_DONE,
    "constraint-swallowed": NOT_DONE,
    "commit-in-two": HALF_DONE,
    "apply-before-commit": HALF_DONE,
    "cache-before-commit": ("cache", "order/stale-arrival"),
    "cache-without-fence": ("cache", "order/stale-arrival"),
    "fence-expires": ("cache", "order/stale-arrival"),
    "dirty-mark-lost": ("cache/stale", "cache/behind"),
    "cursor-outbox": ("cache/stale", "cache/behind"),
    "stale-cache-at-claim": ("order/stale-arrival", "cache/content", "books"),
    "re-roll": ("once/roll", "once/roll-told", "acknowledged/answered-twice"),
    "roll-not-logged": ("once/attempt", "once/roll-told"),
    "roll-day-unpublished": ("once/roll",),
    "operation-forgotten": ("acknowledged",),
    "request-not-compared": ("acknowledged/another-request",),
    "stored-answer-differs": ("acknowledged/differs", "acknowledged/answered-twice"),
    "ledger-line-skipped": ("books", "order/stale-arrival"),
    "amount-wrong": ("books", "order/stale-arrival"),
    "coins-unsigned": ("books", "order/stale-arrival"),
    "item-lost": GOODS,
    "item-doubled": GOODS,
    "item-change-lost": ("books/item-row",),
    "event-lost": ("acknowledged/lost", "versions", "books"),
    "version-skipped": ("versions", "cache/stale", "cache/behind"),
    "grant-pays-twice": ("books/grant", "books/grant-items"),
    "grant-never-offered": ("once/lost",),
    "order-booked-twice": ("once/payment", "once/payment-grant"),
    "raid-reward-twice": ("raids/never-earned",),
    "raid-reward-lost": ("raids/lost",),
    "raid-told-differs": ("raids/result",),
    "ranking-adds-up": ("raids/ranking",),
    "old-generation-decides": ("order/generation",),
}
"""Checks of the checker, or single names of theirs, that may find each bug, by what it breaks.
Anything else that a round brings forth is no catch: a server's own fault (`available/internal`) is
what any clumsy change raises, and a slow machine is not recovered in time."""

NO_CATCH = frozenset({"acknowledged/nothing"})
"""What is found in a history of bots that never got to play: no judgement of the checker's, and so
is nothing else that such a round brings forth."""

TOLD = (
    *("faults", "operations", "acknowledged", "lost", "duplicated", "stale"),
    *("players", "snapshots_compared", "samples_due", "samples_taken", "samples_failed"),
    *("raid_seats_finished", "raid_rewards", "generations"),
)
"""Figures of a run that are kept: how much was looked at in Redis, and of raids and code."""

SHORT = ("no-epoch-test", "request-not-compared")
"""Bugs of the short form: found in seconds, and they leave books that balance."""

SHORT_CLEAN = "stop-node,kill-channel,lock-rows"


def prepare(directory: Path) -> str:
    """A game of its own, whose rules may be saved in the middle."""
    return live_code.prepare(directory).partition(live_code.RATES)[0]


async def checker_is_proved(arena: Arena, trial: Trial, short: bool) -> None:
    """Nothing is found as the cluster is; each bug alone is found."""
    if not trial.expect(await obeys(arena), "nodes must obey planted bugs: node.failpoints = true"):
        return
    names = wanted(os.environ.get("MMO_BUGS", ""), SHORT if short else tuple(UNDER))
    if any(STORM in UNDER[name] for name in names):
        await live_code.game_of(arena)
    # First as the cluster is: a bug that somebody planted in all clusters must not be passed over.
    clean = await play(arena, clean_order(names, short))
    trial.expect(not clean["findings"], f"without a bug it finds {clean['findings'][:3]}")
    # Some seconds without a calm have hardly a sample that lies so far behind the last fault.
    whole = names == tuple(UNDER)
    expect_compared(trial, clean, "without a bug", is_calm=whole)
    if whole:
        expect_raided(trial, clean)
    trial.figure("without_a_bug", told(clean))
    trial.tried(f"no bug: {clean['acknowledged']} acknowledged, {clean['faults']} faults")
    table: dict[str, dict[str, Any]] = {}
    within_s, round_s = (SHORT_CAUGHT_S, SHORT_ROUND_S) if short else (CAUGHT_S, ROUND_S)
    was = planted_now(arena)
    try:
        for name in names:
            table[name] = row = await _looked_for(arena, trial, name, within_s, round_s)
            instead = f", only {row['beside']}" if row["beside"] else ""
            trial.expect(bool(row["by"]), f"{name} was not found in {row['seconds']} s{instead}")
            trial.tried(f"{name}: {row['by'] or 'NOT FOUND'} after {row['seconds']} s")
    finally:
        # Told whatever happens: to start without a bug may fail, too.
        found = sum(bool(row["by"]) for row in table.values())
        trial.figure("bugs", table)
        trial.figure("caught", f"{found} of {len(table)}")
        await planted(arena, was)


async def _looked_for(
    arena: Arena, trial: Trial, name: str, within_s: float, round_s: float
) -> dict[str, Any]:
    """Plant a bug and break and play until it is found. A cluster that does not start with it is no
    catch, and does not keep the next from being looked for."""
    try:
        await planted(arena, name)
    except (MmoError, TimeoutError, OSError) as fault:
        return {"by": "", "seconds": 0.0, "rounds": 0, "beside": str(fault)}
    trial.expect(not hears_of(arena, name), f"the checker is told of {name}")
    return await caught(arena, name, within_s, round_s)


def wanted(words: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """The bugs to look for: those of a comma separated list, or `names` where there is none. Raises
    `OperatorError` E0790 for one that there is not."""
    chosen_names = tuple(words.split(",")) if words else names
    unknown = ", ".join(sorted(set(chosen_names) - UNDER.keys()))
    if unknown:
        raise OperatorError("E0790", f"MMO_BUGS names no bugs: {unknown}")
    return chosen_names


def clean_order(names: tuple[str, ...], short: bool) -> Order:
    """The run without a bug. Where all bugs are looked for it is a long one that ends in a calm;
    else one round, with the players and faults of these bugs."""
    if short:
        return Order(1, SHORT_ROUND_S, tuple(chosen(SHORT_CLEAN)), BOTS, every_s=EVERY_S)
    faults = tuple(chosen(",".join(UNDER[name] for name in names)))
    raiders = max(RAIDERS.get(name, 0) for name in names)
    seconds, calm_s = (CLEAN_S, CALM_S) if names == tuple(UNDER) else (ROUND_S, 0.0)
    return Order(1, seconds, faults, BOTS, raiders, every_s=EVERY_S, calm_s=calm_s)


def expect_raided(trial: Trial, clean: dict[str, Any]) -> None:
    """There were results of raids and switches of code in which nothing was found."""
    checker = clean["checker"]
    rewards, generations = checker.get("raid_rewards", 0), checker.get("generations", 0)
    trial.expect(rewards > 0, "without a bug: no raid left a reward")
    trial.expect(generations > 1, f"without a bug: {generations} generations decided")


def hears_of(arena: Arena, name: str) -> bool:
    """Whether anything that the checker's process is started with names a bug."""
    told = [*checker_words(arena, Path()), *CHECKER_ENVIRONMENT, *CHECKER_ENVIRONMENT.values()]
    return any(word in text for text in told for word in (name, arena.home.planted_bug.name))


def planted_now(arena: Arena) -> str:
    """The bug that the home names, "" for none."""
    path = arena.home.planted_bug
    return path.read_text(encoding="ascii") if path.exists() else ""


async def obeys(arena: Arena) -> bool:
    """Whether nodes of this cluster may be made to fail."""
    try:
        await arena.arm("login-1", "before-row", times=1_000_000)
    except MmoError:
        return False
    return True


async def planted(arena: Arena, name: str) -> None:
    """Name a bug in the home ("": none) and start every node anew. Raises `TimeoutError`."""
    path = arena.home.planted_bug
    if name:
        path.write_text(name, encoding="ascii")
    else:
        path.unlink(missing_ok=True)
    was = {row["name"]: row["pid"] for row in (await arena.status())["nodes"]}
    until, again = time.monotonic() + START_S, 0.0
    left = list(was)
    while time.monotonic() < until:
        if left and time.monotonic() >= again:
            await _killed(arena, left)
            again = time.monotonic() + KILL_AGAIN_S
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            told = await arena.status()
        except MmoError:
            continue  # it answers late
        left = [row["name"] for row in told["nodes"] if row["pid"] == was[row["name"]]]
        if told["ready"] and not left:
            return
    raise TimeoutError(f"the cluster did not start with {name or 'no bug'}")


async def _killed(arena: Arena, names: list[str]) -> None:
    """Order it for each; one that is being started refuses."""
    for name in names:
        with contextlib.suppress(MmoError):
            await arena.kill(name)


async def caught(
    arena: Arena, name: str, within_s: float, round_s: float = ROUND_S
) -> dict[str, Any]:
    """Break and play, round after round, until a check finds something that may find this bug:
    which, after how long, and what was found beside it that is no catch."""
    began, turn = time.monotonic(), 0
    by = beside = ""
    while time.monotonic() - began < within_s:
        turn += 1
        try:
            faults, raiders = tuple(chosen(UNDER[name])), RAIDERS.get(name, 0)
            order = Order(turn, round_s, faults, BOTS, raiders, every_s=EVERY_S)
            answer = await play(arena, order)
        except Exception as fault:
            # A cluster that no bot can play on any more is no judgement of the checker's.
            answer = {"checker": {"counts": {}}, "findings": [str(fault)]}
        by, beside = told_apart(name, answer["checker"]["counts"])
        if by:
            break
    took_s = round(time.monotonic() - began, 1)
    return {"by": by, "seconds": took_s, "rounds": turn, "beside": beside}


def told_apart(name: str, counts: dict[str, int]) -> tuple[str, str]:
    """What may find the bug of this name, and what else was found, each with how often. A round in
    which nobody got to play is void: nothing of it may."""
    is_void = not NO_CATCH.isdisjoint(counts)
    may_find = {
        key
        for key in counts
        if not is_void and (key in CATCHES[name] or key.partition("/")[0] in CATCHES[name])
    }

    def line(keys: Collection[str]) -> str:
        return ", ".join(f"{key} ({counts[key]})" for key in sorted(keys))

    return line(may_find), line(counts.keys() - may_find)


def told(answer: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a run: its own figures and those of the checker."""
    figures = {**answer["checker"], **answer}
    return {name: figures[name] for name in TOLD}


async def play(arena: Arena, order: Order) -> dict[str, Any]:
    """One round of chaos with a history of its own; its answer."""
    directory = tempfile.mkdtemp(prefix="mmo-history-")
    try:
        return await Chaos(arena, order, Path(directory), lambda text: None).run()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
