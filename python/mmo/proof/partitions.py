"""Partitions: one link, all links of a server, or a server from the others and from the database.

Owns who is parted from whom, and which links are one-sided, slow or reset; the doors that part them
are `link_door` and `mysql_door`. Called through the menu of `nemesis`.
"""

import asyncio

from mmo.proof.ground import Ground
from mmo.proof.link_door import SILENT, Pair, Trouble

PART_S = (0.5, 7.0)
"""Some are longer than links, leases (6 s) and a server that misses its own (4 s) bear."""


async def cut_link(ground: Ground) -> str:
    """Two servers do not hear of each other, all others hear of both."""
    return await _one(ground, SILENT, ground.span(PART_S))


async def cut_link_one_way(ground: Ground) -> str:
    """One of two servers hears the other, who hears nothing of it."""
    forth = ground.rng.random() < 0.5
    return await _one(ground, Trouble(forth=forth, back=not forth), ground.span(PART_S))


async def slow_link(ground: Ground) -> str:
    """What two servers say to each other comes late, up to more than half a second."""
    return await _one(ground, Trouble(late=True), ground.span(PART_S))


async def reset_link(ground: Ground) -> str:
    """The connection between two servers is reset with all that is on it."""
    return await _one(ground, Trouble(resets=True), 0.0)


async def _one(ground: Ground, trouble: Trouble, seconds: float) -> str:
    def one(pairs: list[Pair]) -> list[Pair]:
        return [ground.rng.choice(pairs)] if pairs else []

    ((dialler, dialled),) = await ground.links.cut(one, seconds, trouble)
    return f"{dialler} and {dialled} for {seconds:.1f} s"


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
