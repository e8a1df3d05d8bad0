"""Who lends a flood what only players have: tokens to show, seats in a raid, proofs of an address.

Owns the players whose connections say malformed things after a genuine token, and the raiders whose
datagrams are repeated and altered. Sends no packet that is malformed: the generator does, told by
the lines that are written here. Called by `flood`, between its turns.
"""

import asyncio
import socket
import time
from collections.abc import Collection
from typing import Any

import msgspec

from mmo.client.aio import Shell, walk_alone
from mmo.client.datagrams import Datagrams
from mmo.client.fleet import muster, source_of
from mmo.client.hero import Hero
from mmo.client.meter import Meter
from mmo.client.raider import LISTEN_MS, find_raid
from mmo.client.session import arrive, ask, move_somewhere, overhear, register, show
from mmo.client.steps import RAID, Lost, Receive, Walk
from mmo.proof.arena import LOOK_EVERY_S, Arena
from mmo.wire.messages.raid import DatagramKey, RaidLeave
from mmo.wire.opcode import Code, Op

SOURCES_FIRST = 90_000
RAIDERS = 2
SEAT_S = 60.0
HEARD_MS = 1.0
BELIEVED_S = 5.0
"""Longest wait until a raid server counts a genuine proof."""

AT_CENTER = {Op.MOVE: 30, Op.SERVER_LIST: 15}
AT_CHANNEL = {Op.HIT: 30, Op.CHANNEL_ENTER: 30, Op.CHANNEL_LIST: 15}
"""Malformed messages of one visit, fewer than the rates of their classes grant at once."""


class Seat(msgspec.Struct):
    """A raider at his raid server, and the proofs of his address: the first one is believed when he
    comes, the second one only when he goes."""

    shell: Shell
    hero: Hero
    raid: int
    server: tuple[str, int]
    udp: socket.socket
    proofs: tuple[bytes, bytes]

    def prove(self, number: int) -> None:
        """Send one of the two from his own address."""
        self.udp.sendto(self.proofs[number], self.server)

    async def is_over(self) -> bool:
        """Whether his raid has ended, as one does that nobody began: his identity went with it."""
        try:
            await self.shell.walk(_hear_all(self.hero))
        except Lost:
            return True
        return self.raid in self.hero.raids.scores or self.raid in self.hero.raids.aborted

    def leave(self) -> None:
        """Without a word."""
        self.udp.close()
        self.shell.cut_all()


class Departure(msgspec.Struct, frozen=True):
    """How the raiders went: how many of their proofs were believed, and of how many the raid had
    ended before."""

    believed: int
    over: int


