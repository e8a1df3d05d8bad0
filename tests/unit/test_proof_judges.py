"""The judges of the proofs can say no: trials, attacks, forgeries, floors."""

import json
import random
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
import redis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mmo.client.fleet import muster, sail
from mmo.client.hero import Hero
from mmo.client.journeys import Journey
from mmo.client.meter import Meter
from mmo.client.steps import Pause, Walk
from mmo.proof import stores as stores_of_proofs
from mmo.proof.attacks import Attack, End, attacks
from mmo.proof.forgeries import Forger
from mmo.proof.proofs import keep, proofs
from mmo.proof.stores import Stores
from mmo.proof.verdict import Trial
from mmo.wire import codec
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import CloseReason, Op

SECRET = Ed25519PrivateKey.generate()
PEM = SECRET.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
CLAIMS = {
    "iss": "mmo", "aud": "center", "sub": "7", "exp": 2_000_000_000, "nbf": 1, "jti": "a", "epoch":
    3,
}  # fmt: skip
GENUINE = jwt.encode(CLAIMS, SECRET, algorithm="EdDSA", headers={"kid": "one", "typ": "login+jwt"})


def test_a_trial_that_checked_nothing_does_not_hold() -> None:
    trial = Trial("empty", lambda _: None)
    trial.tried("something")
    assert not trial.verdict().held


def test_a_trial_holds_only_without_a_finding() -> None:
    trial = Trial("one", lambda _: None)
    trial.expect(True, "never")
    assert trial.verdict().held
    trial.expect(False, "the sky fell")
    verdict = trial.verdict()
    assert (verdict.held, verdict.findings) == (False, ["the sky fell"])


def test_the_kept_file_is_the_verdict(tmp_path: object) -> None:
    from pathlib import Path

    assert isinstance(tmp_path, Path)
    trial = Trial("one", lambda _: None)
    trial.expect(True, "never")
    keep(trial.verdict(), tmp_path / "results")
    told = json.loads((tmp_path / "results" / "prove-one.json").read_text())
    assert list(told) == ["name", "held", "tried", "findings", "figures"]


ROW = Attack("any", (b"",), frozenset({2}), frozenset({5}))
REFUSED = (int(Op.REFUSED), 1, codec.encode(Refused(5)))
OTHER = (int(Op.REFUSED), 1, codec.encode(Refused(6)))


@pytest.mark.parametrize(
    ("end", "right"),
    [
        (End([], True, 2), True),
        (End([REFUSED], False, 0), True),
        (End([], False, 0), False),
        (End([], True, 3), False),
        (End([OTHER], False, 0), False),
        (End([(int(Op.WELCOME), 1, b"")], False, 0), False),
    ],
)
def test_an_attack_ends_only_as_its_row_allows(end: End, right: bool) -> None:
    assert ROW.judge(end) is right


def test_answers_must_come_in_the_order_of_their_requests() -> None:
    row = Attack("two", (b"",), answers=(101, 101))
    assert row.judge(End([(101, 1, b""), (101, 2, b"")], False, 0))
    assert not row.judge(End([(101, 2, b""), (101, 1, b"")], False, 0))
    assert not row.judge(End([(101, 1, b"")], False, 0))


def test_the_attacks_are_many_and_follow_from_their_seed() -> None:
    one, two = attacks(1, 4096), attacks(1, 4096)
    assert one == two
    assert one != attacks(2, 4096)
    assert len({row.name for row in one}) == len(one) > 150
    assert {int(r) for row in one for r in row.reasons} >= {
        int(CloseReason.FRAME_TOO_LARGE), int(CloseReason.RATE_LIMITED),
    }  # fmt: skip


