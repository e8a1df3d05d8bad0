"""The proof under a flood: malformed packets are all rejected, honest players hardly notice.

Owns the honest players, the flood's length and pace, and what must hold: every packet judged by a
server and rejected, no process ended, no honest error, latency below twice that of quiet minutes.
Quiet and flood take turns, so that whatever else the machine does falls on both alike. A packet
counts when a server's own counters have it; the flood goes on until they have all. Called by
`proofs`.
"""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TypeVar

from mmo.client.protocol import hello
from mmo.errors import OperatorError
from mmo.proof.arena import LOOK_EVERY_S, Arena
from mmo.proof.bench_process import binary
from mmo.proof.flood_counts import Counted, Sent, agree, judge, tell
from mmo.proof.flood_guests import RAIDERS, Guests
from mmo.proof.load import Hunters, books_balance
from mmo.proof.verdict import Trial
from mmo.wire import codec

PACKETS = 10_000_000
SHORT_PACKETS = 100_000
CONNECTIONS_PER_S = 800
DATAGRAMS_PER_S = 30_000
"""As many as leave the honest players their share of two cores: the generator needs one too."""

PACKETS_PER_S = 32_000
"""What is judged in a second of that, by and large; from the second turn on it is known."""

TURN_S, SHORT_TURN_S = 20.0, 2.0
"""Longest flood of a turn; a raid that nobody begins, from which proofs are taken, waits 30 s."""

TURN_S_MIN = 0.5
TURNS_MAX, SHORT_TURNS_MAX = 32, 6
QUIET_S, SHORT_QUIET_S = 10.0, 4.0
PLAYERS, SHORT_PLAYERS = 8, 2
SETTLED_S = 5.0
"""Longest wait until the servers counted what was on its way."""

TIMES_MAX = 2.0
SHORT_LEAST_MS = 250.0
"""Below this a doubled p99 is the noise of the few seconds that the short form lasts."""

PLAYED = ("login", "center", "channel", "raid")
"""Roles that clients of the game dial."""

T = TypeVar("T")


class Course:
    """The turns: what was sent, what the servers counted, what honest players felt meanwhile."""

    def __init__(self, arena: Arena, hunters: Hunters, guests: Guests) -> None:
        self.sent, self.counted = Sent(), Counted()
        self.quiet: list[float] = []
        self.flooded: list[float] = []
        self.believed_after = 0
        self.turns = 0
        self._arena, self._hunters, self._guests = arena, hunters, guests

    def is_bearable(self, least_ms: float) -> bool:
        """Whether the honest players' p99 under the flood is below twice that of the quiet turns,
        or below `least_ms`."""
        quiet_ms = _percentile(self.quiet, 0.99)
        return _percentile(self.flooded, 0.99) < max(TIMES_MAX * quiet_ms, least_ms)

    async def turn(self, packets: int, quiet_s: float, flood_s: float) -> None:
        """Quiet, then a flood, no longer than what is still missing takes."""
        hunters = self._hunters
        await _timed(hunters, self.quiet, asyncio.sleep(quiet_s))
        per_s = self.counted.total / self.sent.seconds if self.turns else PACKETS_PER_S
        missing_s = (packets - self.counted.total) / max(per_s, 1.0)
        seconds = max(TURN_S_MIN, min(missing_s, flood_s))
        players, identities = await self._guests.come()
        before = await _counted(self._arena)
        flood = _send(self._arena, seconds, players, identities)
        sent = await _timed(hunters, self.flooded, flood)
        counted = await _settled(self._arena, before, sent)
        self.sent.add(sent)
        self.counted.add(counted)
        self.believed_after += await self._guests.go()
        self.turns += 1


