"""`replay`: a raid fought again from its record, and held against what the books say of it.

Owns the comparison: scores, rewards, hit points, end and hash. Changes nothing. The battle is
decided by the product's own rules, the same code that decided it first; what the books hold is read
by plain SQL of its own. Called by `mmo-cluster replay` and by proofs.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping

import msgspec

from mmo.state.grant import Bundle, SourceKind
from mmo.state.raid import RaidRecord, RaidState
from mmo.state.raid_battle import BattleRecord
from mmo.store import raids
from mmo.store.connection import Connection, Statement
from mmo.systems.raid_battle import bundle_of, run

_GRANTS = Statement(f"""
    SELECT g.user_id, g.bundle FROM raid_member m
    JOIN reward_grant g ON g.user_id = m.user_id AND g.source_id = m.raid
        AND g.source_kind = {int(SourceKind.RAID)}
    WHERE m.raid = %s
""")
_FINISHED = Statement(f"""
    SELECT raid FROM raid WHERE raid > %s AND state = {int(RaidState.FINISHED)}
    ORDER BY raid LIMIT 500
""")
_decode_record = msgspec.msgpack.Decoder(BattleRecord).decode
_decode_bundle = msgspec.msgpack.Decoder(Bundle).decode


class SeatReplayed(msgspec.Struct, frozen=True):
    """One member: the score of the books beside the score of the battle fought again."""

    seat: int
    user: int
    name: str
    score: int
    replayed: int


class Replayed(msgspec.Struct, frozen=True):
    """The answer, in the form of `replay --json`. `holds`: every number is what the battle gives.
    An aborted or unsettled raid has no battle to hold anything against (`ticks` 0)."""

    raid: int
    kind: int
    map: int
    state: str  # "open", "running", "finished", "aborted"
    reason: int
    ticks: int
    inputs: int
    hp: int
    seats: list[SeatReplayed]
    holds: bool
    findings: list[str]


async def replayed(connection: Connection, raid: int) -> Replayed | None:
    """Fight a raid of the books again; None: there is no such raid."""
    record = await raids.read(connection, raid)
    if record is None:
        return None
    grants = {int(user): bytes(bundle) for user, bundle in await connection.rows(_GRANTS, raid)}
    return judged(record, grants)


async def finished(connection: Connection) -> AsyncIterator[int]:
    """The numbers of all finished raids, ascending."""
    last = 0
    while page := await connection.rows(_FINISHED, last):
        for row in page:
            last = int(row[0])
            yield last


def judged(record: RaidRecord, grants: Mapping[int, bytes]) -> Replayed:
    """A raid against its record. `grants`: the bundles that the books hold for it by user."""
    if record.state is not RaidState.FINISHED:
        findings = [f"user {user} holds a reward of it" for user in grants]
        if record.scores:
            findings.append("it has scores")
        return _answer(record, 0, 0, {}, findings)
    findings = []
    if hashlib.sha256(record.replay).digest() != record.inputs_hash:
        findings.append("the hash of its inputs is not the one that was written with its result")
    try:
        battle_record = _decode_record(record.replay)
        arena, battle = run(battle_record)
    except (msgspec.MsgspecError, ValueError, IndexError) as fault:
        return _answer(record, 0, 0, {}, [*findings, f"its record cannot be run: {fault}"])
    books = (record.kind, record.map, record.seed, record.reason, record.hp)
    fought = (arena.kind, arena.map, battle_record.seed, battle.ended, battle.hp)
    names = ("kind", "map", "seed", "reason", "hit points left")
    for name, held, found in zip(names, books, fought, strict=True):
        if held != found:
            findings.append(f"{name}: the books say {held}, the battle {found}")
    scores = {}
    for member in record.members:
        if member.seat >= len(battle.score):
            findings.append(f"user {member.user}: seat {member.seat} is not in the battle")
            continue
        scores[member.user] = battle.score[member.seat]
        due = bundle_of(arena, battle, battle_record.seed, member.seat, battle_record.rules)
        findings += _wrong_reward(member.user, due, grants.get(member.user))
    findings += _wrong_scores(record, scores)
    return _answer(record, battle.tick, len(battle_record.inputs), scores, findings)


def _wrong_scores(record: RaidRecord, scores: Mapping[int, int]) -> list[str]:
    held = dict(record.scores)
    names = {member.user: member.name for member in record.members}
    return [
        f"score of user {user} ({names.get(user, '?')}): the books say {held.get(user)},"
        f" the battle {scores.get(user)}"
        for user in sorted(held.keys() | scores.keys())
        if held.get(user) != scores.get(user)
    ]


def _wrong_reward(user: int, due: Bundle | None, held: bytes | None) -> list[str]:
    try:
        given = None if held is None else _decode_bundle(held)
    except msgspec.MsgspecError as fault:
        return [f"reward of user {user}: cannot be read: {fault}"]
    if given == due:
        return []
    return [f"reward of user {user}: the books hold {given}, the battle gives {due}"]


def _answer(
    record: RaidRecord, ticks: int, inputs: int, scores: Mapping[int, int], findings: list[str]
) -> Replayed:
    held = dict(record.scores)
    seats = [
        SeatReplayed(
            member.seat,
            member.user,
            member.name,
            held.get(member.user, 0),
            scores.get(member.user, 0),
        )
        for member in record.members
    ]
    return Replayed(
        raid=record.raid,
        kind=record.kind,
        map=record.map,
        state=record.state.name.lower(),
        reason=record.reason,
        ticks=ticks,
        inputs=inputs,
        hp=record.hp,
        seats=seats,
        holds=not findings,
        findings=findings,
    )
