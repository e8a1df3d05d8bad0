"""Bodies of messages: any bytes are a message or a WireError, appended fields are compatible."""

import importlib
import pkgutil
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmo.wire.messages
from mmo.errors import WireError
from mmo.wire import codec
from mmo.wire.messages.account import Login, Register
from mmo.wire.messages.hunt import ChannelEnter, Hit, KillReward
from mmo.wire.messages.presence import ItemView, Move, ServerRow, Welcome
from mmo.wire.messages.session import Closing, Hello, Refused
from mmo.wire.opcode import INTERNAL, Code, Op

for _module in pkgutil.iter_modules(mmo.wire.messages.__path__):
    importlib.import_module(f"mmo.wire.messages.{_module.name}")

OPCODES = tuple(
    number
    for number in codec.opcodes()
    if (cls := codec.class_of(number)) and cls.__module__.startswith("mmo.wire.")
)

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.sampled_from(OPCODES), st.binary(max_size=200))
def test_body_when_any_bytes_then_is_a_message_or_a_wire_error(opcode: int, body: bytes) -> None:
    try:
        decoded = codec.decode(opcode, body)
    except WireError as fault:
        assert str(fault)
        return
    assert type(decoded) is codec.class_of(opcode)


@given(st.sampled_from(OPCODES), st.lists(PLAIN, max_size=12))
def test_body_when_any_array_then_is_a_message_that_survives_a_round_trip_or_a_wire_error(
    opcode: int, fields: list[Any]
) -> None:
    try:
        decoded = codec.decode(opcode, msgspec.msgpack.encode(fields))
    except WireError as fault:
        assert str(fault)
        return
    assert codec.decode(opcode, codec.encode(decoded)) == decoded


@pytest.mark.parametrize("depth", [50, 2_000, 100_000])
def test_body_when_nested_deeply_then_is_a_wire_error(depth: int) -> None:
    for opcode in (Op.HELLO, Op.HIT, Op.LOGIN):
        with pytest.raises(WireError):
            codec.decode(opcode, b"\x91" * depth)


@pytest.mark.parametrize(
    ("opcode", "fields"),
    [
        (Op.HIT, []),
        (Op.HIT, ["1"]),
        (Op.HIT, [1.5]),
        (Op.HIT, [None]),
        (Op.HIT, [2**63]),
        (Op.HIT, {"monster": 1}),
        (Op.HIT, 1),
        (Op.LOGIN, ["name"]),
        (Op.LOGIN, ["n" * 257, "password"]),
        (Op.LOGIN, ["name", "p" * 1025]),
        (Op.LOGIN, ["name", "password", "t" * 65]),
        (Op.HELLO, ["1"]),
        (9_999, [1]),
        (0, []),
        (-1, []),
    ],
)
def test_body_when_a_field_is_wrong_then_is_a_wire_error(opcode: int, fields: Any) -> None:
    with pytest.raises(WireError):
        codec.decode(opcode, msgspec.msgpack.encode(fields))


def test_text_when_it_is_not_utf8_then_is_a_wire_error() -> None:
    lone_surrogate = b"\xa3\xed\xa0\x80"
    with pytest.raises(WireError):
        codec.decode(Op.LOGIN, b"\x92" + lone_surrogate + b"\xa1p")


@pytest.mark.parametrize("number", [0, -1, 1, 2**63 - 1, -(2**63)])
def test_number_when_at_its_limits_then_arrives_as_sent(number: int) -> None:
    values: list[Any] = [Hit(number), ChannelEnter(number), Move(number)]
    for value in values:
        assert codec.decode(value.opcode, codec.encode(value)) == value


@pytest.mark.parametrize("name", ["쿼카", "O'Brien\"", "a\0b", "🦘", ""])
def test_name_when_in_any_script_then_arrives_as_sent(name: str) -> None:
    values: list[Any] = [Login(name, "password"), Register(name, "password")]
    for value in values:
        assert codec.decode(value.opcode, codec.encode(value)) == value


def test_user_when_above_16_and_32_bits_then_arrives_as_sent() -> None:
    for user in (65_536, 2**32, 2**53 + 1, 2**63 - 1):
        welcome = Welcome(user, "n", 1, 0, 11, 1, 0, 0, 0, 0, 0, 0, [], [], [])
        assert codec.decode(Op.WELCOME, codec.encode(welcome)).user == user


def test_reply_when_encoded_then_has_exactly_the_bytes_of_its_values() -> None:
    assert len(codec.encode(Refused(Code.MONSTER_DEAD, "700"))) == 8
    assert codec.encode(Closing(17)) == b"\x91\x11"


def test_list_when_it_has_ten_thousand_rows_then_encodes_and_decodes() -> None:
    items = [ItemView(uid, 2, uid, 1, 999, 0) for uid in range(10_000)]
    welcome = Welcome(1, "n", 1, 0, 11, 1, 0, 0, 0, 0, 0, 0, [], [], items)
    assert codec.decode(Op.WELCOME, codec.encode(welcome)).materials == items


def test_message_when_a_newer_peer_appended_fields_then_an_older_one_still_reads_it() -> None:
    longer = msgspec.msgpack.encode([7, "a field of tomorrow", {"x": 1}])
    assert codec.decode(Op.HIT, longer) == Hit(7)


def test_message_when_an_older_peer_left_out_appended_fields_then_defaults_stand() -> None:
    shorter = msgspec.msgpack.encode([1, 2, 3, 4, 5, 6, 7])
    assert codec.decode(Op.KILL_REWARD, shorter) == KillReward(1, 2, 3, 4, 5, 6, 7)


def test_fingerprint_when_a_field_with_a_default_is_appended_then_is_the_same() -> None:
    class Before(msgspec.Struct, array_like=True):
        number: int
        text: str = ""

    class After(msgspec.Struct, array_like=True):
        number: int
        text: str = ""
        more: int = 0

    class Other(msgspec.Struct, array_like=True):
        number: Annotated[int, msgspec.Meta(ge=0)]
        text: str = ""

    def fingerprint(cls: type) -> int:
        cls.__name__ = "Before"
        return codec.fingerprint_of(cls)

    assert fingerprint(Before) == fingerprint(After) != fingerprint(Other)


def test_fingerprints_when_taken_then_cover_every_client_message_and_no_link_message() -> None:
    fingerprints = codec.fingerprints()
    ours = {opcode for opcode in OPCODES if opcode >= 100 and opcode not in INTERNAL}
    assert set(fingerprints) & set(OPCODES) == ours and min(fingerprints) >= 100
    assert all(0 <= value < 2**32 for value in fingerprints.values())
    hello = Hello(1, fingerprints)
    assert codec.decode(Op.HELLO, codec.encode(hello)) == hello


def test_messages_when_declared_then_are_frozen_arrays_under_a_known_opcode() -> None:
    for opcode in OPCODES:
        cls = codec.class_of(opcode)
        assert cls is not None and Op(opcode)
        assert cls.__struct_config__.array_like, cls  # type: ignore[attr-defined]
        assert cls.__struct_config__.frozen, cls  # type: ignore[attr-defined]
        assert cls.opcode == opcode  # type: ignore[attr-defined]


def test_opcode_when_declared_twice_then_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        codec.message(Op.HIT)(ServerRow)
