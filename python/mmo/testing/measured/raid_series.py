"""Raids played by scripted members from seeds, and the same raids repeated in another process.

Owns the script: who comes, strikes, parts, returns and leaves, all drawn from the seed of the raid,
and the room's own rules driven tick by tick without a node. `play` writes what a store would keep;
`replay` reads it and fights every raid again. Run as `python -m` by the proof of the replay, each
half in a process of its own.
"""

import hashlib
import itertools
import random
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec

from mmo.content import Content, load_content
from mmo.contract import Env, NodeView, Outcome, PlayerCard, Refuse, Sender
from mmo.ops.replay import judged
from mmo.state.raid import RaidOpened, RaidRecord, RaidSettled, RaidState
from mmo.state.raid_room import RaidRooms, Room
from mmo.systems import raid as rules
from mmo.systems import raid_seats as seats
from mmo.wire.messages.raid import RaidAct, RaidLeave, RaidReady
from mmo.wire.messages.raid_link import RaidReserve, Seated
from mmo.wire.messages.session import Claims, Disconnected, Entered

BEGINS_MS = 1_700_000_000_000
KIND_SHARES = ((1, 85), (2, 9), (4, 5), (3, 1))
"""Kinds by number with their share of the raids in hundredths: the longest are the fewest."""
_LENGTH_BYTES = 4


class Played(msgspec.Struct, frozen=True, array_like=True):
    """What the books hold of one raid: its record and the bundles by user."""

    record: RaidRecord
    grants: dict[int, bytes]


class Summary(msgspec.Struct, frozen=True):
    """What one half found. `digest`: SHA-256 over every result in order."""

    raids: int
    ticks: int
    inputs: int
    reasons: dict[int, int]
    digest: str
    findings: list[str]


class Stage:
    """One raid server without a node: rules called in the order of the script."""

    def __init__(self, content: Content, seed: int) -> None:
        self.rng = random.Random(seed)
        self.content = content
        self.raids = RaidRooms()
        self.now_ms = BEGINS_MS
        self.rows: list[Any] = []
        self.node = NodeView(31, "raid-1", "raid", 1, 1)
        self._uids = itertools.count(1)

    def env(self, user: int = 0) -> Env:
        """The environment of one call; each user has one connection."""
        return Env(
            now_ms=self.now_ms,
            rng=self.rng,
            content=self.content,
            node=self.node,
            sender=Sender(user, user, 1),
            new_uid=lambda: next(self._uids),
        )

    def do(self, outcome: Outcome | Refuse) -> None:
        """Rows are kept, effects hold; a refusal changes nothing."""
        if isinstance(outcome, Refuse):
            return
        if outcome.row is not None:
            self.rows.append(outcome.row)
        for effect in outcome.effects:
            effect.apply(self.raids)

    def enter(self, raid: int, user: int) -> None:
        """A member comes with a level and a weapon of his own."""
        level = 1 + (user * 7) % 15
        worn = ((1 + user % 5, user % 4, 0),)
        card = PlayerCard(user, f"member-{user}", 1, level, 0, worn)
        claims = Claims("mmo", "31", str(user), 0, 0, "", 1, room=raid)
        entered = Entered("raid+jwt", claims, False, card=card)
        self.do(seats.enter(entered, raids=self.raids, env=self.env(user)))


def play_one(content: Content, seed: int) -> Played:
    """One raid of its seed, from the reservation to its result."""
    stage = Stage(content, seed)
    kinds, shares = zip(*KIND_SHARES, strict=True)
    kind = content.raids.kinds[stage.rng.choices(kinds, shares)[0]]
    users = [100 * seed + seat + 1 for seat in range(kind.team_size)]
    team = [Seated(user, 1, 1, user, f"member-{user}", 1, 0) for user in users]
    message = RaidReserve(seed, kind.number, team)
    stage.do(seats.reserve(message, raids=stage.raids, env=stage.env()))
    for user in users:
        if stage.rng.random() < 0.95 or user == users[0]:
            stage.enter(seed, user)
            stage.do(seats.ready(RaidReady(), raids=stage.raids, env=stage.env(user)))
    room = stage.raids.rooms[seed]
    if not all(member.ready for member in room.members):
        stage.now_ms += kind.waiting_ms
    pace = stage.rng.uniform(0.05, 0.6)
    while seed in stage.raids.rooms:
        stage.now_ms += content.raids.tick_ms
        if room.fighting:
            _inputs(stage, room, pace)
        stage.do(rules.tick_room(room, env=stage.env()))
    return _played(stage, kind.number)


