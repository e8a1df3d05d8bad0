"""Scripted raids: played by the rules, repeated from their records, lies found."""

import hashlib
import io

import msgspec

from mmo.ops.replay import judged
from mmo.state.raid_battle import BattleRecord
from mmo.systems.raid_battle import RULES, bundle_of, run
from mmo.testing.measured.raid_series import Played, read, repeat, write

COUNT = 40


def series(first: int = 1, count: int = COUNT) -> bytes:
    target = io.BytesIO()
    write(target, first, count)
    return target.getvalue()


def test_raids_when_repeated_then_all_are_the_same_and_end_in_several_ways() -> None:
    target = io.BytesIO()
    digest = write(target, 1, COUNT)
    target.seek(0)
    summary = repeat(target)
    assert summary.raids == COUNT and not summary.findings
    assert summary.digest == digest
    assert len(summary.reasons) >= 2 and summary.inputs > COUNT


def test_raids_when_played_again_from_the_same_seeds_then_are_the_same_bytes() -> None:
    assert series(count=5) == series(count=5)
    assert series(first=1, count=5) != series(first=2, count=5)


def test_result_when_anything_of_it_is_changed_then_is_found() -> None:
    one = next(iter(read(io.BytesIO(series(count=1)))))
    record = one.record
    assert judged(record, one.grants).holds
    (user, score), *others = record.scores
    changed = {
        "score": msgspec.structs.replace(record, scores=((user, score + 1), *others)),
        "hit points": msgspec.structs.replace(record, hp=record.hp + 1),
        "reason": msgspec.structs.replace(record, reason=record.reason % 3 + 1),
        "hash": msgspec.structs.replace(record, inputs_hash=b"\0" * 32),
        "cannot be run": msgspec.structs.replace(record, replay=record.replay[:-1]),
    }
    for word, lie in changed.items():
        answer = judged(lie, one.grants)
        assert not answer.holds and any(word in text for text in answer.findings), word
    inputs = bytearray(record.replay)
    inputs[-3] ^= 1
    assert not judged(msgspec.structs.replace(record, replay=bytes(inputs)), one.grants).holds
    assert not judged(record, {}).holds
    assert isinstance(one, Played)


def by_rules(one: Played, rules: int) -> Played:
    """The same raid as rules of that number would have settled it."""
    fought = msgspec.msgpack.decode(one.record.replay, type=BattleRecord)
    fought = msgspec.structs.replace(fought, rules=rules)
    arena, battle = run(fought)
    replay = msgspec.msgpack.encode(fought)
    record = msgspec.structs.replace(
        one.record, replay=replay, inputs_hash=hashlib.sha256(replay).digest()
    )
    due = {
        member.user: bundle_of(arena, battle, fought.seed, member.seat, rules)
        for member in record.members
    }
    grants = {user: msgspec.msgpack.encode(bundle) for user, bundle in due.items() if bundle}
    return msgspec.structs.replace(one, record=record, grants=grants)


def test_record_when_of_older_rules_then_is_held_against_the_prizes_of_those() -> None:
    others = 0
    for one in read(io.BytesIO(series())):
        old = by_rules(one, 1)
        assert judged(old.record, old.grants).findings == []
        assert by_rules(one, RULES) == one
        others += not judged(old.record, one.grants).holds
    assert others
