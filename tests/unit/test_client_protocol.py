"""The client protocol without I/O: frames in any pieces, answers matched, pushes told apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmo.client.protocol import Answer, ClientProtocol, Ping, Pong, Push, Stray, Token, frame, hello
from mmo.errors import WireError
from mmo.wire import codec
from mmo.wire.messages.hunt import Hit, HitOk, KillReward
from mmo.wire.messages.session import Closing, Refused
from mmo.wire.opcode import INTERNAL, CloseReason, Op


def body(message: object) -> bytes:
    return codec.encode(message)


REWARD = KillReward(1, 1, 1, 1, 0, 5, 5)


def test_a_request_is_one_frame_with_the_next_number() -> None:
    protocol = ClientProtocol()
    seq, data = protocol.ask(Hit(5))
    assert (seq, data) == (1, frame(Op.HIT, 1, body(Hit(5))))
    assert protocol.ask(Token("a.b.c")) == (2, frame(Op.ENTER, 2, b"a.b.c"))
    assert protocol.ask(Ping(b"xy")) == (3, frame(Op.PING, 3, b"xy"))


@given(st.lists(st.integers(1, 40), max_size=60))
def test_events_are_the_same_however_the_bytes_are_cut(cuts: list[int]) -> None:
    stream = (
        frame(Op.HIT_OK, 1, body(HitOk(5, 3, 0, True)))
        + frame(Op.KILL_REWARD, 0, body(REWARD))
        + frame(Op.PONG, 2, b"")
        + frame(Op.REFUSED, 3, body(Refused(405, "12")))
    )
    protocol = ClientProtocol()
    for message in (Hit(5), Ping(), Hit(5)):
        protocol.ask(message)
    events = []
    for cut in [*cuts, len(stream)]:
        events += protocol.receive(stream[:cut])
        stream = stream[cut:]
    assert events == [
        Answer(1, HitOk(5, 3, 0, True)),
        Push(REWARD),
        Answer(2, Pong(b"")),
        Answer(3, Refused(405, "12")),
    ]
    assert not protocol.waiting


def test_a_second_answer_to_one_request_is_a_stray() -> None:
    protocol = ClientProtocol()
    protocol.ask(Hit(5))
    reply = frame(Op.REFUSED, 1, body(Refused(404)))
    assert protocol.receive(reply + reply) == [Answer(1, Refused(404)), Stray(1, Refused(404))]


def test_a_push_that_carries_a_request_number_answers_nothing() -> None:
    protocol = ClientProtocol()
    protocol.ask(Hit(5))
    assert protocol.receive(frame(Op.KILL_REWARD, 1, body(REWARD))) == [Push(REWARD)]
    assert protocol.waiting == {1}


def test_what_answers_no_request_is_a_push_whatever_it_is() -> None:
    """A game's own, of which this client knows the form and no more."""
    protocol = ClientProtocol()
    protocol.ask(Hit(5))
    assert protocol.receive(frame(Op.HIT_OK, 0, body(HitOk(5, 3, 0, True)))) == [
        Push(HitOk(5, 3, 0, True))
    ]
    assert protocol.waiting == {1}


def test_closing_tells_the_reason() -> None:
    protocol = ClientProtocol()
    closing = frame(Op.CLOSING, 0, body(Closing(int(CloseReason.SESSION_TAKEN))))
    assert protocol.receive(closing) == []
    assert protocol.reason == CloseReason.SESSION_TAKEN


@pytest.mark.parametrize("length", [0, 5, 1 << 21, 0xFFFF_FFFF])
def test_an_impossible_length_from_a_server_is_an_error(length: int) -> None:
    with pytest.raises(WireError):
        ClientProtocol().receive(length.to_bytes(4, "little") + bytes(6))


def test_an_unknown_push_is_passed_over_but_an_unknown_answer_is_an_error() -> None:
    protocol = ClientProtocol()
    assert protocol.receive(frame(60000, 0, b"\x90")) == []
    protocol.ask(Hit(5))
    with pytest.raises(WireError):
        protocol.receive(frame(60000, 1, b"\x90"))


def test_hello_tells_a_fingerprint_of_every_client_message() -> None:
    prints = hello().fingerprints
    assert prints[Op.HIT] == codec.fingerprint(Op.HIT)
    assert not any(number < 100 for number in prints)
    inside = {
        number for number in codec.opcodes() if "Internal" in str(codec.class_of(number).__doc__)
    }
    assert {number for number in inside if number >= 100} == INTERNAL
    assert not INTERNAL & prints.keys()
    assert hello(unlike=int(Op.HIT)).fingerprints[Op.HIT] != prints[Op.HIT]
