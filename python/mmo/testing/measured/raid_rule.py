"""The rule of a room alone: how long one tick of eight who all fight takes, with no node around it.

Owns a room made by the rules, its inputs at the pace of the bench, and the clock. The rooms that
one processor could tick follow from it. Run as a process by `bench raid`.
"""

import argparse
import json
import random
import time

from mmo.content import load_content
from mmo.contract import Env, NodeView, PlayerCard, Sender
from mmo.state.raid_room import InputTaken, RaidRooms
from mmo.systems.raid import tick_room
from mmo.systems.raid_seats import enter, ready, reserve
from mmo.testing.measured.life import pin
from mmo.testing.measured.raid_server import KIND, endless
from mmo.wire.messages.raid import RaidReady
from mmo.wire.messages.raid_link import RaidReserve, Seated
from mmo.wire.messages.session import Claims, Entered

TICK_MS = 50
BLOW_SHARE = TICK_MS / 350.0  # of the members, each tick


def measure(seconds: float) -> dict[str, float]:
    """Tick one room for `seconds`; microseconds a tick."""
    rooms, users = RaidRooms(), range(1, 9)
    node = NodeView(31, "raid-1", "raid", 1, 1)
    env = Env(1_700_000_000_000, random.Random(1), endless(load_content(), 1), node,
              Sender(0, 0, 0), lambda: 1)  # fmt: skip
    outcomes = [reserve(RaidReserve(1, KIND, [Seated(u, 1, 1, u, "", 1, 0) for u in users]),
                        raids=rooms, env=env)]  # fmt: skip
    for effect in outcomes[0].effects:
        effect.apply(rooms)
    for user in users:
        env.sender = Sender(user, user, 1)
        claims = Claims("mmo", "31", str(user), 0, 0, "", 1, room=1)
        card = PlayerCard(user, "", 1, 1, 0, ())
        for said in (enter(Entered("raid+jwt", claims, False, card=card), raids=rooms, env=env),):
            for effect in said.effects:
                effect.apply(rooms)
        for effect in ready(RaidReady(), raids=rooms, env=env).effects:  # type: ignore[union-attr]
            effect.apply(rooms)
    room = rooms.rooms[1]
    chance = random.Random(2)
    ticks, spent_ns = 0, 0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        env.now_ms += TICK_MS
        for member in room.members:
            if chance.random() < BLOW_SHARE:
                InputTaken(1, member.seat, 0, 1).apply(rooms)
        began_ns = time.perf_counter_ns()
        for effect in tick_room(room, env=env).effects:
            effect.apply(rooms)
        spent_ns += time.perf_counter_ns() - began_ns
        ticks += 1
        if ticks % 1_200 == 0:
            room.inputs.clear()  # a battle is not longer than a minute
    tick_us = spent_ns / ticks / 1000
    return {"tick_us": round(tick_us, 2), "rooms_per_processor": round(TICK_MS * 1000 / tick_us, 1)}


def main() -> None:
    """Command line of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--for", dest="seconds", type=float, required=True)
    parser.add_argument("--cpu", type=int, default=-1)
    given = parser.parse_args()
    pin(given.cpu)
    print(json.dumps(measure(given.seconds)))


if __name__ == "__main__":
    main()
