"""Network benches: what the core, the seam and the whole node cost above a bare epoll echo.

Owns the workloads (64-byte frames, 256 connections, one and sixteen in flight) and their aims. The
figure of record is processor time of all threads of the server a message, as a ratio to the floor
of the same round. Called through `mmo.proof.bench`.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmo.proof.bench_process import Load, Server, floor, generate, measured, server
from mmo.proof.bench_result import Aim, BenchResult, Check, at_most, same
from mmo.proof.bench_rounds import ROUNDS, Contender, Figures, Report, rotate
from mmo.proof.bench_tokens import Tokens
from mmo.wire.opcode import Op

CONNECTIONS = 256
FRAME_BYTES = 64
DEPTHS = (1, 16)
LATENCY_LOAD_SHARE = 0.5  # of the measured throughput, for latency at an honest load
FLOOR = "floor"
OURS = "ours"
UVLOOP = "uvloop by hand"
HIT_BODY = b"\x92\x07\xd9\x32" + b"." * 50  # [7, text]: 54 bytes; the rule reads the 7
DAMAGE = 7  # of one blow of the measured rule


def loopback(seconds: float, home: Path, report: Report) -> BenchResult:
    """The core answers PING in Rust: framing, gate, session and rate limit, no Python."""
    options = {"opcode": int(Op.PING), "reply_opcode": int(Op.PONG)}
    return echo_bench("loopback", options, {1: 1.1, 16: 1.15}, seconds, report)


def seam(seconds: float, home: Path, report: Report) -> BenchResult:
    """Bytes in, bytes out through a Python `def`: the same and the crossing."""
    options = {"opcode": int(Op.HIT), "reply_opcode": int(Op.HIT_OK)}
    return echo_bench("seam", options, {1: 1.25, 16: 1.7}, seconds, report)


def handler(seconds: float, home: Path, report: Report) -> BenchResult:
    """The whole way: decode, lane, decide, encode, reply; a rule over volatile state, no store."""
    with tempfile.TemporaryDirectory(prefix="mmo-bench-") as directory:
        tokens = Tokens(Path(directory))
        hit = {"opcode": int(Op.HIT), "reply_opcode": int(Op.HIT_OK), "body": HIT_BODY.hex()}
        command = measured("node_server", *tokens.server_arguments(), "--players", str(CONNECTIONS))
        bare_python = measured("uvloop_server")
        with (
            server(floor()) as bare,
            server(command) as ours,
            server(bare_python) as by_hand,
        ):
            contenders: list[tuple[str, Server, dict[str, Any]]] = [
                (FLOOR, bare, {"bytes": FRAME_BYTES}),
                (OURS, ours, {**hit, "enter": tokens.write(CONNECTIONS)}),
                (UVLOOP, by_hand, hit),
            ]
            measurement = Measurement(contenders, seconds, report)
            books, books_by_hand = ours.end(), by_hand.end()
    sent = measurement.sent(OURS)
    checks = [
        same("every blow was answered", sent, measurement.received),
        same("every blow landed once", sent, books["blows"]),
        same("the damage is that of the blows", sent * DAMAGE, books["dealt"]),
        same("by hand: every blow landed once", measurement.sent(UVLOOP), books_by_hand["blows"]),
    ]
    return measurement.result("handler", {1: 1.7, 16: 8.0}, checks, {})


def echo_bench(
    name: str,
    options: dict[str, int],
    aims: dict[int, float],
    seconds: float,
    report: Report,
) -> BenchResult:
    """An echo of the core beside the floor, with identical bytes."""
    with tempfile.TemporaryDirectory(prefix="mmo-bench-") as directory:
        tokens = Tokens(Path(directory))
        entered = {**options, "enter": tokens.write(CONNECTIONS)}
        command = measured("core_server", *tokens.server_arguments())
        with server(floor()) as bare, server(command) as ours:
            contenders: list[tuple[str, Server, dict[str, Any]]] = [
                (FLOOR, bare, {"bytes": FRAME_BYTES}),
                (OURS, ours, {"bytes": FRAME_BYTES, **entered}),
            ]
            measurement = Measurement(contenders, seconds, report)
            last = ours.end()
    sent = measurement.sent(OURS)
    checks = [same("every message was answered with its own bytes", sent, measurement.received)]
    if name == "seam":
        # Every load enters its players first: one more message a connection and a window.
        entries = measurement.windows(OURS) * CONNECTIONS
        checks.append(same("Python saw every message once", sent + entries, last["messages"]))
    return measurement.result(name, aims, checks, {})


class Measurement:
    """Both depths in rotating rounds, then the latency of ours at half its throughput."""

    def __init__(
        self,
        contenders: Sequence[tuple[str, Server, dict[str, Any]]],
        seconds: float,
        report: Report,
    ) -> None:
        window_s = max(0.3, seconds / (len(DEPTHS) * ROUNDS * len(contenders)))
        self.by_depth: dict[int, list[Figures]] = {}
        self.void_rounds = 0
        self.received = 0
        for depth in DEPTHS:
            shared = {"connections": CONNECTIONS, "depth": depth}
            ready = [Contender(name, at, {**shared, **own}) for name, at, own in contenders]
            found, void = rotate(ready, window_s, report, f"depth {depth}")
            self.by_depth[depth] = found
            self.void_rounds += void
        _, at, own = next(entry for entry in contenders if entry[0] == OURS)
        self.rate = max(100.0, self.of(OURS, DEPTHS[0]).messages_per_s * LATENCY_LOAD_SHARE)
        report(f"latency at {self.rate:,.0f} messages a second")
        self.latency: Load = generate(
            at, connections=CONNECTIONS, rate=self.rate, for_=max(1.0, window_s), warm=0.3, **own
        )
        self.received = self.latency.received_total
        self.received += sum(self.of(OURS, depth).received_total for depth in DEPTHS)

    def of(self, name: str, depth: int) -> Figures:
        """One contender at one depth."""
        return next(found for found in self.by_depth[depth] if found.name == name)

    def sent(self, name: str) -> int:
        """Messages that were sent to one contender in all windows; ours with the latency window."""
        total = sum(self.of(name, depth).messages_total for depth in DEPTHS)
        return total + (self.latency.sent_total if name == OURS else 0)

    def windows(self, name: str) -> int:
        """Loads that one contender served."""
        windows = sum(self.of(name, depth).windows for depth in DEPTHS)
        return windows + (1 if name == OURS else 0)

    def result(
        self, name: str, aims: dict[int, float], checks: Sequence[Check], more: dict[str, Any]
    ) -> BenchResult:
        """The answer; `ratio` is the one of the greatest depth."""
        deepest = max(DEPTHS)
        ours, bare = self.of(OURS, deepest), self.of(FLOOR, deepest)
        reached: list[Aim] = [
            at_most(f"ratio at depth {depth}", aim, self.of(OURS, depth).ratio)
            for depth, aim in sorted(aims.items(), reverse=True)
        ]
        valid = all(len(found[0].loads) == ROUNDS for found in self.by_depth.values())
        depths = {
            f"depth_{depth}": {found.name: found.summary() for found in self.by_depth[depth]}
            for depth in DEPTHS
        }
        latency = {
            "messages_per_s": round(self.rate),
            **{name: getattr(self.latency, name) for name in ("p50_ms", "p99_ms", "p999_ms")},
            "longest_ms": self.latency.longest_ms,
            "generator": self.latency.generator(),
        }
        return BenchResult(
            name=name,
            ours=round(ours.us_per_message, 4),
            limit="bare epoll echo of the same bytes",
            limit_absolute=round(bare.us_per_message, 4),
            ratio=round(ours.ratio, 3),
            unit="server CPU seconds per million messages",
            p50_ms=self.latency.p50_ms,
            p99_ms=self.latency.p99_ms,
            times_of=f"a message at {self.rate:,.0f} a second",
            checks=(*checks, Check(f"{ROUNDS} valid rounds a depth", valid)),
            more={**depths, "latency": latency, "void_rounds": self.void_rounds, **more},
            aims=tuple(reached),
        )
