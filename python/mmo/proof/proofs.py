"""The list of proofs: each promise of the product by name, with what runs it.

Owns the list and the frame around a run: a cluster of its own, the verdict, the raw file. Called by
the `prove` command and by cluster tests.
"""

import importlib
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from mmo.cluster import control
from mmo.proof.arena import Arena
from mmo.proof.verdict import Trial, Verdict

Run = Callable[[Arena, Trial, bool], Awaitable[None]]


class Proof(msgspec.Struct, frozen=True):
    """One promise. `module` and `function` run it; `overlay` is the configuration of its cluster.
    `prepare` names a function of the module that makes files in a directory and returns more of
    the configuration; such a proof needs a cluster of its own and takes no other. `needs_cluster`
    False: it starts none.
    `in_tests`: its short form is part of the tests. The hour of chaos is not."""

    name: str
    promise: str
    module: str
    function: str
    overlay: str = ""
    prepare: str = ""
    takes_any: bool = False
    needs_cluster: bool = True
    in_tests: bool = True

    def prepared(self, directory: Path) -> str:
        """The whole configuration of its own cluster."""
        if not self.prepare:
            return self.overlay
        make: Callable[[Path], str] = getattr(importlib.import_module(self.module), self.prepare)
        return self.overlay + make(directory)

    def run(self) -> Run:
        """The function, imported when it is needed."""
        found: Run = getattr(importlib.import_module(self.module), self.function)
        return found


OVERLAY = """
[node]
failpoints = true
clock_offset_ms = 1500
[supervisor]
crashes_max = 100000
restart_ms_max = 500
"""
"""A cluster that is made to be broken: nodes end themselves at named points, however often, and
their clocks differ from that of the database."""

QUICK_LIMITS = """
[net]
prove_ms = 3000
frame_ms = 3000
open_ms = 6000
"""
"""Slow and half-open connections are given up sooner, so that a proof of it takes seconds."""

PROOFS = (
    Proof(
        "node-killed",
        "kill -9 of each kind of node under hunters: the supervisor repairs it, nothing "
        "acknowledged is lost, the books balance, the bots' own records agree",
        "mmo.proof.kills",
        "node_killed",
        "[node]\nfailpoints = true\n",
    ),
    Proof(
        "mysql-killed",
        "kill -9 of the database under hunters: combat goes on, rewards follow, nothing is lost",
        "mmo.proof.kills",
        "mysql_killed",
    ),
    Proof(
        "redis-primary-killed",
        "kill -9 of Redis primaries under hunters: players notice nothing, Redis agrees again",
        "mmo.proof.kills",
        "redis_primary_killed",
    ),
    Proof(
        "redis-wiped",
        "FLUSHALL on every primary in the middle: nothing is decided from Redis, nothing is lost",
        "mmo.proof.kills",
        "redis_wiped",
    ),
    Proof(
        "two-logins",
        "two logins of one account at the same moment: exactly one plays",
        "mmo.proof.logins",
        "two_logins",
    ),
    Proof(
        "hostile-client",
        "every kind of bad input at every client port: a clear refusal or a counted close, the "
        "honest player beside it notices nothing",
        "mmo.proof.hostile",
        "hostile_client",
        QUICK_LIMITS,
    ),
    Proof(
        "disconnects",
        "vanishing in any state leaves no ghost, no count, no seat, no token",
        "mmo.proof.departures",
        "disconnects",
    ),
    Proof(
        "economy-under-kills",
        "shoppers and payments go on while every 3 s a channel, center or cash server, the "
        "database or a Redis primary dies: nothing acknowledged is lost or done twice, nobody is "
        "stale in Redis 8 s after the last fault, the books balance",
        "mmo.proof.economy",
        "economy_under_kills",
        "[supervisor]\ncrashes_max = 1000\n",
    ),
    Proof(
        "rolling",
        "every process is replaced, one after the other, again and again while bots walk every "
        "journey: no error, nobody logs in again, nothing is lost, the books balance",
        "mmo.proof.rolling",
        "rolling",
    ),
    Proof(
        "duplicate-storm",
        "each request is sent 1 to 20 times across cuts, servers and crashes: one effect, "
        "identical bytes; after a purge the same numbers are refused, never executed",
        "mmo.proof.duplicates",
        "duplicate_storm",
        "[supervisor]\ncrashes_max = 1000\n",
    ),
    Proof(
        "pass-season-edge",
        "claims at the edge of a season at servers whose clocks are off by two seconds either way: "
        "each falls into exactly one season, by the clock of the database",
        "mmo.proof.season_edge",
        "pass_season_edge",
        prepare="prepare",
    ),
    Proof(
        "chaos",
        "two minutes of every fault of the menu under shoppers, raiders, probes, rogues and "
        "payments: the checker finds nothing lost, doubled or stale",
        "mmo.proof.chaos_proofs",
        "chaos_holds",
        OVERLAY,
        prepare="prepare",
        takes_any=True,
    ),
    Proof(
        "chaos-hour",
        "an hour of it on two cores: at least 600 faults and 500,000 operations asked for",
        "mmo.proof.chaos_proofs",
        "chaos_hour",
        OVERLAY,
        prepare="prepare",
        takes_any=True,
        in_tests=False,
    ),
    Proof(
        "checker",
        "bugs planted in the nodes are each found by the checker, which is not told of them",
        "mmo.proof.planted",
        "checker_is_proved",
        OVERLAY,
        prepare="prepare",
        takes_any=True,
    ),
    Proof(
        "contrast",
        "the same kinds of faults for three builds: Redis as the truth loses what it "
        "acknowledged, two writes without a fence leave players stale, neither does so without "
        "faults; ours loses nothing and leaves nobody stale",
        "mmo.proof.contrast",
        "contrast",
        OVERLAY,
    ),
    Proof(
        "flood",
        "ten million malformed packets, most of them datagrams, are judged and rejected one by "
        "one: the servers' own counters and what the hostile clients hear agree; no process ends, "
        "and the honest players' p99 stays below twice that of quiet minutes, or below 25 ms",
        "mmo.proof.flood",
        "flood",
    ),
    Proof(
        "simulation",
        "a hundred thousand seeds of a whole cluster in virtual time, with crashes at any "
        "call of the store, pauses, lost answers and links, and reloads: all clean",
        "mmo.proof.simulation",
        "simulation",
        needs_cluster=False,
    ),
    Proof(
        "raids-under-kills",
        "raiders go on while every 5 s a raid, matching or center server dies: every raid ends "
        "once, no seat or ticket leaks, no reward is lost or doubled, the ranking is right",
        "mmo.proof.raids",
        "raids_under_kills",
        "[supervisor]\ncrashes_max = 1000\n",
    ),
    Proof(
        "raid-disconnects",
        "vanishing in the queue, before the start, in battle and at the end of a raid: the other "
        "goes on, both may raid again, nothing is lost or left",
        "mmo.proof.raid_departures",
        "raid_disconnects",
    ),
    Proof(
        "replay",
        "raids played from seeds by scripted members, and those of players on the cluster, repeat "
        "bit for bit in a fresh process; a score changed by direct SQL is named",
        "mmo.proof.raid_replays",
        "replays",
    ),
    Proof(
        "odds",
        "rolls are uniform at every level under any key, a drift of half a point is found, clean "
        "runs raise no alarm, and every receipt recomputes",
        "mmo.proof.odds",
        "odds",
    ),
    Proof(
        "reload",
        "200 reloads under 500 players, 20 of them while a node is killed, stands still, has a "
        "full disk or the store is cut: never two generations decide at once, a raid ends by the "
        "one it began with, nobody is disconnected but from a killed process, nothing "
        "acknowledged is lost",
        "mmo.proof.reloads",
        "reload",
        prepare="prepare",
    ),
    Proof(
        "bad-bundles",
        "ten kinds of a hundred broken saves, a good one between each: all bad ones are refused "
        "with their place told and change nothing, all good ones are taken, nobody notices",
        "mmo.proof.bad_bundles",
        "bad_bundles",
        prepare="prepare",
    ),
)


