"""Anything at all as bytes, tables, configuration and snapshots: refused by name, or understood.

What is understood must survive being said again. A failing example is kept by Hypothesis in its
database and, once mended, below as an `@example`.
"""

import shutil
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mmo.config.load import load_config
from mmo.content import data_directory, load_content
from mmo.errors import ConfigError, ContentError, WireError
from mmo.state.bag import Item
from mmo.state.player import Snapshot
from mmo.store import redis_cluster
from mmo.wire import codec

QUICK = settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
FEW = settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
VALUES = st.recursive(LEAVES, lambda one: st.lists(one, max_size=6), max_leaves=12)


def said_again(opcode: int, body: bytes) -> None:
    try:
        message = codec.decode(opcode, body)
    except WireError:
        return
    again = codec.encode(message)
    assert codec.decode(opcode, again) == message
    assert codec.encode(codec.decode(opcode, again)) == again


@QUICK
@given(st.sampled_from(codec.opcodes()), st.binary(max_size=200))
@example(702, b"\x95\x92\x01\x01\x01\x01\x01\x01")
@example(105, b"\xff" * 40)
@example(300, b"\xdd\xff\xff\xff\xff")
def test_any_bytes_are_refused_or_mean_the_same_when_said_again(opcode: int, body: bytes) -> None:
    said_again(opcode, body)


@QUICK
@given(st.sampled_from(codec.opcodes()), st.lists(VALUES, max_size=20))
def test_any_array_is_refused_or_means_the_same_when_said_again(
    opcode: int, fields: list[Any]
) -> None:
    said_again(opcode, msgspec.msgpack.encode(fields))


@FEW
@given(st.integers(1, 2_000))
def test_depth_is_refused_and_never_breaks_the_decoder(depth: int) -> None:
    for opcode in codec.opcodes():
        said_again(opcode, b"\x91" * depth + b"\xc0")


@QUICK
@given(st.binary(max_size=300))
@example(b"")
@example(b"\x92\x01\x90")
def test_any_blob_in_redis_is_no_snapshot_or_a_whole_one(blob: bytes) -> None:
    try:
        kept = redis_cluster._decode(blob)
    except msgspec.MsgspecError:
        return
    assert isinstance(kept.snapshot, Snapshot)
    assert redis_cluster._decode(redis_cluster.blob_of(kept.user, kept.snapshot)) == kept


@QUICK
@given(st.data())
def test_a_damaged_snapshot_is_refused_or_still_has_the_types_of_one(data: st.DataObject) -> None:
    whole = Snapshot(3, 2, 1, 500, 0, 7, 0, [Item(1, 0, 0, 1, 1), Item(2, 1, 3, 2, 9)], [], [])
    blob = bytearray(redis_cluster.blob_of(77, whole))
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    del blob[data.draw(st.integers(0, len(blob))) :]
    try:
        kept = redis_cluster._decode(bytes(blob))
    except msgspec.MsgspecError:
        return
    assert all(isinstance(item, Item) for item in kept.snapshot.items)
    assert isinstance(kept.snapshot.gold, int)


def keys(tree: dict[str, Any], path: str = "") -> list[str]:
    found = []
    for name, value in tree.items():
        found += keys(value, f"{path}{name}.") if isinstance(value, dict) else [path + name]
    return found


REFERENCE = Path(load_config.__code__.co_filename).parent.parent / "default.toml"
KEYS = [key for key in keys(tomllib.loads(REFERENCE.read_text())) if key != "nodes"]
WORDS = st.sampled_from(
    ["-1", "0", "1", "2147483648", "9223372036854775807", "1.5", "true", '""', '"text"', "[]",
     "[1]", "{ a = 1 }", "1979-05-27", "nan", '"\\u0000"']
)  # fmt: skip


@FEW
@given(st.lists(st.tuples(st.sampled_from(KEYS), WORDS), min_size=1, max_size=3))
@example([("net.idle_ms", "nan")])
def test_any_value_of_any_key_is_refused_by_name_or_taken(pairs: list[tuple[str, str]]) -> None:
    text = "".join(f"{key} = {value}\n" for key, value in dict(pairs).items())
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(text)
        file.flush()
        try:
            loaded = load_config(Path(file.name), {})
        except ConfigError as refused:
            assert refused.code.startswith("E01")
            return
    assert loaded.config.nodes


@FEW
@given(st.binary(max_size=120) | st.text(max_size=120).map(lambda text: text.encode()))
def test_any_file_is_refused_by_name_or_is_a_configuration(body: bytes) -> None:
    with tempfile.NamedTemporaryFile("wb", suffix=".toml") as file:
        file.write(body)
        file.flush()
        try:
            load_config(Path(file.name), {})
        except ConfigError as refused:
            assert refused.code.startswith("E01")


@FEW
@given(st.data())
def test_a_damaged_table_is_refused_by_name_or_still_is_a_game(data: st.DataObject) -> None:
    names = sorted(path.name for path in data_directory().glob("*.toml"))
    with tempfile.TemporaryDirectory() as directory:
        tables = Path(shutil.copytree(data_directory(), Path(directory) / "data"))
        file = tables / data.draw(st.sampled_from(names))
        lines = file.read_text(encoding="utf-8").splitlines()
        place = data.draw(st.integers(0, len(lines) - 1))
        kind = data.draw(st.sampled_from(["drop", "double", "value", "noise"]))
        if kind == "drop":
            del lines[place]
        elif kind == "double":
            lines.insert(place, lines[place])
        elif kind == "value" and "=" in lines[place]:
            lines[place] = lines[place].partition("=")[0] + "= " + data.draw(WORDS)
        else:
            lines[place] = data.draw(st.text(max_size=30).filter(lambda text: "\n" not in text))
        file.write_text("\n".join(lines), encoding="utf-8")
        try:
            content = load_content(tables)
        except ContentError as refused:
            assert refused.code.startswith("E06")
            return
    assert content.levels.level_max >= 1
    assert content.shop.lines is not None
