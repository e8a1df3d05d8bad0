"""The judges of the economy's proofs can say no: the witness on the wire, operations, payments."""

from typing import Any

import msgspec

from mmo.client.protocol import HEADER, frame
from mmo.proof.duplicates import judge_refusals, judge_spread
from mmo.proof.economy import operation_faults
from mmo.proof.economy_witness import Witness, WitnessedProtocol
from mmo.proof.verdict import Trial
from mmo.wire import codec
from mmo.wire.messages.season_pass import PassProgressed
from mmo.wire.messages.session import Refused
from mmo.wire.messages.shop import Buy, BuyOk
from mmo.wire.opcode import Code, Op

BUY = Buy((3, 1), 7, 5, 1, 2)
OK = BuyOk(5, 1, 0, 2, 98, 0, 0, [])
NUMBER = ("ann", 3, 1)


def seen(*answers: Any) -> Witness:
    """What a witness saw of one request and these answers, each on a connection of its own."""
    witness = Witness()
    for answer in answers:
        protocol = WitnessedProtocol(witness, "ann", 7)
        seq, _ = protocol.ask(BUY)
        protocol.receive(frame(answer.opcode, seq, codec.encode(answer)))
    return witness


def test_the_witness_counts_what_was_sent_and_keeps_the_first_answer() -> None:
    witness = seen(OK, OK)
    assert witness.sent == {NUMBER: 2}
    assert witness.answers == {NUMBER: 2}
    assert witness.told == {NUMBER: int(Op.BUY_OK).to_bytes(2, "little") + codec.encode(OK)}
    assert witness.servers == {NUMBER: {7}}
    assert not witness.differences


def test_a_second_answer_of_other_bytes_is_a_difference() -> None:
    witness = seen(OK, msgspec.structs.replace(OK, balance=96))
    assert len(witness.differences) == 1
    assert "was answered" in witness.differences[0]


def test_a_refusal_acknowledges_nothing() -> None:
    witness = seen(Refused(8))
    assert not witness.told
    assert witness.refused == {NUMBER: [8]}


def test_a_push_that_repeats_the_number_of_a_request_is_no_answer() -> None:
    witness = Witness()
    protocol = WitnessedProtocol(witness, "ann", 7)
    seq, _ = protocol.ask(BUY)
    push = frame(Op.PASS_PROGRESS, seq, codec.encode(PassProgressed(1, 1, 1, 1, 1)))
    whole = push + frame(Op.BUY_OK, seq, codec.encode(OK)) + push
    for at in range(0, len(whole), HEADER.size):
        protocol.receive(whole[at : at + HEADER.size])
    assert witness.told == seen(OK).told
    assert witness.answers == {NUMBER: 1}


def test_an_acknowledged_operation_must_be_stored_with_its_answer() -> None:
    witness, answer = seen(OK), codec.encode(OK)
    assert not operation_faults(witness, {NUMBER: answer})
    assert "is not in the database" in operation_faults(witness, {})[0]
    assert "stored" in operation_faults(witness, {NUMBER: answer + b"x"})[0]
    stored = {NUMBER: answer, ("ann", 3, 2): answer}
    assert "was never sent" in operation_faults(witness, stored)[0]


def test_an_operation_of_unknown_fate_may_be_stored_or_not() -> None:
    witness = Witness()
    WitnessedProtocol(witness, "ann", 7).ask(BUY)
    assert not operation_faults(witness, {})
    assert not operation_faults(witness, {NUMBER: b"any"})


def refusals(*codes: int) -> bool:
    """Whether a purged operation whose later copies were refused with `codes` passes."""
    witness = seen(OK, *map(Refused, codes))
    trial = Trial("storm", lambda _: None)
    judge_refusals(trial, witness)
    return trial.verdict().held


def test_a_purged_operation_must_be_refused_as_expired_at_last() -> None:
    assert refusals(int(Code.OPERATION_EXPIRED))
    assert refusals(int(Code.RETRY_LATER), int(Code.OPERATION_EXPIRED))
    assert not refusals()
    assert not refusals(int(Code.OPERATION_EXPIRED), int(Code.NOT_ENOUGH_GOLD))


def spread(copies: int, ports: tuple[int, ...]) -> list[str]:
    """What is found of a storm of so many copies that servers at these ports answered."""
    witness = Witness()
    for copy in range(copies):
        witness.asked(NUMBER, 7, int(Op.BUY), b"")
        witness.answered(NUMBER, ports[copy % len(ports)], int(Op.BUY_OK), b"same", 0)
    trial = Trial("storm", lambda _: None)
    judge_spread(trial, witness)
    return trial.verdict().findings


def test_a_storm_of_few_copies_or_at_one_server_proves_nothing() -> None:
    assert not spread(20, (1, 2))
    assert "more than 3 times" in spread(3, (1, 2))[0]
    assert "by two servers" in spread(20, (1,))[0]
    assert "told twice" in spread(1, (1,))[-1]
