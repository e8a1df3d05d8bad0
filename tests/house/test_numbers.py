"""Numbers that others rely on: opcodes, refusal codes, core settings, limits in the config.

Owns the comparison of lists that must agree; never changes one.
"""

import importlib
import re
import tomllib
from enum import IntEnum

from tests.house.tree import PACKAGE, table

from mmo.config import CoreSettings
from mmo.node.handlers import LINK_OPCODES
from mmo.wire import codec, opcode
from mmo.wire.opcode import CloseReason, Code, Op

LINKS = range(16, 100)
LIFECYCLE = range(0, 16)


def twice(numbers: type[IntEnum]) -> list[str]:
    """Names that share a number with another name."""
    return [name for name, member in numbers.__members__.items() if member.name != name]


def test_every_opcode_and_every_code_has_a_number_of_its_own() -> None:
    assert not twice(Op) and not twice(Code) and not twice(CloseReason)


def test_a_planted_double_number_is_found() -> None:
    class Planted(IntEnum):
        FIRST = 1
        SECOND = 1

    assert twice(Planted) == ["SECOND"]


def declared() -> list[int]:
    """Opcodes with a message of the package; other tests declare messages of their own."""
    for path in (PACKAGE / "wire" / "messages").glob("*.py"):
        importlib.import_module(f"mmo.wire.messages.{path.stem}")
    return [
        number
        for number in codec.opcodes()
        if (cls := codec.class_of(number)) and cls.__module__.startswith("mmo.wire.messages.")
    ]


def message_hundreds() -> dict[str, set[int]]:
    """Message module -> the hundreds of its opcodes (0 for links and lifecycle)."""
    found: dict[str, set[int]] = {}
    for number in declared():
        if number in LIFECYCLE:
            continue
        cls = codec.class_of(number)
        assert cls is not None
        found.setdefault(cls.__module__.split(".")[-1], set()).add(number // 100)
    return found


def test_each_system_has_its_own_hundred() -> None:
    hundreds = message_hundreds()
    assert all(len(numbers) == 1 for numbers in hundreds.values()), hundreds
    # Links are no system: their messages may stand in several files, all below a hundred.
    owners = [numbers.copy().pop() for numbers in hundreds.values() if numbers != {0}]
    assert len(owners) == len(set(owners)), hundreds
    assert all(name.endswith("link") for name, numbers in hundreds.items() if numbers == {0})


def test_every_declared_message_has_an_opcode_of_the_enum() -> None:
    assert set(declared()) <= {int(op) for op in Op}


def test_numbers_on_the_wire_never_change_their_meaning() -> None:
    rows = table("numbers.toml")
    moved = [
        f"{kind} {name}: was {number}, is {getattr(opcode, kind).__members__.get(name)}"
        for kind in ("Op", "Code", "CloseReason")
        for name, number in rows[kind].items()
        if getattr(opcode, kind).__members__.get(name) != number
    ]
    assert not moved, "a number is never reused: " + ", ".join(moved)


def test_every_number_on_the_wire_is_written_down() -> None:
    rows = table("numbers.toml")
    missing = [
        f"[{kind}] {member.name} = {int(member)}"
        for kind in ("Op", "Code", "CloseReason")
        for member in getattr(opcode, kind)
        if member.name not in rows[kind]
    ]
    assert not missing, "add to tests/house/numbers.toml:\n" + "\n".join(missing)


def test_links_and_clients_never_share_an_opcode() -> None:
    """The node gives these to links alone; the table of each role is judged with the roles."""
    assert LINK_OPCODES == LINKS
    assert all(op in LIFECYCLE or op in LINKS or op >= LINKS.stop for op in Op)


def test_the_settings_of_the_core_are_one_list_on_both_sides() -> None:
    from mmo import _core

    assert tuple(CoreSettings.__struct_fields__) == tuple(_core.SETTINGS_FIELDS)


def test_close_reasons_are_one_list_on_both_sides() -> None:
    from mmo import _core

    assert {reason.name: int(reason) for reason in CloseReason} == dict(_core.CLOSE_REASONS)


def uncommented(text: str) -> list[str]:
    """Keys of a TOML text with neither a comment at their end nor one above them, unless
    the same key was explained before (rows of an array of tables)."""
    found, told, section, explained = [], False, "", set[tuple[str, str]]()
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            told = False
        elif line.lstrip().startswith("#"):
            told = True
        elif line.startswith("["):
            section, told = line.split("#")[0].strip(), False
        elif key := re.match(r"[A-Za-z_][\w-]*(?=\s*=)", line):
            if told or "#" in line:
                explained.add((section, key[0]))
            elif (section, key[0]) not in explained:
                found.append(f"{number}: {line}")
    return found


def test_every_key_of_the_reference_config_is_explained() -> None:
    text = (PACKAGE / "default.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text)
    assert not uncommented(text), "\n".join(uncommented(text))


def test_a_planted_silent_key_is_found() -> None:
    assert uncommented("# told\na = 1\n\nb = 2\nc = 3 # told\n") == ["4: b = 2"]
    rows = "[[n]]\na = 1 # told\n[[n]]\na = 2\n[m]\na = 3\n"
    assert uncommented(rows) == ["6: a = 3"]
