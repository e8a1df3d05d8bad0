"""The list of benches and how one is run.

Owns the names. Each bench is one published workload beside its limit. Called by the `bench`
command, tests and CI.
"""

from collections.abc import Callable
from pathlib import Path

from mmo.errors import OperatorError
from mmo.proof import (
    bench_catalogue,
    bench_commit,
    bench_connections,
    bench_economy,
    bench_instructions,
    bench_login,
    bench_match,
    bench_mirror,
    bench_mixed,
    bench_network,
    bench_pool,
    bench_raid,
    bench_ranking,
    bench_reload,
    bench_restart,
    bench_start,
)
from mmo.proof.bench_result import BenchResult
from mmo.proof.bench_rounds import Report
from mmo.proof.origin import code_digest

Bench = Callable[[float, Path, Report], BenchResult]


def benches() -> dict[str, Bench]:
    """Every bench by name, in the order of `bench --list`. The first line of its docstring says
    what it measures."""
    return {
        "loopback": bench_network.loopback,
        "seam": bench_network.seam,
        "handler": bench_network.handler,
        "login": bench_login.login,
        "connections": bench_connections.connections,
        "commit": bench_commit.commit,
        "economy": bench_economy.economy,
        "catalogue": bench_catalogue.catalogue,
        "shop": bench_catalogue.shop,
        "pool": bench_pool.pool,
        "ranking": bench_ranking.ranking,
        "match": bench_match.match,
        "mixed": bench_mixed.mixed,
        "mirror": bench_mirror.mirror,
        "raid": bench_raid.raid,
        "start": bench_start.start,
        "reload": bench_reload.reload,
        "restart": bench_restart.restart,
        "instructions": bench_instructions.instructions,
    }


def describe(name: str) -> str:
    """One line about a bench."""
    return (benches()[name].__doc__ or "").strip().splitlines()[0]


def run(name: str, seconds: float, home: Path, report: Report) -> BenchResult:
    """Run one bench for about `seconds` of measured windows (at least 1). `home` is the cluster's,
    for benches that need one. Raises `OperatorError` for an unknown name or when it
    cannot run here."""
    found = benches().get(name)
    if found is None:
        known = ", ".join(benches())
        raise OperatorError("E0900", f"no bench is called {name!r}", f"one of: {known}")
    code_digest()  # of the beginning: files may change while a bench runs
    return found(max(1.0, seconds), home, report)
