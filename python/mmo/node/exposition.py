"""The figures of a node as Prometheus reads them.

Owns the names, units and labels. Pure: a snapshot in, text out, so it is rendered apart from the
loop and tested without a node. Called by `scrape` and by the admin socket.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from mmo.node.metrics import Distribution
from mmo.wire.opcode import Code, Op

LABELS = ("node", "role")
UNITS = {"us": ("seconds", 1e-6), "ms": ("seconds", 1e-3)}
MEASURES = {
    "decide_us": "Time to decide a message, the mean of its batch",
    "commit_ms": "Time of one group commit in the store",
    "reply_ms": "Time from a durable decision to its answer",
    "group_members": "Players in one group commit",
    "batch_events": "Events taken from the core at once",
    "loop_lag_ms": "Time that a due timer waited for the event loop",
    "room_tick_late_ms": "How late the rooms' rules ran",
}
GAUGES = {
    "generation": "Generation of code and content that decides",
    "ready": "1: serves players and is not draining",
    "draining": "1: takes no newcomers and ends soon",
    "store_away": "1: the store did not answer last time",
    "supervisor_away": "1: the supervisor that restarts what ends is gone",
    "connections": "Client connections",
    "players": "Players that this node owns",
    "links": "Server links that are up",
    "lanes": "Lanes of players",
    "rooms": "Rooms that run",
    "waiting_line": "Clients that wait for a password check",
    "commits_waiting": "Durable outcomes that no group took yet",
    "commits_in_flight": "Groups and rows on their way to the store",
    "uptime_seconds": "Since the node was ready",
}
COUNTED = (
    *("rules_raised_total", "messages_undecodable_total", "operations_repeated_total"),
    *("store_outages_total", "store_corrupt_total", "sessions_taken_total", "line_full_total"),
    "payments_refused_total",
)
"""Counters that are told before anything was counted: an alarm needs a value to rise from."""
_CLOSED = re.compile(r"closed_(\w+)_total")
_REFUSED = re.compile(r"refused_(\w+)_total")


class Snapshot(msgspec.Struct):
    """What a node knew at one moment. `counts`, `core`, `store`: by the name that `stats` prints;
    `gauges`: by the names of `GAUGES`."""

    node: str
    role: str
    gauges: dict[str, float]
    counts: dict[str, int]
    messages: dict[int, int]
    measures: dict[str, Distribution]
    core: dict[str, float]
    store: dict[str, float]


def render(snapshot: Snapshot) -> bytes:
    """The text of a scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(snapshot))
    return generate_latest(registry)


class _Figures(Collector):
    """One snapshot as families of figures."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._values = (snapshot.node, snapshot.role)

    def collect(self) -> Iterator[Metric]:
        """Every family; names never depend on what happened so far, except those of rare
        counters."""
        snapshot = self._snapshot
        for name, text in GAUGES.items():
            yield self._gauge(f"mmo_{name}", text, snapshot.gauges.get(name, 0))
        yield self._by_label(
            "mmo_messages",
            "Messages of clients and other servers",
            "opcode",
            {_name_of(opcode): float(count) for opcode, count in snapshot.messages.items()},
        )
        counts = {**dict.fromkeys(COUNTED, 0), **snapshot.counts}
        refused = {code.name.lower(): 0.0 for code in (Code.RETRY_LATER, Code.BUSY, Code.INTERNAL)}
        refused |= _taken(counts, _REFUSED)
        yield self._by_label("mmo_refusals", "Requests refused", "code", refused)
        for name in MEASURES:
            yield self._histogram(name)
        core = dict(snapshot.core)
        closed = _taken(core, _CLOSED)
        yield self._by_label("mmo_core_closed", "Connections closed by the core", "reason", closed)
        for prefix, figures in (("node", counts), ("core", core), ("store", snapshot.store)):
            for name, value in sorted(figures.items()):
                yield self._plain(prefix, name, value)

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, text, labels=LABELS)
        family.add_metric(self._values, value)
        return family

    def _by_label(self, name: str, text: str, label: str, values: dict[str, float]) -> Metric:
        family = CounterMetricFamily(name, text, labels=(*LABELS, label))
        for key, value in sorted(values.items()):
            family.add_metric((*self._values, key), value)
        return family

    def _plain(self, prefix: str, name: str, value: float) -> Metric:
        if name.endswith("_total"):
            family = CounterMetricFamily(
                f"mmo_{prefix}_{name}", f"{name} of {prefix}", None, LABELS
            )
            family.add_metric(self._values, value)
            return family
        return self._gauge(f"mmo_{prefix}_{name}", f"{name} of {prefix}", value)

    def _histogram(self, measure: str) -> Metric:
        name, factor = _seconds(measure)
        found = self._snapshot.measures.get(measure)
        bounds, counts, total = found or Distribution((), [0], 0.0)
        buckets: list[Any] = []
        so_far = 0
        for bound, count in zip((*bounds, float("inf")), counts, strict=True):
            so_far += count
            buckets.append((_text(bound * factor), so_far))
        family = HistogramMetricFamily(f"mmo_{name}", MEASURES[measure], labels=LABELS)
        family.add_metric(self._values, buckets, total * factor)
        return family


def _seconds(measure: str) -> tuple[str, float]:
    """Name and factor of a measure in base units: `decide_us` is told as `decide_seconds`."""
    stem, _, unit = measure.rpartition("_")
    if unit not in UNITS:
        return measure, 1.0
    told, factor = UNITS[unit]
    return f"{stem}_{told}", factor


def _text(bound: float) -> str:
    return "+Inf" if bound == float("inf") else f"{bound:.6g}"


def _taken(figures: dict[str, Any], pattern: re.Pattern[str]) -> dict[str, float]:
    """Figures whose name matches, by what the name holds; they are told with a label instead."""
    found = {name: match[1] for name in figures if (match := pattern.fullmatch(name))}
    return {label: figures.pop(name) for name, label in found.items()}


def _name_of(opcode: int) -> str:
    return Op(opcode).name if opcode in Op._value2member_map_ else str(opcode)
