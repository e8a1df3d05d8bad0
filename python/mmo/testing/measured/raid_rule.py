"""The rule of a room alone: how long one tick of eight who all fight takes, with no node around it.

Owns a room made by the rules, its inputs at the pace of the bench, and the processor's clock. How
many rooms one processor could tick follows from it. Run as a process by `bench raid`.
"""

import argparse
import json
import random
import time

from mmo.content import load_content
from mmo.contract import Env, NodeView, Outcome, PlayerCard, Refuse, Sender
from mmo.state.raid_room import InputTaken, RaidRooms, Room
from mmo.systems.raid import tick_room
from mmo.systems.raid_seats import enter, ready, reserve
from mmo.testing.measured.life import pin
from mmo.testing.measured.raid_server import KIND, endless
from mmo.wire.messages.raid import RaidReady
from mmo.wire.messages.raid_link import RaidReserve, Seated
from mmo.wire.messages.session import Claims, Entered

TICK_MS = 50
MINUTE_TICKS = 1_200
BEGINS_MS = 1_700_000_000_000
BLOW_SHARE = TICK_MS / 350.0  # of the members, each tick


def fighting(env: Env, rooms: RaidRooms) -> Room:
    """Room 1 with eight members who are here and ready."""
    users = range(1, 9)
    team = [Seated(user, 1, 1, user, "", 1, 0) for user in users]
    _apply(reserve(RaidReserve(1, KIND, team), raids=rooms, env=env), rooms)
    for user in users:
        env.sender = Sender(user, user, 1)
        claims = Claims("mmo", "31", str(user), 0, 0, "", 1, room=1)
        entered = Entered("raid+jwt", claims, False, card=PlayerCard(user, "", 1, 1, 0, ()))
        _apply(enter(entered, raids=rooms, env=env), rooms)
        _apply(ready(RaidReady(), raids=rooms, env=env), rooms)
    return rooms.rooms[1]


def _apply(outcome: Outcome | Refuse, rooms: RaidRooms) -> None:
    assert isinstance(outcome, Outcome)
    for effect in outcome.effects:
        effect.apply(rooms)


def measure(seconds: float) -> dict[str, float]:
    """Tick one room for `seconds`; microseconds of the processor a tick."""
    rooms = RaidRooms()
    node = NodeView(31, "raid-1", "raid", 1, 1)
    content = endless(load_content(), 1)
    env = Env(0, random.Random(1), content, node, Sender(0, 0, 0), lambda: 1)
    env.now_ms = BEGINS_MS
    room = fighting(env, rooms)
    chance = random.Random(2)
    ticks, spent_ns = 0, 0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        env.now_ms += TICK_MS
        for member in room.members:
            if chance.random() < BLOW_SHARE:
                InputTaken(1, member.seat, 0, 1).apply(rooms)
        began_ns = time.thread_time_ns()
        _apply(tick_room(room, env=env), rooms)
        spent_ns += time.thread_time_ns() - began_ns
        ticks += 1
        if ticks % MINUTE_TICKS == 0:
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