def _inputs(stage: Stage, room: Room, pace: float) -> None:
    """What the members do between two ticks; now and then one parts, comes back or leaves."""
    rng = stage.rng
    for member in room.members:
        env = stage.env(member.user)
        chance = rng.random()
        if chance < 0.001:
            stage.do(seats.leave(RaidLeave(), raids=stage.raids, env=env))
        elif chance < 0.004:
            parting = Disconnected(member.user, 1)
            stage.do(seats.parted(parting, raids=stage.raids, env=env))
        elif not member.conn and chance < 0.1:
            stage.enter(room.raid, member.user)
        elif member.conn and rng.random() < pace:
            action = RaidAct(rng.choice((0, 0, 0, 1, 2, 3)), rng.randrange(1000))
            stage.do(rules.act(action, raids=stage.raids, env=env))


def _played(stage: Stage, kind: int) -> Played:
    opened = next(row for row in stage.rows if isinstance(row, RaidOpened))
    settled = next(row for row in stage.rows if isinstance(row, RaidSettled))
    record = RaidRecord(
        raid=opened.raid,
        kind=kind,
        map=opened.map,
        seed=opened.seed,
        state=RaidState(settled.state),
        reason=int(settled.reason),
        number=31,
        incarnation=1,
        season=settled.season,
        generation=1,
        hp=settled.hp,
        members=opened.members,
        scores=tuple((score.user, score.score) for score in settled.scores),
        inputs_hash=settled.inputs_hash,
        replay=settled.replay,
        opened_ms=opened.now_ms,
        started_ms=opened.now_ms,
        ended_ms=settled.now_ms,
    )
    return Played(record, {one.user: one.bundle for one in settled.scores if one.bundle})


def write(target: BinaryIO, first_seed: int, count: int) -> str:
    """Play `count` raids of the seeds from `first_seed` on; returns the digest of their results."""
    content = load_content()
    digest = hashlib.sha256()
    for seed in range(first_seed, first_seed + count):
        blob = msgspec.msgpack.encode(play_one(content, seed))
        digest.update(_result(msgspec.msgpack.decode(blob, type=Played)))
        target.write(len(blob).to_bytes(_LENGTH_BYTES, "little") + blob)
    return digest.hexdigest()


def read(source: BinaryIO) -> Iterator[Played]:
    """What `write` wrote."""
    while head := source.read(_LENGTH_BYTES):
        blob = source.read(int.from_bytes(head, "little"))
        yield msgspec.msgpack.decode(blob, type=Played)


def repeat(source: BinaryIO) -> Summary:
    """Fight every raid of `source` again."""
    digest = hashlib.sha256()
    raids = ticks = inputs = 0
    reasons: dict[int, int] = {}
    findings: list[str] = []
    for played in read(source):
        answer = judged(played.record, played.grants)
        raids += 1
        ticks += answer.ticks
        inputs += answer.inputs
        reasons[answer.reason] = reasons.get(answer.reason, 0) + 1
        digest.update(_result(played))
        findings += [f"raid {answer.raid}: {text}" for text in answer.findings]
        if answer.state != "finished":
            findings.append(f"raid {answer.raid} is {answer.state}")
    return Summary(raids, ticks, inputs, reasons, digest.hexdigest(), findings)


def _result(played: Played) -> bytes:
    record = played.record
    grants = sorted(played.grants.items())
    return msgspec.msgpack.encode([record.hp, record.reason, record.scores, grants])


def main(words: list[str]) -> int:
    """`play FILE FIRST COUNT` prints the digest as JSON; `replay FILE` the summary."""
    if words[0] == "play":
        with open(words[1], "wb") as target:
            said: Any = {"digest": write(target, int(words[2]), int(words[3]))}
    else:
        with open(words[1], "rb") as source:
            said = repeat(source)
    print(msgspec.json.encode(said).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
