"""Injuries of one node or of the store in the middle of a reload, and which losses they explain.

Owns who is injured how, and the times. A process that is killed cuts whoever is connected to it, so
those connections are allowed to end, at that server and in that time; no other is. What is paused,
cannot write or loses its store cuts nobody, but for a pause longer than a lease: only servers that
hold no player are paused so long. Used by the proof of reloads.
"""

import asyncio
import contextlib
import os
import random
import resource
import signal
import time
from collections.abc import Iterable
from typing import Any

import msgspec
import mysql.connector

from mmo.client.meter import Cut
from mmo.client.steps import CENTER, GAME, RAID
from mmo.proof.arena import Arena
from mmo.proof.economy_books import connected
from mmo.proof.ground import limited, stopped
from mmo.proof.verdict import Trial

INJURIES = ("killed", "paused", "disk full", "store cut")
VICTIMS = {
    "killed": ("matching-1", "channel-2", "raid-1", "center-1", "login-1"),
    "paused": ("channel-1", "matching-1", "center-1", "raid-1", "channel-2"),
    "disk full": ("channel-2", "login-1", "center-1", "raid-1", "channel-1"),
    "store cut": ("",),
}
"""One after the other, so that twenty injuries meet every kind of server each way."""

LANES = {"center": CENTER, "channel": GAME, "raid": RAID}
PAUSE_S = (0.3, 1.2)
LONG_PAUSE_S = 7.0
"""Longer than a lease lives: the others switch without the server, which must notice."""
LONG_PAUSED = "matching-1"
FULL_S = 1.0
HEARD_S = 60.0
"""How long after a killed server is ready again a client may notice that it was cut: whoever fights
a raid looks at his center when he comes out of it."""


class Blow(msgspec.Struct):
    """A killed server, and from when to when clients may notice."""

    role: str
    port: int
    began_s: float
    ended_s: float = float("inf")

    def explains(self, cut: Cut) -> bool:
        """Whether the connection was one to this server."""
        here = cut.port == self.port if cut.port else cut.lane == LANES.get(self.role)
        return here and self.began_s <= cut.at_s <= self.ended_s


class Injuries:
    """Those of one run."""

    def __init__(self, arena: Arena, trial: Trial, chance: random.Random) -> None:
        self._arena = arena
        self._trial = trial
        self._chance = chance
        self._done = dict.fromkeys(INJURIES, 0)
        self.blows: list[Blow] = []

    async def hurt(self, injury: str) -> None:
        """One injury, somewhere in the middle of the reload that runs beside it."""
        await asyncio.sleep(0.25 * self._chance.random())
        names = VICTIMS[injury]
        name = names[self._done[injury] % len(names)]
        self._done[injury] += 1
        if injury == "store cut":
            count = await asyncio.to_thread(cut_connections, self._arena)
            self._trial.tried(f"all {count} connections to the database cut")
            return
        row = await self._arena.node(name)
        pid = int(row["pid"])
        if injury == "killed":
            self.blows.append(Blow(row["role"], int(row["client_port"]), time.monotonic()))
            os.kill(pid, signal.SIGKILL)
            self._trial.tried(f"{name} killed with {row['connections']} connections")
        elif injury == "paused":
            least_s, most_s = PAUSE_S
            seconds = least_s + (most_s - least_s) * self._chance.random()
            seconds = LONG_PAUSE_S if name == LONG_PAUSED else seconds
            async with stopped(pid):
                await asyncio.sleep(seconds)
            self._trial.tried(f"{name} stood still for {seconds:.1f} s")
        else:
            async with limited(pid, resource.RLIMIT_FSIZE, 0):
                await asyncio.sleep(FULL_S)
            self._trial.tried(f"{name} could write no file for {FULL_S:.0f} s")

    def healed(self) -> None:
        """The cluster is ready again: what is cut from now on no blow explains, but for a moment in
        which clients notice."""
        for blow in self.blows:
            blow.ended_s = min(blow.ended_s, time.monotonic() + HEARD_S)

    def unexplained(self, cuts: Iterable[Cut]) -> list[Cut]:
        """Connections that ended though their server was not killed."""
        return [cut for cut in cuts if not any(blow.explains(cut) for blow in self.blows)]


def cut_connections(arena: Arena) -> int:
    """End every connection to the database but this one; how many."""
    connection: Any = connected(arena)
    try:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID()"
            " AND user = 'mmo'"
        )
        ids = [int(row[0]) for row in cursor.fetchall()]
        for number in ids:
            with contextlib.suppress(mysql.connector.Error):  # it ended by itself
                cursor.execute(f"KILL {number}")
        return len(ids)
    finally:
        connection.close()
