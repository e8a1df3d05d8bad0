"""Matching under load: two queues that stay long while players come and teams leave.

Owns the pace and the figures. Latency is from the moment a decision was possible (the intended
arrival of the last ticket of a team, or a freed room) to the question for its seats. Everything is
on one processor, so the figures hold the cost of this loop too. Run as a process by `bench match`.
"""

import argparse
import time
from collections.abc import Iterator
from typing import Any

from mmo.client.meter import Meter
from mmo.testing.measured.life import pin, serve
from mmo.testing.measured.match_server import RAIDS, MatchServer, pause
from mmo.wire.codec import decode, encode
from mmo.wire.messages.raid_link import (
    RaidReserve,
    RaidReserved,
    RaidTeamFound,
    Seated,
    TicketPut,
    TicketPutOk,
    TicketRow,
)
from mmo.wire.opcode import Op

FULL_SPEED_TICKETS = 40_000
ANSWER_S = 30.0


async def parties(
    server: MatchServer, waiting: int, new_per_s: int, seconds: float
) -> dict[str, Any]:
    """`waiting` players in parties of three for raids of four; as many new parties as new players
    alone, each of whom completes the oldest party of his group: the queue stays as long."""
    kind = next(number for number, size in server.sizes.items() if size == 4)
    server.rooms, server.rooms_return = dict.fromkeys(RAIDS, 10_000), True
    server.tell_loads()
    await server.fill(kind, 3, waiting)
    await server.rest()
    server.decided_ms.clear()

    def steps() -> Iterator[None]:
        while True:
            for size in (3, 1):
                for center, body, ticket in server.puts(kind, size):
                    server.put(center, body, ticket, server.intended_s)
                yield

    begun = (time.perf_counter(), time.process_time())
    await server.paced(seconds, steps(), new_per_s / 2)
    # Every other step brings the player who completes a team.
    figures = shown(server, begun, paced_steps(seconds, new_per_s) // 2)
    server.decided_ms.clear()
    return figures | await full_speed(server, kind) | server.books()


async def full_speed(server: MatchServer, kind: int) -> dict[str, Any]:
    """Tickets a second when the next comes as soon as the node has read the last; the teams that
    were due then and those that were decided in time."""
    made = [one for _ in range(FULL_SPEED_TICKETS // 4) for size in (3, 1)
            for one in server.puts(kind, size)]  # fmt: skip
    begun_s = time.perf_counter()
    for first in range(0, len(made), 256):
        for center, body, ticket in made[first : first + 256]:
            server.put(center, body, ticket, begun_s)
        await server.drained()
    until_s = begun_s + ANSWER_S
    while len(server.decided_ms) < FULL_SPEED_TICKETS // 4 and time.perf_counter() < until_s:
        server.answer()
        await pause(0.001)
    took_s, decided = time.perf_counter() - begun_s, len(server.decided_ms)
    await server.rest()
    return {
        "full_speed_per_s": len(made) / took_s,
        "full_speed_due": FULL_SPEED_TICKETS // 4, "full_speed_decisions": decided,
    }  # fmt: skip


async def rooms(
    server: MatchServer, waiting: int, new_per_s: int, seconds: float
) -> dict[str, Any]:
    """`waiting` players alone for raids of two, all rooms taken; new players come and rooms become
    free at the same pace: each freed room is given to the two who wait longest."""
    kind = next(number for number, size in server.sizes.items() if size == 2)
    await server.fill(kind, 1, waiting)
    server.decided_ms.clear()
    server.freed_s.clear()
    turn = 0

    def steps() -> Iterator[None]:
        nonlocal turn
        while True:
            for _ in range(2):
                for center, body, ticket in server.puts(kind, 1):
                    server.put(center, body, ticket, server.intended_s)
            number = RAIDS[turn % len(RAIDS)]
            turn += 1
            server.rooms[number] += 1
            server.freed_s.append(server.intended_s)
            server.tell_load(number)
            yield

    begun = (time.perf_counter(), time.process_time())
    await server.paced(seconds, steps(), new_per_s / 2)
    return shown(server, begun, paced_steps(seconds, new_per_s)) | server.books()


def paced_steps(seconds: float, new_per_s: int) -> int:
    """Steps of a paced phase, two new tickets each in the mean."""
    return int(seconds * (new_per_s / 2))


def shown(server: MatchServer, begun: tuple[float, float], due: int) -> dict[str, Any]:
    """Percentiles of the decisions, how many were due, and the share of the processor since
    `begun`."""
    busy = (time.process_time() - begun[1]) / (time.perf_counter() - begun[0])
    taken = Meter()
    for took_ms in server.decided_ms:
        taken.action("decision", took_ms)
    at = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}
    found: dict[str, Any] = {name: taken.percentile_ms(share) for name, share in at.items()}
    return found | {"due": due, "decisions": taken.actions, "busy": round(busy, 3)}


def codec_alone(seconds: float) -> float:
    """Tickets a second of a server that only reads and writes the messages of a team of four and
    decides nothing: what no matching can pass."""
    row = TicketRow(2**40, 2**20, 1, 2, 9, 10, 1_700_000_000_000, "name", "P1", 3)
    put = encode(TicketPut(1, row))
    team = [Seated(1, 1, 2, 2**40, "name", 9, 10)] * 4
    reserved = encode(RaidReserved(2**40, 31, True, "127.0.0.1", 7031))
    found = RaidTeamFound(1, 1, 2**40, 2**40, 2, 31, "127.0.0.1", 7031, 1)
    tickets, begun_s = 0, time.perf_counter()
    while time.perf_counter() - begun_s < seconds:
        for _ in range(100):
            for _ in range(4):
                decode(int(Op.TICKET_PUT), put)
                encode(TicketPutOk(1, 2**40, 0, 3, 1_000))
                encode(found)
            encode(RaidReserve(2**40, 2, team))
            decode(int(Op.RAID_RESERVED), reserved)
            tickets += 4
    return tickets / (time.perf_counter() - begun_s)


async def run(waiting: int, new_per_s: int, seconds: float) -> dict[str, Any]:
    """All phases, each with a server of its own."""
    found: dict[str, Any] = {"codec_per_s": codec_alone(min(2.0, seconds))}
    for name, phase in (("parties", parties), ("rooms", rooms)):
        server = MatchServer()
        await server.start()
        found[name] = await phase(server, waiting, new_per_s, seconds)
        await server.stop()
    return found


def main() -> None:
    """Command line of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--waiting", type=int, required=True)
    parser.add_argument("--new-per-s", type=int, required=True)
    parser.add_argument("--for", type=float, required=True, dest="seconds")
    parser.add_argument("--cpu", type=int, default=-1)
    given = parser.parse_args()
    pin(given.cpu)
    serve(lambda: run(given.waiting, given.new_per_s, given.seconds))


if __name__ == "__main__":
    main()