async def flood(arena: Arena, trial: Trial, short: bool) -> None:
    """Quiet and flood in turns, at every client port, with the same hunters all the while."""
    packets = int(os.environ.get("MMO_PACKETS", SHORT_PACKETS if short else PACKETS))
    quiet_s, flood_s = (SHORT_QUIET_S, SHORT_TURN_S) if short else (QUIET_S, TURN_S)
    least_ms = SHORT_LEAST_MS if short else 0.0
    hunters = Hunters(arena, 8 if short else 30, seed=81)
    guests = Guests(arena, SHORT_PLAYERS if short else PLAYERS)
    course = Course(arena, hunters, guests)
    try:
        await hunters.begin()
        await guests.register()
        before = await _pids(arena)
        while course.counted.total < packets and course.turns < TURNS_MAX:
            await course.turn(packets, quiet_s, flood_s)
        # A few seconds hold so few answers that one stall of the machine decides: more are taken.
        while short and not course.is_bearable(least_ms) and course.turns < SHORT_TURNS_MAX:
            await course.turn(course.counted.total + packets // 2, quiet_s, flood_s)
        after = await _pids(arena)
        await hunters.progress(len(hunters.heroes))
        fleet = await hunters.end()
    finally:
        guests.abandon()
        await hunters.abandon()
    judge(trial, course.sent, course.counted, packets)
    trial.tried(
        f"raiders' own proofs were believed before each of {course.turns} floods, and "
        f"{course.believed_after} of {course.turns * RAIDERS} right after them"
    )
    trial.expect(course.believed_after > 0, "no genuine proof was believed after a flood")
    trial.expect(before == after, f"processes ended: {before} before, {after} after")
    for text in (*fleet.meter.findings, *guests.meter.findings):
        trial.found(f"honest {text}")
    trial.expect(not fleet.meter.lost, f"honest players lost {fleet.meter.lost} connections")
    _latency(trial, course, least_ms)
    tell(trial, course.sent, course.counted)
    await books_balance(arena, trial, len(hunters.heroes))


def _latency(trial: Trial, course: Course, least_ms: float) -> None:
    """The honest players' p99 of all floods against that of all quiet turns."""
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        before, during = _percentile(course.quiet, share), _percentile(course.flooded, share)
        trial.figure(f"quiet_{name}_ms", round(before, 2))
        trial.figure(f"flooded_{name}_ms", round(during, 2))
    trial.figure("times", round(during / before, 2) if before else 0.0)
    trial.tried(
        f"honest p99 {before:.1f} ms in quiet turns ({len(course.quiet)} actions), {during:.1f} ms "
        f"under the flood ({len(course.flooded)})"
    )
    trial.expect(
        course.is_bearable(least_ms),
        f"honest p99 {during:.1f} ms under the flood, {before:.1f} ms without it",
    )


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def _timed(hunters: Hunters, into: list[float], work: Awaitable[T]) -> T:
    """Do something; how long the honest players' answers took meanwhile goes to `into`."""
    mark = hunters.meter.mark()
    done = await work
    for kind, taken in hunters.meter.by_kind.items():
        into.extend(taken[mark.get(kind, 0) :])
    return done


async def _pids(arena: Arena) -> dict[str, int]:
    return {row["name"]: row["pid"] for row in (await arena.status())["nodes"]}


async def _counted(arena: Arena) -> Counted:
    """What the servers that clients dial counted until now."""
    nodes = [node for node in arena.file().nodes if node.role in PLAYED]
    stats = [await arena.stats(node.name) for node in nodes]
    return Counted.read(stats, _dropped(_datagram_ports(arena)))


def _datagram_ports(arena: Arena) -> list[int]:
    """Every node has such a port in its block; only raid servers listen there."""
    return [node.datagram_port for node in arena.file().nodes if node.role == "raid"]


def _dropped(ports: Sequence[int]) -> int:
    """Datagrams that the system dropped because the socket of such a port was full (proc(5))."""
    lines = Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]
    sockets = [line.split() for line in lines]
    return sum(int(one[-1]) for one in sockets if int(one[1].partition(":")[2], 16) in ports)


async def _settled(arena: Arena, before: Counted, sent: Sent) -> Counted:
    """What was counted since `before`, once nothing is on its way any more."""
    until = time.monotonic() + SETTLED_S
    last = (await _counted(arena)).since(before)
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        now = (await _counted(arena)).since(before)
        if (agree(sent, now) and now == last) or time.monotonic() > until:
            return now
        last = now


async def _send(
    arena: Arena, seconds: float, players: Sequence[str], identities: Sequence[str]
) -> Sent:
    """One flood, from a program that is not what limits it. Raises `OperatorError` E0790."""
    nodes = [node for node in arena.file().nodes if node.role in PLAYED]
    logins = [node.client_port for node in nodes if node.role == "login"]
    others = [node.client_port for node in nodes if node.role != "login"]
    with tempfile.TemporaryDirectory(prefix="mmo-flood-") as name:
        options = {
            "addresses": _addresses(others),
            "logins": _addresses(logins),
            "hello": codec.encode(hello()).hex(),
            "datagrams": _addresses(_datagram_ports(arena)),
            "players": _file(Path(name) / "players", players),
            "identities": _file(Path(name) / "identities", identities),
            "for": f"{seconds:.3f}",
            "connections-per-s": str(CONNECTIONS_PER_S),
            "datagrams-per-s": str(DATAGRAMS_PER_S),
            "seed": str(time.time_ns() % 1_000_003),
        }
        process = await asyncio.create_subprocess_exec(
            str(binary()), "flood",
            *(word for key, value in options.items() for word in (f"--{key}", value)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            out, err = await process.communicate()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise OperatorError("E0790", f"the flood ended: {err.decode(errors='replace')[-400:]}")
    return Sent.read(json.loads(out))


def _addresses(ports: Sequence[int]) -> str:
    return ",".join(f"127.0.0.1:{port}" for port in ports)


def _file(path: Path, lines: Sequence[str]) -> str:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
    return str(path)
