"""Many bots at once on one event loop: names, seeds, source addresses, and their sum.

Owns who the bots are and when they begin; what they do is `journeys`. Called by `bot`, proofs and
cluster tests.
"""

import asyncio
import random
import secrets
import time
from typing import TypeVar

import msgspec

from mmo.client.aio import Shell
from mmo.client.hero import Address, Hero, Policy
from mmo.client.journeys import JOURNEYS, Journey, walk_guarded
from mmo.client.meter import Meter, Summary

H = TypeVar("H", bound=Hero)

PASSWORD = "a-bots-long-password"
LOOK_EVERY_S = 0.05
NAME_PREFIXES = ("bot", "용사", "hé'ro", "ひと")
"""Names in several scripts and with a quote, so that every run walks them through all stores."""


class Fleet(msgspec.Struct):
    """A finished run: its figures, the bots with their records, and floors that were not
    reached."""

    summary: Summary
    meter: Meter
    heroes: list[Hero]
    below_floor: list[str]

    @property
    def passed(self) -> bool:
        """No error and every floor reached."""
        return self.summary.errors == 0 and not self.below_floor


def source_of(index: int) -> str:
    """A loopback address of the bot's own, so that limits per address see many clients."""
    return f"127.{1 + index // 62500 % 250}.{index // 250 % 250}.{2 + index % 250}"


def muster(
    logins: list[Address], count: int, seed: int, meter: Meter, policy: Policy | None = None
) -> list[Hero]:
    """`count` bots with names that no run before used; all else follows from `seed`."""
    return muster_of(Hero, logins, count, seed, meter, policy)


def muster_of(
    kind: type[H],
    logins: list[Address],
    count: int,
    seed: int,
    meter: Meter,
    policy: Policy | None = None,
) -> list[H]:
    """The same with heroes of another kind."""
    salt = "".join(secrets.choice("abcdefghijkmnpqrstuvwxyz23456789") for _ in range(6))
    return [
        kind(
            f"{NAME_PREFIXES[index % len(NAME_PREFIXES)]}{salt}{index}",
            PASSWORD,
            logins,
            meter,
            random.Random(f"{seed}/{index}"),
            time.monotonic,
            policy,
        )
        for index in range(count)
    ]


async def sail(
    heroes: list[Hero],
    journeys: list[Journey],
    seconds: float,
    *,
    name: str = "",
    spread_s: float = 0,
    arriving_max: int = 0,
) -> Fleet:
    """All heroes walk, each its journey in turn of `journeys`; they begin within `spread_s`.
    `arriving_max`: no more are on their way in at once, however long a login takes; 0: no limit."""
    meter = heroes[0].meter
    below: list[str] = []
    doors = asyncio.Semaphore(arriving_max or len(heroes))

    async def one(index: int, me: Hero) -> None:
        journey = journeys[index % len(journeys)]
        shell = Shell(source_of(index))
        await asyncio.sleep(spread_s * index / len(heroes))
        try:
            async with doors:
                walking = group.create_task(shell.walk(walk_guarded(me, journey, seconds)))
                while arriving_max:
                    if me.session_token or walking.done():
                        break
                    await asyncio.sleep(LOOK_EVERY_S)
            await walking
        finally:
            shell.cut_all()

    async with asyncio.TaskGroup() as group:
        for index, me in enumerate(heroes):
            group.create_task(one(index, me))
    floors = sum(journeys[i % len(journeys)].floor(seconds) for i in range(len(heroes)))
    if meter.actions < floors:
        below.append(f"{meter.actions} actions, the floor is {floors}")
    title = name or "+".join(journey.name for journey in journeys)
    return Fleet(meter.summary(title, len(heroes)), meter, heroes, below)


def journeys_named(name: str) -> list[Journey]:
    """One journey, or all of them for `all`. Raises `KeyError` for an unknown name."""
    return list(JOURNEYS.values()) if name == "all" else [JOURNEYS[name]]
