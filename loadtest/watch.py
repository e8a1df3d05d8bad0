"""The cluster's own figures during a run: every node's `/metrics`, sampled while users play.

Owns the scrapes and what is made of them: series by figure and node. Judges nothing. Runs in the
process of `run`, apart from the generator, so that reading figures is in no latency.
"""

import asyncio
import json
import os
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from mmo.errors import MmoError
from mmo.proof.arena import Arena
from mmo.proof.raids import GAUGES

EVERY_S = 2.0
PROCESSES_EVERY = 5  # samples between two looks at the processes
SCRAPE_S = 5.0
HELD = ("mmo_connections", "mmo_players", "mmo_rooms")
"""What no node has when all users are gone, beside tickets."""
TICKETS = {"center", "matching", "raid"}
"""Roles that hold tickets, teams and seats in raids."""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
NAMES = (
    *("mmo_messages", "mmo_commit_seconds", "mmo_loop_lag_seconds", "mmo_connections"),
    *("mmo_players", "mmo_core_inbound_waiting", "mmo_core_reader_waits", "mmo_commits_waiting"),
    *("mmo_store_relay_lag_p99_ms", "mmo_rooms"),
)
Series = dict[str, list[tuple[float, float]]]
"""(second, value) by node."""


class Scrape(msgspec.Struct):
    """What a node told at one moment: sums over labels by sample name, and the classes of each
    distribution (upper end in seconds -> how many so far)."""

    at_s: float
    values: dict[str, float]
    buckets: dict[str, dict[float, float]]


def read(text: str, at_s: float) -> Scrape:
    """Take the figures that are charted out of a scrape."""
    lines = [line for line in text.splitlines() if line.removeprefix("# TYPE ").startswith(NAMES)]
    scrape = Scrape(at_s, {}, {})
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                classes = scrape.buckets.setdefault(family.name, {})
                end = float(sample.labels["le"])
                classes[end] = classes.get(end, 0.0) + sample.value
            else:
                told = scrape.values.get(sample.name, 0.0)
                scrape.values[sample.name] = told + sample.value
    return scrape


def total(scrapes: Mapping[str, Scrape], name: str) -> int:
    """Sum of a figure over the nodes."""
    return int(sum(scrape.values.get(name, 0.0) for scrape in scrapes.values()))


def quantile(share: float, before: dict[float, float], now: dict[float, float]) -> float | None:
    """The share's place among what was counted between two scrapes, in seconds, interpolated within
    its class as Prometheus does; None when nothing was, or when the counters began anew."""
    ends = sorted(now)
    counts = [now[end] - before.get(end, 0.0) for end in ends]
    if not counts or counts[-1] <= 0 or min(counts) < 0:
        return None
    rank, low, below = share * counts[-1], 0.0, 0.0
    for end, count in zip(ends, counts, strict=True):
        if count >= rank:
            if end == float("inf"):
                return low
            return low + (end - low) * (rank - below) / max(count - below, 1e-9)
        low, below = end, count
    return low


