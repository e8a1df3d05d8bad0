"""Members of raids who all fight, over raw sockets: a TCP connection each, few datagram sockets.

Owns the generator: enter, ready, prove the address, then a blow whenever its time comes, by a plan
that no answer delays. The time from the planned moment of a blow to the word of what it did is its
latency; a blow that is still without that word when the last ones were waited for counts with its
age. Run as a process of its own by `bench raid`; prints one line of JSON.
"""

import argparse
import heapq
import json
import select
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from mmo.client.datagrams import HEAD, Datagrams
from mmo.client.meter import Meter
from mmo.client.protocol import HEADER
from mmo.testing.measured.life import pin
from mmo.wire.codec import decode, encode
from mmo.wire.messages.raid import RaidAct, RaidReady
from mmo.wire.opcode import Op

BLOW_EVERY_MS = 350.0  # a plain blow has a cooldown of 300 ms
HEAVY_EVERY = 7  # each so-many-th input is the heavy blow
ENTER_S = 60.0
ENTERING_MAX = (
    16  # claims of a seat on the way; more would wait for the store beyond their deadline
)
PROVE_EVERY_S = 10.0
PROOFS_AT_ONCE = 16
STREAMS_SHARED = 32  # members whose datagrams come to one socket: its buffer is small
LATE_S = 2.0  # how long an answer to the last blow may take
_acts = msgspec.msgpack.Encoder()


class Member:
    """One connection. `sent`: planned moment of each blow by its number."""

    def __init__(self, address: tuple[str, int], token: bytes) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""
        self.sent: dict[int, float] = {}
        self.number = 0
        self.stream: Datagrams | None = None
        self.say(Op.ENTER, token)

    def say(self, opcode: int, body: bytes, seq: int = 1) -> None:
        """One frame; the kernel's buffer takes it."""
        self.socket.sendall(HEADER.pack(6 + len(body), opcode, seq) + body)

    def frames(self) -> list[tuple[int, bytes]]:
        """All whole frames that came."""
        data = self.rest + self.socket.recv(65_536)
        found, at = [], 0
        while len(data) - at >= HEADER.size:
            length, opcode, _ = HEADER.unpack_from(data, at)
            end = at + 4 + length
            if end > len(data):
                break
            found.append((opcode, data[at + HEADER.size : end]))
            at = end
        self.rest = data[at:]
        return found


