"""Partitions: one link, all links of a server, or a server from the others and from the database.

Owns who is parted from whom; the doors that part them are `link_door` and `mysql_door`. Called
through the menu of `nemesis`.
"""

import asyncio

from mmo.proof.ground import Ground
from mmo.proof.link_door import Pair

PART_S = (0.5, 7.0)
"""Some are longer than links, leases (6 s) and a server that misses its own (4 s) bear."""


async def cut_link(ground: Ground) -> str:
    """Two servers do not hear of each other, all others hear of both."""

    def one(pairs: list[Pair]) -> list[Pair]:
        return [ground.rng.choice(pairs)] if pairs else []

    seconds = ground.span(PART_S)
    ((dialler, dialled),) = await ground.links.cut(one, seconds)
    return f"{dialler} from {dialled} for {seconds:.1f} s"


async def cut_links(ground: Ground) -> str:
    """One server hears of no other; it reaches the database, and its players reach it."""
    name = ground.pick(ground.nodes())
    seconds = ground.span(PART_S)
    parted = await ground.links.cut(lambda pairs: _of(name, pairs), seconds)
    return f"{name} from {len(parted)} servers for {seconds:.1f} s"


async def cut_off(ground: Ground) -> str:
    """One server reaches neither another nor the database; its players reach it."""
    name = ground.pick(ground.nodes("channel") + ground.nodes("center") + ground.nodes("raid"))
    seconds = ground.span(PART_S)
    pid = ground.pid(name)
    cut: list[asyncio.Task[None]] = []

    def begin(pairs: list[Pair]) -> list[Pair]:
        picked = _of(name, pairs)
        if picked:
            cut.append(asyncio.create_task(ground.door.cut(pid, seconds)))
        return picked

    try:
        parted = await ground.links.cut(begin, seconds)
    finally:
        done = await asyncio.gather(*cut, return_exceptions=True)
    for fault in done:
        if isinstance(fault, BaseException):
            raise fault
    return f"{name} from {len(parted)} servers and the database for {seconds:.1f} s"


def _of(name: str, pairs: list[Pair]) -> list[Pair]:
    return [pair for pair in pairs if name in pair]