class Watch:
    """Samples until cancelled. `scrapes`, `memory`: by node; memory in MiB of its process.
    `processor_s`: seconds that each node and each kind of store used so far. `players_max`: the
    most that all nodes owned at one look."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self.began_s = time.monotonic()
        self.scrapes: dict[str, list[Scrape]] = {}
        self.memory: Series = {}
        self.processor_s: Series = {}
        self.players_max = 0

    async def run(self) -> None:
        """Look again and again."""
        self.began_s, turn = time.monotonic(), 0
        while True:
            await self.look()
            if turn % PROCESSES_EVERY == 0:
                await self._look_at_processes()
            turn += 1
            await asyncio.sleep(self.began_s + turn * EVERY_S - time.monotonic())

    async def look(self) -> dict[str, Scrape]:
        """One scrape of every node, by name. One that does not answer is not among them and has no
        point on the chart."""
        targets = json.loads(self._arena.home.metrics_targets.read_text(encoding="utf-8"))
        asked = [(one["labels"]["node"], where) for one in targets for where in one["targets"]]
        told = await asyncio.gather(*(self._scrape(address) for _, address in asked))
        names = [node for node, _ in asked]
        fresh = {node: one for node, one in zip(names, told, strict=True) if one is not None}
        for node, scrape in fresh.items():
            self.scrapes.setdefault(node, []).append(scrape)
        self.players_max = max(self.players_max, total(fresh, "mmo_players"))
        return fresh

    async def left(self) -> tuple[dict[str, int], list[str]]:
        """Connections, players, rooms, tickets and seats in raids that there are now, by node and
        figure, and the names of the nodes that did not tell all of it."""
        rows, fresh = (await self._arena.status())["nodes"], await self.look()
        held: dict[str, int] = {}
        silent: list[str] = []
        for row in rows:
            name, told = row["name"], dict[str, float]()
            if name in fresh:
                values = fresh[name].values
                told = {figure: values[figure] for figure in HELD if figure in values}
            known = len(told) == len(HELD)
            if row["role"] in TICKETS:
                tickets = await self._tickets(name)
                known = known and bool(tickets)
                told |= tickets
            if not known:
                silent.append(name)
            held |= {f"{name} {figure}": int(value) for figure, value in told.items() if value}
        return held, silent

    async def _tickets(self, node: str) -> dict[str, float]:
        """Sizes of what a node holds of raids; empty when it does not tell."""
        try:
            stats = await self._arena.stats(node)
        except (OSError, TimeoutError, MmoError):
            return {}
        return {name: value for name, value in stats.items() if name.startswith(GAUGES)}

    async def _scrape(self, address: str) -> Scrape | None:
        host, _, port = address.rpartition(":")
        try:
            async with asyncio.timeout(SCRAPE_S):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: load\r\nConnection: close\r\n\r\n")
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
                writer.close()
        except (OSError, TimeoutError):
            return None
        if b" 200 " not in head.partition(b"\r\n")[0]:
            return None
        return read(body.decode(), time.monotonic() - self.began_s)

    async def _look_at_processes(self) -> None:
        try:
            said = await self._arena.status()
        except (OSError, MmoError):
            return
        at_s = time.monotonic() - self.began_s
        for row in said["nodes"]:
            mib = resident_mib(int(row["pid"]))
            if mib:
                self.memory.setdefault(row["name"], []).append((at_s, mib))
        for name, pids in processes(said).items():
            used_s = sum(processor_s(pid) for pid in pids)
            self.processor_s.setdefault(name, []).append((at_s, used_s))

    def gauge(self, *names: str) -> Series:
        """A figure as it was, the sum of several."""
        return {
            node: [(row.at_s, sum(row.values.get(name, 0.0) for name in names)) for row in rows]
            for node, rows in sorted(self.scrapes.items())
        }

    def rate(self, name: str) -> Series:
        """How fast a counter rose; where it began anew there is no point."""
        series: Series = {}
        for node, rows in sorted(self.scrapes.items()):
            for before, now in pairwise(rows):
                rose = now.values.get(name, 0.0) - before.values.get(name, 0.0)
                if rose >= 0:
                    points = series.setdefault(node, [])
                    points.append((now.at_s, rose / max(now.at_s - before.at_s, 1e-9)))
        return series

    def processors(self) -> Series:
        """Processors in use between each two looks; none where a process was replaced."""
        return {
            name: [
                (now_s, (now - before) / max(now_s - before_s, 1e-9))
                for (before_s, before), (now_s, now) in pairwise(rows)
                if now >= before
            ]
            for name, rows in sorted(self.processor_s.items())
        }

    def percentile_ms(self, share: float, name: str) -> Series:
        """A percentile of a distribution between each two scrapes, in milliseconds."""
        series: Series = {}
        for node, rows in sorted(self.scrapes.items()):
            for before, now in pairwise(rows):
                found = quantile(share, before.buckets.get(name, {}), now.buckets.get(name, {}))
                if found is not None:
                    series.setdefault(node, []).append((now.at_s, found * 1000))
        return series


def processes(status: dict[str, Any]) -> dict[str, list[int]]:
    """Process ids by node, and of the stores that are ours."""
    found = {row["name"]: [int(row["pid"])] for row in status["nodes"]}
    stores = status["stores"]
    found["mysql"] = [int(stores["mysql"]["pid"])]
    found["redis"] = [int(server["pid"]) for server in stores["redis"].get("servers", ())]
    return {name: [pid for pid in pids if pid] for name, pids in found.items() if any(pids)}


def ended(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Names of the nodes and of the stores that are ours, once for each process of the status
    `before` that is no more in the status `now`."""
    left = processes(now)
    return [
        name
        for name, pids in sorted(processes(before).items())
        for pid in pids
        if pid not in left.get(name, ())
    ]


def restarted(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Names, once for each time that the supervisor started one again which had ended by itself,
    between two statuses. A replacement that was asked for is none."""
    first = _restarts(before)
    return [
        name
        for name, times in sorted(_restarts(now).items())
        for _ in range(times - first.get(name, 0))
    ]


def _restarts(status: dict[str, Any]) -> dict[str, int]:
    stores = status["stores"]
    rows = [*status["nodes"], *stores["redis"].get("servers", ())]
    found = {row["name"]: int(row["restarts"]) for row in rows}
    return found | {"mysql": int(stores["mysql"].get("restarts", 0))}


def processor_s(pid: int) -> float:
    """Processor time of a process so far; 0 when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])  # utime and stime, 14 and 15 of proc(5)
    return (user + system) / TICKS_PER_S


def resident_mib(pid: int) -> float:
    """Memory of a process; 0 when there is none."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    found: Any = next((line for line in status.splitlines() if line.startswith("VmRSS:")), None)
    return int(found.split()[1]) / 1024 if found else 0.0