class Guests:
    """`players` come and go with each flood, and two raiders."""

    def __init__(self, arena: Arena, players: int) -> None:
        self.meter = Meter()
        self._arena = arena
        everybody = muster(arena.addresses("login"), players + RAIDERS, 82, self.meter)
        self._sources = [source_of(SOURCES_FIRST + at) for at in range(len(everybody))]
        self._players, self._raiders = everybody[:players], everybody[players:]
        self._seats: list[Seat] = []

    async def register(self) -> None:
        """Make their accounts."""
        everybody = (*self._players, *self._raiders)
        for me, source in zip(everybody, self._sources, strict=True):
            await walk_alone(register(me), source)

    async def sit(self) -> None:
        """The raiders log in and find a raid, with each other when nobody else is in the queue."""
        own = self._sources[len(self._players) :]
        async with asyncio.timeout(SEAT_S):
            seats = [self._sit(me, source) for me, source in zip(self._raiders, own, strict=True)]
            await asyncio.gather(*seats)

    async def come(self) -> tuple[list[str], list[str]]:
        """Prove the raiders' addresses, while nobody else proves one, and let the players log in.
        Returns the generator's lines of players and of identities. Raises `TimeoutError` when a
        genuine proof is not believed."""
        if await self._believed(0) < RAIDERS:
            raise TimeoutError("a raid server did not believe a genuine proof")
        everybody = zip(self._players, self._sources, strict=False)
        lines = [self._line(me, source, at % 2 == 1) for at, (me, source) in enumerate(everybody)]
        return list(await asyncio.gather(*lines)), [
            f"{seat.server[0]}:{seat.server[1]} {seat.shell.source} {seat.proofs[0].hex()} "
            f"{seat.proofs[1].hex()}"
            for seat in self._seats
        ]

    async def go(self) -> Departure:
        """Prove their addresses once more, while nobody else proves one, and leave."""
        over = sum([await seat.is_over() for seat in self._seats])
        believed = await self._believed(1)
        for seat in self._seats:
            await seat.shell.walk(_give_up(seat.hero))
        self.abandon()
        return Departure(believed, over)

    def abandon(self) -> None:
        """Leave without a word."""
        for seat in self._seats:
            seat.leave()
        self._seats.clear()

    async def _line(self, me: Hero, source: str, at_channel: bool) -> str:
        """He is there, and his connection ended a moment ago: his session token is good there."""
        await walk_alone(_settle(me, at_channel), source)
        address = me.game if at_channel else me.center
        assert address is not None, f"{me.name} is nowhere"
        opcodes = AT_CHANNEL if at_channel else AT_CENTER
        told = ",".join(f"{int(opcode)}:{count}" for opcode, count in opcodes.items())
        return f"{address[0]}:{address[1]} {source} {me.session_token} {told}"

    async def _sit(self, me: Hero, source: str) -> None:
        shell = Shell(source)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind((source, 0))
            raid, host, key = await shell.walk(_sit_down(me))
        except BaseException:
            udp.close()
            shell.cut_all()
            raise
        datagrams = Datagrams(key)
        proofs = (datagrams.proof(), datagrams.proof())
        self._seats.append(Seat(shell, me, raid, (host, key.port), udp, proofs))

    async def _believed(self, number: int) -> int:
        """Send that proof of every raider; how many more were believed, when all were or after a
        while."""
        before = await self._proved()
        for seat in self._seats:
            seat.prove(number)
        until = time.monotonic() + BELIEVED_S
        while True:
            more = await self._proved() - before
            if more >= len(self._seats) or time.monotonic() > until:
                return more
            await asyncio.sleep(LOOK_EVERY_S)

    async def _proved(self) -> int:
        stats = await stats_of(self._arena, ("raid",))
        return sum(int(one["core_datagrams_proved_total"]) for one in stats)


async def stats_of(arena: Arena, roles: Collection[str]) -> list[dict[str, Any]]:
    """All counters of every node of these roles. Raises `NotRunning`."""
    nodes = [node for node in arena.file().nodes if node.role in roles]
    return [await arena.stats(node.name) for node in nodes]


def _settle(me: Hero, at_channel: bool) -> Walk[None]:
    yield from arrive(me)
    if at_channel:
        yield from move_somewhere(me)


def _sit_down(me: Hero) -> Walk[tuple[int, str, DatagramKey]]:
    """A seat of a raid, where it is, and the key that was given with it."""
    yield from arrive(me)
    me.raids.key = None
    seat = yield from find_raid(me, lambda: True)
    assert seat is not None, "no raid was found"
    entered = yield from show(me, RAID, (seat.host, seat.port), seat.token)
    me.raids.enter(entered)
    while me.raids.key is None:
        event = yield Receive(RAID, LISTEN_MS)
        if event is not None:
            overhear(me, event)
    return seat.raid, seat.host, me.raids.key


def _hear_all(me: Hero) -> Walk[None]:
    """What came meanwhile."""
    while (event := (yield Receive(RAID, HEARD_MS))) is not None:
        overhear(me, event)


def _give_up(me: Hero) -> Walk[None]:
    """Leave the raid for good, if it is not over."""
    try:
        yield from ask(me, RAID, RaidLeave(), expects=(int(Code.NOT_IN_RAID),))
    except Lost:
        return  # it was over, and the server ended the connection
