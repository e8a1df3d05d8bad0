"""The real raid role as one node over real stores, with rooms full of members who never end.

Owns the composition, the arena without an end, and the rooms, which are reserved through the rule
and written to the books before the first client comes. Counts ticks from the moment when every room
fights. Everything else is production. Measured by `bench raid`.
"""

import argparse
import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mmo._core import NetCore
from mmo.content import Content, load_content
from mmo.content.raids import Raids
from mmo.log import open_log
from mmo.node.engine import Engine
from mmo.node.handlers import RATES
from mmo.node.node import Node, compose
from mmo.roles.raid import ROLE
from mmo.state.raid import RaidSeatPrepared
from mmo.store.durable import DurableStore
from mmo.store.settings import StoreSettings
from mmo.systems.raid_seats import reserve
from mmo.testing.measured.life import announce, pin, serve, until_stopped
from mmo.testing.measured.node_server import node_settings
from mmo.testing.measured.settings import RATE_UNREACHED_PER_S, core_settings
from mmo.wire.messages.raid_link import RaidReserve, Seated

KIND = 3
ENDLESS = 1_000_000_000
HOUR_TICKS = 72_000
EXPIRES_MS = 3_600_000
LOOK_EVERY_MS = 100
WARM_LOOKS = 20
COUNTED = ("room_ticks_total", "room_ticks_overrun_total", "checkpoints_kept_total")


def endless(content: Content, rooms: int) -> Content:
    """The content in the box with monsters that cannot die, members who cannot fall, and all the
    time to come."""
    raids: Raids = content.raids
    arenas = {
        key: msgspec.structs.replace(arena, ticks_max=HOUR_TICKS, hp=ENDLESS, fighter_hp=ENDLESS)
        for key, arena in raids.arenas.items()
    }
    blobs = {key: msgspec.msgpack.encode(arena) for key, arena in arenas.items()}
    kinds = {
        number: msgspec.structs.replace(kind, waiting_ms=EXPIRES_MS)
        for number, kind in raids.kinds.items()
    }
    raids = msgspec.structs.replace(
        raids, kinds=kinds, arenas=arenas, blobs=blobs, rooms_max=rooms + 1
    )
    return msgspec.structs.replace(content, raids=raids)


async def open_rooms(engine: Engine, rooms: int) -> None:
    """Raids 1 to `rooms`, the users of each in the order of the seats, every seat prepared."""
    size = engine.env.content.raids.kinds[KIND].team_size
    states = engine.states["raids"]
    for raid in range(1, rooms + 1):
        users = range((raid - 1) * size + 1, raid * size + 1)
        team = [Seated(user, 1, 1, user, f"p{user}", 1, 0) for user in users]
        engine.now()
        said = reserve(RaidReserve(raid, KIND, team), raids=states, env=engine.env)
        assert await engine.store.write(said.row), f"raid {raid} is not in the books"
        for effect in said.effects:
            effect.apply(states)
        until_ms = engine.env.now_ms + EXPIRES_MS
        rows = [RaidSeatPrepared(raid, user, 1, f"measured-{user}", until_ms) for user in users]
        assert all(await asyncio.gather(*(engine.store.write(row) for row in rows)))


class Counts:
    """What the node counted since all rooms fight."""

    def __init__(self, engine: Engine, rooms: int) -> None:
        self._engine = engine
        self._rooms = rooms
        self._before: dict[str, int] | None = None
        self._looks = 0
        engine.timers.every(LOOK_EVERY_MS, self._look)

    def _look(self) -> None:
        """Begin to count two seconds after every room fights."""
        rooms = self._engine.states["raids"].rooms.values()
        self._looks += sum(room.fighting for room in rooms) == self._rooms
        if self._before is None and self._looks == WARM_LOOKS:
            self._before = {name: self._engine.metrics.counts[name] for name in COUNTED}

    def found(self) -> dict[str, Any]:
        """Differences, and the battles' own clocks."""
        counts, before = self._engine.metrics.counts, self._before
        rooms = self._engine.states["raids"].rooms.values()
        fought = {name: counts[name] - before[name] for name in COUNTED} if before else {}
        scores = sum(sum(room.battle.score) for room in rooms if room.battle is not None)
        raised = counts["rules_raised_total"]
        return {**fought, "scores": scores, "rooms": len(rooms), "raised": raised}


async def run(given: argparse.Namespace, settings: StoreSettings) -> dict[str, Any]:
    """Serve until stopped; what was counted."""
    store = await DurableStore.open(settings)
    engine = compose(
        node_settings(),
        msgspec.structs.replace(ROLE, dials=()),
        store,
        endless(load_content(), given.rooms),
        log=open_log("measured", level="error"),
        systems_package="mmo.systems",
        edges_package="mmo.edges",
    )

    def make(incarnation: int, fields: Mapping[str, Any]) -> NetCore:
        core = core_settings(
            public_key=bytes.fromhex(given.public_key),
            key_id=given.key_id,
            user_opcodes=[],
            connections_max=given.connections_max,
        )
        rates = [(name, RATE_UNREACHED_PER_S, 1_000_000_000) for name in RATES]
        return NetCore(msgspec.structs.replace(core, rate_classes=rates, datagram_port=0, **fields))

    node = Node(engine, make, ("center", "matching", "raid"))
    await node.start()
    await open_rooms(engine, given.rooms)
    counts = Counts(engine, given.rooms)
    announce(node.ports["client"])
    await until_stopped()
    found = counts.found()
    engine.states["raids"].rooms.clear()  # a drain would wait for their ends
    node.stop(0)
    await node.run()
    await store.close()
    return found


def main() -> None:
    """Command line of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--public-key", required=True, help="Ed25519 public key in hex")
    parser.add_argument("--key-id", required=True)
    parser.add_argument("--store", type=Path, required=True, help="StoreSettings as JSON")
    parser.add_argument("--rooms", type=int, required=True)
    parser.add_argument("--connections-max", type=int, default=4_096)
    parser.add_argument("--cpu", type=int, default=-1)
    given = parser.parse_args()
    pin(given.cpu)
    settings = msgspec.json.decode(given.store.read_bytes(), type=StoreSettings)
    serve(lambda: run(given, settings))


if __name__ == "__main__":
    main()
