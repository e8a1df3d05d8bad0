"""The proof under a flood: malformed packets are all rejected, honest players hardly notice.

Owns the flood's length and pace, and what must hold: every packet judged by a server and rejected,
no process ended, no honest error, and each thing that honest players wait for, on channel servers
and on the raid servers that are flooded, within twice its quiet p99 and as often. Quiet and flood
take turns, so that whatever else the machine does falls on both alike. A packet counts when a
server's own counters have it; the flood goes on until they have all. Called by `proofs`.
"""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mmo.client.fleet import Fleet
from mmo.client.protocol import hello
from mmo.errors import OperatorError
from mmo.proof.arena import LOOK_EVERY_S, Arena
from mmo.proof.bench_process import binary
from mmo.proof.flood_counts import Counted, Sent, agree, judge, tell
from mmo.proof.flood_felt import (
    HUNT,
    RAID_ANSWER,
    RAID_EFFECT,
    RAID_STREAM,
    Feeling,
    Limits,
    Spans,
    feelings,
    judge_feelings,
)
from mmo.proof.flood_guests import RAIDERS, Departure, Guests, stats_of
from mmo.proof.flood_honest import HonestHunters, HonestRaiders
from mmo.proof.load import books_balance
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
TURNS_MAX = 32
EXTRA_TURNS = 4
QUIET_S, SHORT_QUIET_S = 8.0, 2.5
HUNTERS, SHORT_HUNTERS = 30, 8
PAIRS, SHORT_PAIRS = 3, 2
PLAYERS, SHORT_PLAYERS = 8, 2
RAIDERS_END_S = 60.0
SETTLED_S = 30.0
"""Longest wait until the servers counted what was on its way: as long as the generator waits for
one connection. A server that stands for some seconds on a busy machine has lost nothing."""

LIMITS = Limits(least_ms=25.0, samples_min=500)
"""Half a step of a battle, the shortest time in which anything that a player sees changes: an
answer that comes within it is as good as one that comes at once, however fast the quiet ones are.
Fewer than five hundred samples have no five slowest that a p99 could stand on."""

SHORT_LIMITS = Limits(least_ms=1_000.0, samples_min=10)
"""The short form shares its processors with the tests beside it, which alone doubles a p99 of some
seconds: it shows that honest players go on, the long one how little they notice."""

PLAYED = ("login", "center", "channel", "raid")
"""Roles that clients of the game dial."""


class Course:
    """The turns: what was sent, what the servers counted, what honest players felt meanwhile."""

    def __init__(
        self, arena: Arena, hunters: HonestHunters, raiders: HonestRaiders, guests: Guests
    ) -> None:
        self.sent, self.counted = Sent(), Counted()
        self.departures: list[Departure] = []
        self._quiet, self._flooded = Spans(), Spans()
        self._arena, self._guests = arena, guests
        self._hunters, self._raiders = hunters, raiders

    @property
    def turns(self) -> int:
        """How many there were."""
        return len(self.departures)

    def feelings(self) -> list[Feeling]:
        """What honest players felt in all turns, sort by sort."""
        felt = (self._hunters.felt, self._raiders.felt)
        sorts = (HUNT, RAID_ANSWER, RAID_EFFECT, RAID_STREAM)
        return feelings(felt, sorts, self._quiet, self._flooded)

    def is_bearable(self, limits: Limits) -> bool:
        """Whether all of it is within the limits."""
        return not any(one.faults(limits) for one in self.feelings())

    async def turn(self, packets: int, quiet_s: float, flood_s: float) -> None:
        """Quiet, then a flood, no longer than what is still missing takes."""
        raiders = self._raiders
        await raiders.all_fight()
        begun_s = time.monotonic()
        await asyncio.sleep(quiet_s)
        self._quiet.add(begun_s, time.monotonic())
        await raiders.hold_proofs()
        async with raiders.kept_out():
            await self._guests.sit()
        players, identities = await self._guests.come()
        await raiders.all_fight()
        sent, counted = await self._flood(self._seconds(packets, flood_s), players, identities)
        self.sent.add(sent)
        self.counted.add(counted)
        self.departures.append(await self._guests.go())
        raiders.let_prove()

    def _seconds(self, packets: int, flood_s: float) -> float:
        per_s = self.counted.total / self.sent.seconds if self.turns else PACKETS_PER_S
        missing_s = (packets - self.counted.total) / max(per_s, 1.0)
        return max(TURN_S_MIN, min(missing_s, flood_s))

    async def _flood(
        self, seconds: float, players: Sequence[str], identities: Sequence[str]
    ) -> tuple[Sent, Counted]:
        """Every other time no honest player proves an address meanwhile, so nothing at all may be
        believed; the other times no more than they sent."""
        raiders = self._raiders
        before, proofs = await _counted(self._arena), raiders.proofs
        if self.turns % 2 == 0:
            raiders.let_prove()
        begun_s = time.monotonic()
        sent = await _send(self._arena, seconds, players, identities)
        self._flooded.add(begun_s, time.monotonic())
        await raiders.hold_proofs()
        sent.proofs = raiders.proofs - proofs
        counted = await _settled(self._arena, before, sent)
        counted.weigh(sent)
        return sent, counted