def proofs() -> dict[str, Proof]:
    """Every proof by name."""
    return {proof.name: proof for proof in PROOFS}


async def prove(
    proof: Proof,
    *,
    home: Path | None,
    short: bool,
    say: Callable[[str], None],
    out: Path | None = None,
) -> Verdict:
    """Run one proof on a cluster of its own, or on the one of `home`. Whatever interrupts it is a
    finding, but that no cluster runs in `home`: raises `NotRunning` (E0701). With `out` the verdict
    is also written there as `prove-NAME.json`."""
    trial = Trial(proof.name, say)
    began = time.monotonic()
    is_up = False
    try:
        async with _arena(proof, home) as arena:
            if home is not None and proof.needs_cluster:
                await arena.status()
            is_up = True
            trial.figure("start_s", round(time.monotonic() - began, 2))
            await proof.run()(arena, trial, short)
    except (Exception, BaseExceptionGroup) as fault:
        # A driver's fault too, which no common word of Python's names: an hour is not lost by it.
        if isinstance(fault, control.NotRunning) and not is_up:
            raise
        trial.found(f"the proof was interrupted: {_told(fault)}")
    trial.figure("took_s", round(time.monotonic() - began, 1))
    verdict = trial.verdict()
    if out is not None:
        keep(verdict, out)
    return verdict


@asynccontextmanager
async def _arena(proof: Proof, home: Path | None) -> AsyncIterator[Arena]:
    """The cluster of a proof: that of `home`, or one of its own with what was prepared for it."""
    with tempfile.TemporaryDirectory(prefix="mmo-proof-") as directory:
        if not proof.needs_cluster:
            yield Arena(Path(directory))
            return
        given = home if proof.takes_any or not proof.prepare else None
        overlay = "" if given is not None else proof.prepared(Path(directory))
        async with Arena(given, overlay) as arena:
            yield arena


def _told(fault: BaseException) -> str:
    """The first real fault, whatever task group wrapped it."""
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    if isinstance(fault, KeyboardInterrupt | SystemExit):
        raise fault
    return f"{type(fault).__name__}: {fault}"


def keep(verdict: Verdict, directory: Path) -> None:
    """Write the raw verdict to `directory/prove-NAME.json`."""
    directory.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(verdict), indent=2)
    (directory / f"prove-{verdict.name}.json").write_bytes(text + b"\n")
