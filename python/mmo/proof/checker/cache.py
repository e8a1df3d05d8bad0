"""Checks 8 and 9: Redis against MySQL during and after the faults, and recovery times.

Owns these judgements. Called by the command.
"""

from bisect import bisect_right
from typing import Any

from mmo.proof.checker.answers import FIELDS
from mmo.proof.checker.findings import Findings
from mmo.proof.checker.history import Fault, History
from mmo.proof.checker.truth import PlayerBooks

OF_ITEMS = (*FIELDS, "attempts")
"""Names of an item in a snapshot, in the order in which the database's are read."""

CACHE_FAULTS = ("kill-redis-primary", "stop-redis", "flush-redis", "failover-redis", "disk-full")
"""Faults after which Redis may show something older for a while: a replica takes over that had not
heard all, or the fence of a key is gone with it."""

REPAIR_FAULTS = (
    *("kill-redis-primary", "stop-redis", "kill-mysql", "stop-mysql", "cut-mysql", "cut-node"),
    *("lock-rows", "disk-full"),
)
"""Faults under which nobody can repair what Redis shows, or the one relay that had begun to must
begin anew; under all others the relay of any living server can."""


def check_samples(history: History, bound_ns: int, found: Findings) -> tuple[int, int]:
    """Never ahead at any sample; not behind for longer than the bound in which it could be
    repaired; never going back while Redis was left alone. Returns how many versions were compared,
    and how many of them had to be as new as the bound wants: from the moment on at which a version
    was surely in MySQL to that before Redis was read, however long MySQL had to be waited for."""
    compared = due = 0
    last: dict[int, tuple[int, int]] = {}
    moments = [sample.at for sample in history.samples]
    for sample in history.samples:
        looked, at = sample.looked, sample.at
        earlier = bisect_right(moments, looked - bound_ns) - 1
        before = history.samples[earlier].heads if earlier >= 0 else {}
        if _disturbed(history.faults, (looked - bound_ns, at), REPAIR_FAULTS):
            before = {}
        for user, version in sample.held.items():
            compared += 1
            head = sample.heads.get(user, version)
            if version > head:
                text = f"user {user}: Redis at {version}, MySQL at {head} afterwards"
                found.add("cache", "ahead", text)
            due += user in before
            if version < before.get(user, 0):
                text = f"user {user}: Redis at {version}, MySQL was at {before[user]} long before"
                found.add("cache", "behind", text)
            seen_at, seen = last.get(user, (0, 0))
            if version < seen and not _disturbed(
                history.faults, (seen_at - bound_ns, at), CACHE_FAULTS
            ):
                found.add("cache", "went-back", f"user {user}: Redis went from {seen} to {version}")
            last[user] = (looked, version)
    return compared, due


def _disturbed(faults: list[Fault], span: tuple[int, int], names: tuple[str, ...]) -> bool:
    """Whether one of the named faults was there between two moments."""
    since, until = span
    return any(
        (fault.recovered or until) >= since and fault.began <= until
        for fault in faults
        if fault.what in names
    )


def check_cache(
    books: PlayerBooks, held: tuple[int, list[Any] | None] | None, found: Findings
) -> bool:
    """After everything went quiet: the same version, and the head's own numbers in it. True when
    there was something to compare."""
    if held is None:
        return False
    version, blob = held
    if version != books.version:
        name = "ahead" if version > books.version else "stale"
        text = f"user {books.user}: Redis holds version {version}, MySQL {books.version}"
        found.add("cache", name, text)
        return True
    if blob is None or len(blob) < 2 or blob[0] != books.user:
        found.add("cache", "content", f"user {books.user}: the snapshot is unreadable or another's")
        return True
    snapshot = blob[1]
    due = [books.version, books.level, books.exp, *books.coins, books.score]
    if snapshot[:7] != due:
        found.add("cache", "content", f"user {books.user}: Redis {snapshot[:7]}, MySQL {due}")
    items = {
        item["uid"]: tuple(int(item.get(name, -1)) for name in OF_ITEMS) for item in snapshot[7]
    }
    if items != books.items:
        found.add("cache", "content", f"user {books.user}: Redis holds other items")
    return True


def check_recovery(
    faults: list[Fault], bound_s: float, found: Findings
) -> dict[str, dict[str, float]]:
    """Milliseconds from the end of each fault until operations succeeded everywhere, by kind."""
    by_kind: dict[str, list[float]] = {}
    for fault in faults:
        if not fault.recovered:
            text = (
                f"after {fault.what} {fault.target} operations did not succeed within {bound_s} s"
            )
            found.add("available", "not-recovered", text)
        elif not fault.uncertain:
            took = max(0.0, (fault.recovered - fault.ended) / 1e6)
            by_kind.setdefault(fault.what, []).append(took)
    return {kind: figures(sorted(took)) for kind, took in sorted(by_kind.items())}


def figures(ordered: list[float]) -> dict[str, float]:
    """Count, p50, p99 and the longest of sorted milliseconds. Percentiles are of nearest rank, as
    everywhere in proofs."""

    def at(permille: int) -> float:
        return round(ordered[max(0, -(-permille * len(ordered) // 1000) - 1)], 1)

    return {
        "count": len(ordered), "p50_ms": at(500), "p99_ms": at(990),
        "max_ms": round(ordered[-1], 1),
    }  # fmt: skip
