"""Ten thousand players who do nothing: memory and processor time of idle connections.

Owns the reading of a process's memory around the arrival of the crowd, for the core alone and for a
whole node with its sources, lanes and players. Called through `mmo.proof.bench`.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from mmo.errors import OperatorError
from mmo.proof.bench_process import (
    Server,
    binary,
    generate,
    measured,
    pinned,
    process_cpu_ns,
    processors,
    server,
)
from mmo.proof.bench_result import BenchResult, Check, at_least, at_most, same
from mmo.proof.bench_rounds import Report
from mmo.proof.bench_tokens import Tokens
from mmo.wire.opcode import Op

CONNECTIONS = 10_000
CONNECTIONS_WARM = 256  # make the pools and the interpreter's arenas before the first look
HOLD_S_MIN = 6.0  # who says nothing rests by then: `resident_rest_ms` and as much again
HOLD_SHARE = 0.9  # of the hold: then both figures are read, while all are still connected
BYTES_AIM = 1_536
IDLE_AIM = 0.02


class Crowd(msgspec.Struct, frozen=True):
    """What the idle crowd did to one server."""

    bytes_each: float  # growth of the resident set
    idle_busy: float  # share of a core
    connections_per_s: float  # dialled, proved and welcomed, one after another
    alive: int


def connections(seconds: float, home: Path, report: Report) -> BenchResult:
    """10,000 authenticated idle connections: bytes of the process each, and idle processor time."""
    hold_s = max(HOLD_S_MIN, seconds / 2)
    count = ["--connections-max", str(CONNECTIONS + CONNECTIONS_WARM)]
    players = ["--players", str(CONNECTIONS + CONNECTIONS_WARM)]
    with tempfile.TemporaryDirectory(prefix="mmo-bench-") as directory:
        tokens = Tokens(Path(directory))
        report(f"signing {CONNECTIONS:,} tokens")
        crowd = tokens.write(CONNECTIONS, CONNECTIONS_WARM + 1)
        node = gather("node_server", [*count, *players], tokens, crowd, hold_s, report)
        core = gather("core_server", count, tokens, crowd, hold_s, report)
    return BenchResult(
        name="connections",
        ours=round(node.bytes_each, 1),
        limit="the aim",
        limit_absolute=BYTES_AIM,
        ratio=round(node.bytes_each / BYTES_AIM, 3),
        unit="bytes of the node's process an idle player",
        p50_ms=None,
        p99_ms=None,
        checks=(
            same("node: all are still connected", CONNECTIONS, node.alive),
            same("core: all are still connected", CONNECTIONS, core.alive),
            Check("the crowd was seen", node.bytes_each > 0 and core.bytes_each > 0),
        ),
        more={"node": msgspec.to_builtins(node), "core": msgspec.to_builtins(core)},
        aims=(
            at_most("bytes each, node", BYTES_AIM, node.bytes_each),
            at_most("bytes each, core alone", BYTES_AIM, core.bytes_each),
            at_least("idle core share left, node", 1 - IDLE_AIM, 1 - node.idle_busy),
        ),
    )


def gather(
    name: str,
    arguments: Sequence[str],
    tokens: Tokens,
    crowd: Path,
    hold_s: float,
    report: Report,
) -> Crowd:
    """Let the crowd into one measured server and look at it while it idles."""
    command = measured(name, *tokens.server_arguments(), *arguments)
    with server(command) as target:
        report(f"{name}: warming")
        generate(
            target,
            connections=CONNECTIONS_WARM,
            depth=1,
            bytes=64,
            messages=CONNECTIONS_WARM * 20,
            opcode=int(Op.PING),
            reply_opcode=int(Op.PONG),
            enter=tokens.write(CONNECTIONS_WARM),
        )
        before = resident_bytes(target)
        report(f"{name}: {CONNECTIONS:,} players arrive and idle for {hold_s:.0f} s")
        command = [str(binary()), "connect", "--address", target.address]
        command += ["--connections", str(CONNECTIONS), "--hold", str(hold_s)]
        command += ["--enter", str(crowd)]
        with subprocess.Popen(
            pinned(processors()[1], command), stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            arrived = process.stdout.readline()
            if not arrived:
                raise OperatorError("E0903", "the crowd did not arrive")
            cpu_before = process_cpu_ns(target.pid)
            time.sleep(HOLD_SHARE * hold_s)
            after = resident_bytes(target)
            cpu_after = process_cpu_ns(target.pid)
            left = process.stdout.readline()  # printed when the hold is over
        return Crowd(
            bytes_each=(after - before) / CONNECTIONS,
            idle_busy=round((cpu_after - cpu_before) / 1e9 / (HOLD_SHARE * hold_s), 5),
            connections_per_s=round(json.loads(arrived)["connections_per_s"], 1),
            alive=json.loads(left)["alive"],
        )


def resident_bytes(target: Server) -> int:
    """The resident set of a process."""
    for line in Path(f"/proc/{target.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1_024
    raise OperatorError("E0903", "the measured server is gone")
