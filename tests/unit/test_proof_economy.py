"""The judges of the economy's proofs can say no: the witness on the wire, operations, payments."""

import msgspec

from mmo.client.protocol import HEADER, frame
from mmo.proof.economy import operation_faults
from mmo.proof.economy_witness import Witness, WitnessedProtocol
from mmo.wire import codec
from mmo.wire.messages.season_pass import PassProgressed
from mmo.wire.messages.session import Refused
from mmo.wire.messages.shop import Buy, BuyOk
from mmo.wire.opcode import Op

BUY = Buy((3, 1), 7, 5, 1, 2)
OK = BuyOk(5, 1, 0, 2, 98, 0, 0, [])
NUMBER = ("ann", 3, 1)


def seen(*answers: object) -> Witness:
    """What a witness saw of one request and these answers, each on a connection of its own."""
    witness = Witness()
    for answer in answers:
        protocol = WitnessedProtocol(witness, "ann")
        seq, _ = protocol.ask(BUY)
        protocol.receive(frame(answer.opcode, seq, codec.encode(answer)))  # type: ignore[attr-defined]
    return witness


def test_the_witness_counts_what_was_sent_and_keeps_the_first_answer() -> None:
    witness = seen(OK, OK)
    assert witness.sent == {NUMBER: 2}
    assert witness.answers == {NUMBER: 2}
    assert witness.told == {NUMBER: int(Op.BUY_OK).to_bytes(2, "little") + codec.encode(OK)}
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
    protocol = WitnessedProtocol(witness, "ann")
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
    WitnessedProtocol(witness, "ann").ask(BUY)
    assert not operation_faults(witness, {})
    assert not operation_faults(witness, {NUMBER: b"any"})