class Load:
    """All members. `taken`: latencies; `counts` by name of what came."""

    def __init__(self, address: tuple[str, int], tokens: list[bytes]) -> None:
        self.counts: Counter[str] = Counter()
        self.taken = Meter()
        self.running = False
        self._poll = select.epoll()
        self._streams = [_datagram_socket() for _ in range(0, len(tokens), STREAMS_SHARED)]
        self._by_number = {one.fileno(): one for one in self._streams}
        for number in self._by_number:
            self._poll.register(number, select.EPOLLIN)
        self.members: dict[int, Member] = {}
        for token in tokens:
            member = Member(address, token)
            self.members[member.socket.fileno()] = member
            self._poll.register(member.socket.fileno(), select.EPOLLIN)
            least = len(self.members) - ENTERING_MAX
            self._until(lambda least=least: self.counts["raid_entered"] >= least, "all let in")
        self._host = address[0]

    def _serve(self, wait_s: float) -> None:
        """Everything that came, waiting at most so long for the first."""
        for number, _ in self._poll.poll(max(0.0, wait_s)):
            if number in self._by_number:
                self._datagrams(self._by_number[number])
                continue
            member = self.members[number]
            for opcode, body in member.frames():
                self._heard(member, opcode, body)

    def _datagrams(self, stream: socket.socket) -> None:
        """Count them by their opcode; that they are genuine is asked by tests of the client."""
        counts = self.counts
        try:
            while True:
                datagram = stream.recv(2_048)
                _, _, opcode = HEAD.unpack_from(datagram)
                counts["datagrams" if opcode == Op.RAID_STREAM else "datagrams_wrong"] += 1
        except BlockingIOError:
            return

    def _heard(self, member: Member, opcode: int, body: bytes) -> None:
        if opcode == Op.RAID_STRUCK:
            struck = decode(opcode, body)
            planned = member.sent.pop(struck.number, None)
            if planned is not None:
                self.taken.action("blow", (time.perf_counter() - planned) * 1000)
            self.counts["struck"] += 1
        elif opcode == Op.DATAGRAM_KEY:
            member.stream = Datagrams(decode(opcode, body))
        elif opcode == Op.REFUSED:
            self.counts["refused"] += 1
        else:
            self.counts[Op(opcode).name.lower()] += 1

    def enter(self) -> None:
        """All are in, ready, and their battles run."""
        count = len(self.members)
        self._until(lambda: self.counts["raid_entered"] >= count, "all have entered")
        ready = encode(RaidReady())
        for member in self.members.values():
            member.say(Op.RAID_READY, ready)
            self._serve(0.0)
        self._until(lambda: self.counts["raid_start"] >= count, "all battles run")
        self.prove()

    def _until(self, holds: Any, what: str) -> None:
        until = time.monotonic() + ENTER_S
        while not holds():
            if time.monotonic() > until:
                raise SystemExit(f"not {what}: {dict(self.counts)}")
            self._serve(0.05)

    def prove(self) -> None:
        """Prove an address for every identity."""
        for index, member in enumerate(self.members.values()):
            if member.stream is not None:
                stream = self._streams[index // STREAMS_SHARED]
                stream.sendto(member.stream.proof(), (self._host, member.stream.port))
            if index % PROOFS_AT_ONCE == 0:
                self._serve(0.001)  # a burst of all of them would not fit the node's socket

    def fight(self, seconds: float, warm_s: float) -> dict[str, Any]:
        """Blows by plan for `warm_s` and then the measured window; what was seen in it."""
        begin = time.perf_counter()
        step_s = BLOW_EVERY_MS / 1000
        plan = [
            (begin + step_s * index / len(self.members), number)
            for index, number in enumerate(self.members)
        ]
        heapq.heapify(plan)
        opens, ends = begin + warm_s, begin + warm_s + seconds
        proved_at, late_s, cpu_s = begin, 0.0, 0.0
        while (now := time.perf_counter()) < ends:
            if not self.running and now >= opens:
                self.running = True
                self.counts.clear()
                self.taken = Meter()
                late_s, cpu_s = 0.0, time.process_time()
            if now - proved_at > PROVE_EVERY_S:
                proved_at = now
                self.prove()
            while plan[0][0] <= now:
                due, number = plan[0]
                heapq.heapreplace(plan, (due + step_s, number))
                late_s = max(late_s, now - due)
                self._strike(self.members[number], due)
            self._serve(plan[0][0] - time.perf_counter())
        busy = (time.process_time() - cpu_s) / seconds
        counts = dict(self.counts)  # of the window; answers are waited for beyond it
        return {"seconds": seconds, "busy": round(busy, 3), "late_ms": late_s * 1000} | {
            "counts": counts, "unsent": unsent(plan, ends, step_s), "unanswered": self.heard_out(),
            "latencies": self.taken.actions, **percentiles(self.taken),
        }  # fmt: skip

    def _strike(self, member: Member, due: float) -> None:
        member.number += 1
        heavy = member.number % HEAVY_EVERY == 0
        member.sent[member.number] = due
        body = _acts.encode(RaidAct(int(heavy), member.number))
        member.say(Op.RAID_ACT, body, member.number)
        self.counts["blows"] += 1

    def heard_out(self) -> int:
        """Blows of which nothing was heard after a last wait; each counts with its age."""
        until = time.monotonic() + LATE_S
        while any(member.sent for member in self.members.values()) and time.monotonic() < until:
            self._serve(0.05)
        now = time.perf_counter()
        silent = [due for member in self.members.values() for due in member.sent.values()]
        for due in silent:
            self.taken.action("blow", (now - due) * 1000)
        return len(silent)


def _datagram_socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    made.setblocking(False)
    made.bind(("127.0.0.1", 0))
    return made


def unsent(plan: list[tuple[float, int]], ends: float, step_s: float) -> int:
    """Blows that were due before the end and that the members had no time for."""
    return sum(1 + int((ends - due) / step_s) for due, _ in plan if due < ends)


def percentiles(taken: Meter) -> dict[str, float]:
    """Of all latencies."""
    at = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}
    return {name: taken.percentile_ms(share) for name, share in at.items()}


def main() -> None:
    """Command line of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tokens", type=Path, required=True, help="one a line, in seat order")
    parser.add_argument("--for", dest="seconds", type=float, required=True)
    parser.add_argument("--warm", type=float, required=True)
    parser.add_argument("--cpu", type=int, default=-1)
    given = parser.parse_args()
    pin(given.cpu)
    tokens = given.tokens.read_bytes().split()
    load = Load(("127.0.0.1", given.port), tokens)
    load.enter()
    print(json.dumps(load.fight(given.seconds, given.warm)), flush=True)


if __name__ == "__main__":
    main()
