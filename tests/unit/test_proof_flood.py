"""The judge of the flood: what no server judged does not count, and both sides must tell the
same."""

import random
from collections import Counter
from typing import Any

import pytest

from mmo.errors import WireError
from mmo.node.router import DECODE_FAULTS
from mmo.proof.flood_counts import REJECTIONS, Counted, Sent, agree, judge, tell
from mmo.proof.flood_guests import AT_CENTER, AT_CHANNEL
from mmo.proof.verdict import Trial, Verdict
from mmo.wire import codec
from mmo.wire.opcode import CloseReason, Op

PACKETS = 1_000
ODD = ("accepted", "unexplained", "open", "away")


def sent() -> Sent:
    """Thirty connections with two malformed messages each, and a thousand datagrams."""
    return Sent.read(
        {
            "closers": {"length_long": 10, "token": 20},
            "bodies": {"empty": 60},
            "datagrams": {"length": 400, "altered": 600},
            "connections": {"connected": 20, "greeted": 6, "proved": 4},
            "closed": {
                str(int(CloseReason.FRAME_TOO_LARGE)): 10,
                str(int(CloseReason.TOKEN_INVALID)): 20,
            },
            "refused": {"bad_message": 60},
            "odd": dict.fromkeys(ODD, 0),
            "seconds": 2.0,
        }
    )


def counted() -> Counted:
    """What servers count of that when the system drops twenty datagrams."""
    closed = Counter({"frame_too_large": 10, "token_invalid": 20})
    return Counted(closed=closed, refused=60, datagrams=980, dropped=20)


def verdict(one: Sent, other: Counted) -> Verdict:
    trial = Trial("flood", lambda _: None)
    judge(trial, one, other, PACKETS)
    tell(trial, one, other)
    return trial.verdict()


def test_a_flood_of_which_every_packet_was_judged_holds() -> None:
    told = verdict(sent(), counted())
    assert told.held, told.findings
    assert told.figures["judged"] == 1_070
    assert told.figures["datagrams_sent"] == 1_000
    assert told.figures["closed_by_reason"] == {"frame_too_large": 10, "token_invalid": 20}
    assert agree(sent(), counted())


def test_packets_that_were_sent_and_never_judged_do_not_count() -> None:
    lost = counted()
    lost.datagrams, lost.dropped = 500, 500
    told = verdict(sent(), lost)
    assert told.findings == ["only 590 of 1000 packets were judged"]


def test_datagrams_that_nobody_counted_do_not_hold() -> None:
    lost = counted()
    lost.datagrams -= 1
    told = verdict(sent(), lost)
    assert told.findings == [
        "of 1000 datagrams 979 were judged and 20 dropped; of 0 genuine ones 0 believed"
    ]
    assert not agree(sent(), lost)


def test_a_server_that_resets_everything_unread_does_not_hold() -> None:
    one = sent()
    one.closed, one.refused = Counter(), Counter()
    one.odd = Counter({"unexplained": 30})
    told = verdict(one, Counted(datagrams=1_000))
    assert not told.held
    assert "0 of 30 connections were closed for a packet" in told.findings
    assert "30 connections ended without a word" in told.findings
    assert not agree(one, Counted(datagrams=1_000))


@pytest.mark.parametrize("reason", ["frame_too_large", "token_invalid"])
def test_both_sides_tell_the_same_reasons(reason: str) -> None:
    other = counted()
    other.closed[reason] -= 1
    other.closed["unknown_opcode"] += 1
    assert not verdict(sent(), other).held


def test_a_malformed_message_that_was_not_refused_does_not_hold() -> None:
    other = counted()
    other.refused -= 1
    assert not verdict(sent(), other).held
    one = sent()
    one.refused["bad_message"] -= 1
    one.odd["accepted"] += 1
    assert len(verdict(one, counted()).findings) == 2


def test_a_malformed_datagram_that_was_believed_does_not_hold() -> None:
    other = counted()
    other.datagrams, other.believed = 979, 1
    other.weigh(sent())
    assert verdict(sent(), other).findings == ["1 malformed datagrams were believed"]


def test_genuine_proofs_of_one_flood_excuse_no_belief_of_another() -> None:
    both, all_counted = Sent(), Counted()
    for proofs, believed in ((3, 2), (0, 1)):
        one, other = sent(), counted()
        one.proofs = proofs
        other.datagrams, other.believed = 980 + proofs - believed, believed
        assert agree(one, other)
        other.weigh(one)
        both.add(one)
        all_counted.add(other)
    assert both.proofs == all_counted.believed == 3
    assert verdict(both, all_counted).findings == ["1 malformed datagrams were believed"]


def test_a_flood_is_not_counted_before_the_genuine_proofs_amid_it_are() -> None:
    one, other = sent(), counted()
    one.proofs = 2
    assert not agree(one, other)
    other.believed = 2
    assert agree(one, other)
    assert verdict(one, other).held


@pytest.mark.parametrize("name", ODD)
def test_what_must_not_be_does_not_hold(name: str) -> None:
    one = sent()
    one.odd[name] = 1
    assert not verdict(one, counted()).held


def test_floods_add_up_and_only_what_came_since_counts() -> None:
    def stats(closes: int, refused: dict[str, int], datagrams: int) -> dict[str, Any]:
        closed = {f"core_closed_{reason.name.lower()}_total": closes for reason in REJECTIONS}
        proofs = {"core_datagrams_refused_total": datagrams, "core_datagrams_proved_total": 1}
        return closed | refused | proofs | {"core_closed_peer_closed_total": 999}

    before = Counted.read([stats(1, {}, 5)], 7)
    after = Counted.read([stats(3, {"refused_bad_message_total": 4}, 25)], 9)
    since = after.since(before)
    assert since.total == 2 * len(REJECTIONS) + 4 + 20
    assert (since.believed, since.dropped) == (0, 2)
    twice = Counted()
    twice.add(since)
    twice.add(since)
    assert twice.total == 2 * since.total
    both = sent()
    both.add(sent())
    assert both.datagrams.total() == 2_000
    assert both.seconds == 4.0


def test_a_reason_that_nobody_knows_is_told_by_its_number() -> None:
    one = sent()
    one.closed["0"] = 1
    assert one.closed_by_name["0"] == 1
    assert not verdict(one, counted()).held


def test_the_bodies_of_the_flood_decode_as_no_message() -> None:
    rng = random.Random(5)
    heads = (b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x91\xdb\xff\xff\xff\xff")
    bodies = [head + rng.randbytes(rng.randrange(60)) for head in heads for _ in range(200)]
    bodies += [b"\x91" * depth for depth in (2, 60, 201)] + [b"\xa2no", b""]
    for opcode in (Op.REGISTER, Op.LOGIN, *AT_CENTER, *AT_CHANNEL):
        decode = codec.decoder_of(int(opcode))
        assert decode is not None, f"{opcode.name} has no body"
        for body in bodies:
            with pytest.raises(DECODE_FAULTS):
                decode(body)
    for body in bodies:
        with pytest.raises(WireError):
            codec.decode(Op.HELLO, body)