def test_no_forgery_is_the_genuine_token_and_a_verifier_believes_none() -> None:
    forged = Forger(GENUINE, PEM, seed=7).all()
    assert len({what for what, _ in forged}) == len(forged) >= 200
    public = SECRET.public_key()
    believed = []
    for what, token in forged:
        assert token != GENUINE, what
        try:
            told = jwt.decode(
                token, public, algorithms=["EdDSA"], audience="center", issuer="mmo",
                options={"require": list(CLAIMS)},
            )  # fmt: skip
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
            continue
        genuine = {**told} == CLAIMS and header == jwt.get_unverified_header(GENUINE)
        believed += [what] if genuine else []
    assert believed == []
    assert jwt.decode(GENUINE, public, algorithms=["EdDSA"], audience="center") == CLAIMS


async def test_fewer_actions_than_the_floor_fail_a_run() -> None:
    def idle(me: object, seconds: float) -> object:
        yield Pause(0)

    heroes = muster([("nobody", 1)], 2, 1, Meter())
    journey = Journey("idle", "does nothing", idle, lambda seconds: 1)  # type: ignore[arg-type]
    fleet = await sail(heroes, [journey], 0)
    assert not fleet.passed
    assert fleet.below_floor == ["0 actions, the floor is 2"]


def test_bots_of_one_seed_decide_alike_under_new_names() -> None:
    one, two = (muster([("nobody", 1)], 3, 7, Meter()) for _ in range(2))
    assert [me.rng.random() for me in one] == [me.rng.random() for me in two]
    assert not {me.name for me in one} & {me.name for me in two}
    assert all(2 <= len(me.name) <= 16 for me in muster([("nobody", 1)], 500, 1, Meter()))
    assert isinstance(one[0].rng, random.Random)


def test_every_promised_proof_is_listed_with_what_runs_it() -> None:
    listed = proofs()
    assert list(listed)[:7] == [
        "node-killed", "mysql-killed", "redis-primary-killed", "redis-wiped", "two-logins",
        "hostile-client", "disconnects",
    ]  # fmt: skip
    assert all(callable(proof.run()) and proof.promise for proof in listed.values())


async def test_no_more_come_in_at_once_than_told() -> None:
    heroes = muster([("127.0.0.1", 1)], 5, 1, Meter())
    coming: set[str] = set()
    most = 0

    def walk(me: Hero, _: float) -> Walk[None]:
        nonlocal most
        coming.add(me.name)
        most = max(most, len(coming))
        yield Pause(5)
        coming.remove(me.name)
        me.session_token = "here"
        yield Pause(5)

    fleet = await sail(heroes, [Journey("come", "", walk, lambda _: 0)], 0, arriving_max=2)
    assert (most, fleet.meter.errors, len(fleet.heroes)) == (2, 0, 5)


AWAY = redis.exceptions.ClusterDownError("The cluster is down")


@pytest.mark.parametrize(
    ("shown", "compared", "wrong"),
    [
        ([AWAY, {7: 2}, {7: 3}], 1, []),
        ([{7: 3}, AWAY], 1, []),
        ([{7: 4}, {7: 3}], 1, ["Redis is ahead of MySQL for player 7"]),
        ([{7: 2}], 1, ["Redis holds version 2 of player 7, MySQL 3"]),
        ([AWAY], 0, ["30 s later a store is away: The cluster is down"]),
        ([{}], 0, []),
    ],
)
def test_two_stores_agree_as_soon_as_both_say_the_same_and_no_later_than_told(
    monkeypatch: pytest.MonkeyPatch, shown: list[Any], compared: int, wrong: list[str]
) -> None:
    passed = [0.0]
    clock = SimpleNamespace(
        monotonic=lambda: passed[0], sleep=lambda s: passed.append(passed.pop() + s)
    )
    monkeypatch.setattr(stores_of_proofs, "time", clock)

    class Shown(Stores):
        def __init__(self) -> None:
            pass

        def snapshots(self, users: list[int]) -> dict[int, int]:
            answer = shown.pop(0) if len(shown) > 1 else shown[0]
            if isinstance(answer, Exception):
                raise answer
            return dict(answer)

        def heads(self) -> dict[int, int]:
            return {7: 3}

    assert Shown().agree([7], 30.0) == (compared, wrong)