async def flood(arena: Arena, trial: Trial, short: bool) -> None:
    """Quiet and flood in turns, at every client port, with the same honest players all the
    while."""
    packets = int(os.environ.get("MMO_PACKETS", SHORT_PACKETS if short else PACKETS))
    limits = SHORT_LIMITS if short else LIMITS
    hunters = HonestHunters(arena, SHORT_HUNTERS if short else HUNTERS, seed=81)
    raiders = HonestRaiders(arena, SHORT_PAIRS if short else PAIRS, seed=83)
    guests = Guests(arena, SHORT_PLAYERS if short else PLAYERS)
    course = Course(arena, hunters, raiders, guests)
    try:
        await asyncio.gather(hunters.begin(), raiders.begin(), guests.register())
        before = await _pids(arena)
        await _take_turns(course, packets, limits, short)
        after = await _pids(arena)
        fleets = await asyncio.gather(raiders.end(RAIDERS_END_S), _last_hunt(hunters))
    finally:
        guests.abandon()
        await raiders.abandon()
        await hunters.abandon()
    judge(trial, course.sent, course.counted, packets)
    judge_departures(trial, course.departures)
    trial.expect(before == after, f"processes ended: {before} before, {after} after")
    for meter in (*(fleet.meter for fleet in fleets), guests.meter):
        for text in meter.findings:
            trial.found(f"honest {text}")
        trial.expect(not meter.lost, f"honest players lost {meter.lost} connections")
    judge_feelings(trial, course.feelings(), limits)
    tell(trial, course.sent, course.counted)
    await books_balance(arena, trial, len(hunters.heroes) + len(raiders.heroes))


async def _take_turns(course: Course, packets: int, limits: Limits, short: bool) -> None:
    quiet_s, flood_s = (SHORT_QUIET_S, SHORT_TURN_S) if short else (QUIET_S, TURN_S)
    while course.counted.total < packets and course.turns < TURNS_MAX:
        await course.turn(packets, quiet_s, flood_s)
    # One stall of the machine may decide what is slowest in a hundred: more is measured then.
    for _ in range(EXTRA_TURNS):
        if course.is_bearable(limits):
            break
        await course.turn(course.counted.total + packets // 2, quiet_s, flood_s)


async def _last_hunt(hunters: HonestHunters) -> Fleet:
    """They hunt on after the last flood, then compare and leave."""
    await hunters.progress(len(hunters.heroes))
    return await hunters.end()


def judge_departures(trial: Trial, departures: Sequence[Departure]) -> None:
    """After each flood a genuine proof is believed of each raider whose raid has not ended: one
    that nobody begins waits 30 s, and servers that took long to count may outlast it."""
    late = [turn for turn, one in enumerate(departures, 1) if one.over]
    believed = sum(one.believed for one in departures)
    trial.tried(
        f"raiders' own proofs were believed before each of {len(departures)} floods, and "
        f"{believed} of {len(departures) * RAIDERS} right after them"
        + (f"; the raids of floods {late} had ended by then" if late else "")
    )
    trial.expect(believed > 0, "no genuine proof was believed after a flood")
    for turn, one in enumerate(departures, 1):
        missing = RAIDERS - one.over - one.believed
        trial.expect(missing <= 0, f"{missing} genuine proofs were not believed after flood {turn}")


async def _pids(arena: Arena) -> dict[str, int]:
    return {row["name"]: row["pid"] for row in (await arena.status())["nodes"]}


async def _counted(arena: Arena) -> Counted:
    """What the servers that clients dial counted until now."""
    return Counted.read(await stats_of(arena, PLAYED), _dropped(_datagram_ports(arena)))


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
