"""What the node relies on at the seam, asked of the fake core and of the real one alike."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from tests.contract.core_sides import FakeSide, RealSide, Side

from mmo import _core
from mmo.config import CoreSettings
from mmo.wire.codec import decode
from mmo.wire.messages.session import Closing
from mmo.wire.opcode import CloseReason, Op

MakeSide = Callable[..., Any]
CLAIMS = {"jti": "j", "epoch": 3, "name": "한글 'x'"}


@pytest.fixture(params=[FakeSide, RealSide], ids=["fake", "real"])
def make_side(request: pytest.FixtureRequest) -> Iterator[MakeSide]:
    made: list[Side] = []

    def make(*arguments: Any) -> Any:
        made.append(request.param(*arguments))
        return made[-1]

    yield make
    for side in made:
        side.end()


def entered(side: Any, user: int = 7) -> tuple[Any, int]:
    """A client that showed a token, and its connection id."""
    client = side.connect()
    known = len([event for event in side.events if event[2] == Op.OPENED])
    opened = side.until(
        lambda: [event for event in side.events if event[2] == Op.OPENED][known:][:1]
    )[0]
    client.enter(user, 1, CLAIMS)
    side.event(Op.ENTER, opened[0])
    return client, opened[0]


def test_settings_of_both_sides_are_the_same_list() -> None:
    names = tuple(field.name for field in msgspec.structs.fields(CoreSettings))
    assert names == tuple(_core.SETTINGS_FIELDS)


def test_close_reasons_of_both_sides_are_the_same_list() -> None:
    assert {reason.name: int(reason) for reason in CloseReason} == _core.CLOSE_REASONS


def test_connection_when_opened_used_and_left_tells_it_in_order(make_side: MakeSide) -> None:
    side = make_side()
    client, conn = entered(side)
    client.send(Op.HIT, 9, b"\x91\x05")
    side.event(Op.HIT)
    client.leave()
    side.event(Op.CLOSED, conn)
    mine = [event for event in side.events if event[0] == conn]
    assert [event[2] for event in mine] == [Op.OPENED, Op.ENTER, Op.HIT, Op.CLOSED]
    assert mine[0][4].startswith(b"127.0.0.1:") and mine[0][1] == 0
    assert mine[2] == (conn, 7, Op.HIT, 9, b"\x91\x05")
    assert mine[3][3] == CloseReason.PEER_CLOSED


def test_token_when_verified_is_handed_over_with_its_claims(make_side: MakeSide) -> None:
    side = make_side()
    _, conn = entered(side, user=2**62)
    _, user, _, seq, body = side.event(Op.ENTER, conn)
    shown = json.loads(body)
    assert (user, seq, shown["typ"]) == (2**62, 1, "session+jwt")
    assert {name: shown["claims"][name] for name in CLAIMS} == CLAIMS


def test_answers_when_sent_arrive_in_order_with_their_numbers(make_side: MakeSide) -> None:
    side = make_side()
    client, conn = entered(side)
    sent = [(int(Op.HIT_OK), seq, bytes([seq % 251]) * seq) for seq in range(200)]
    assert side.core.send_many([(conn, *frame) for frame in sent]) == []
    side.until(lambda: len(client.frames()) >= 200)
    assert client.frames() == sent


def test_answer_when_late_reaches_nobody(make_side: MakeSide) -> None:
    side = make_side()
    client, gone = entered(side)
    client.leave()
    side.event(Op.CLOSED, gone)
    other, conn = entered(side)
    refused = side.core.send_many([(gone, 1, 0, b"late"), (gone, 1, 0, b""), (conn, 2, 0, b"on")])
    assert refused == [gone]
    side.until(other.frames)
    assert other.frames() == [(2, 0, b"on")]


def test_close_when_asked_flushes_tells_why_and_ends_once(make_side: MakeSide) -> None:
    side = make_side()
    client, conn = entered(side)
    side.core.send_many([(conn, int(Op.HIT_OK), 5, b"last")])
    side.core.close(conn, CloseReason.SESSION_TAKEN)
    side.core.close(conn, CloseReason.KICKED)
    side.core.close(999_999, CloseReason.KICKED)
    assert side.event(Op.CLOSED, conn)[3] == CloseReason.SESSION_TAKEN
    side.until(client.is_closed)
    frames = client.frames()
    assert frames[0] == (Op.HIT_OK, 5, b"last")
    assert decode(*frames[1][::2]) == Closing(CloseReason.SESSION_TAKEN)
    side.pump()
    assert [event[2] for event in side.events if event[0] == conn].count(Op.CLOSED) == 1


def test_connection_when_demoted_may_show_a_token_again(make_side: MakeSide) -> None:
    side = make_side()
    client, conn = entered(side)
    side.core.set_user(conn, 0)
    side.core.set_user(999_999, 0)
    side.core.send_many([(conn, int(Op.REFUSED), 1, b"again")])
    side.until(client.frames)
    client.enter(8, 2, CLAIMS)
    side.until(lambda: [event for event in side.events if event[2] == Op.ENTER][1:])
    assert side.events[-1][:2] == (conn, 8)


def test_fanout_when_some_are_gone_reaches_the_others(make_side: MakeSide) -> None:
    side = make_side()
    clients = [entered(side, user) for user in (1, 2, 3)]
    conns = [conn for _, conn in clients]
    assert side.core.fanout([*conns, 999_999], 77, b"body") == 3
    for client, _ in clients:
        side.until(client.frames)
        assert client.frames() == [(77, 0, b"body")]


def test_pump_when_limited_leaves_the_rest_readable(make_side: MakeSide) -> None:
    side = make_side()
    client, _ = entered(side)
    for seq in range(10):
        client.send(Op.HIT, seq, b"")
    batches: list[int] = []
    taken = 0

    def take(events: list[Any]) -> None:
        nonlocal taken
        batches.append(len(events))
        taken += len(events)

    side.pump = lambda: None
    side.until(lambda: side.core.pump(take, 3) is not None and taken == 10)
    assert max(batches) <= 3
    assert side.core.pump(take, 3) == 0 and sum(batches) == 10


def test_pump_when_the_callback_raises_passes_it_on(make_side: MakeSide) -> None:
    side = make_side()
    client, _ = entered(side)
    client.send(Op.HIT, 1, b"")

    def fail(events: list[Any]) -> None:
        raise KeyError("of the test")

    def raised() -> bool:
        try:
            side.core.pump(fail, 10)
        except KeyError:
            return True
        return False

    side.pump = lambda: None
    side.until(raised)


def test_shutdown_when_begun_tells_everyone_and_stops_last(make_side: MakeSide) -> None:
    side = make_side()
    clients = [entered(side, user) for user in (1, 2)]
    side.core.begin_shutdown(500)
    side.core.begin_shutdown(500)
    side.event(Op.STOPPED)
    assert side.events[-1][2] == Op.STOPPED
    for client, conn in clients:
        assert side.event(Op.CLOSED, conn)[3] == CloseReason.SERVER_STOPPING
        side.until(client.is_closed)
        assert decode(*client.frames()[-1][::2]) == Closing(CloseReason.SERVER_STOPPING)
    side.core.finish_shutdown()
    side.core.finish_shutdown()


def test_link_when_dialled_names_the_peer_and_carries_messages() -> None:
    center, channel = RealSide(2, "center"), RealSide(11, "channel")
    try:
        channel.core.dial(2, f"127.0.0.1:{center.ports['link']}")
        up = channel.event(Op.PEER_UP)
        there = center.event(Op.PEER_UP)
        assert (up[1], up[4]) == (2, b"center:102")
        assert (there[1], there[4]) == (11, b"channel:111")
        channel.core.send_many([(up[0], int(Op.NODE_HEALTH), 0, b"\x91\x07")])
        heard = center.event(Op.NODE_HEALTH)
        assert heard[1:] == (11, Op.NODE_HEALTH, 0, b"\x91\x07")
        channel.core.undial(2)
        down = center.event(Op.PEER_DOWN)
        assert (down[1], down[4]) == (11, b"")
        channel.event(Op.PEER_DOWN)
    finally:
        center.end()
        channel.end()
