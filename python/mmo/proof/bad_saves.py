"""A corpus of saves that must be refused, by kind; each is another one, drawn from a seed.

Owns the texts. Runs nothing. Called by the proof of bad bundles.
"""

import random
from collections.abc import Callable
from pathlib import Path

import msgspec

import mmo
from mmo.proof.live_code import RULES

DICE = "systems/dice.py"
WORDS = ("slime", "wolf", "ember", "stone", "raven", "storm", "quill", "thorn", "amber", "frost")


class BadSave(msgspec.Struct, frozen=True):
    """`path` below the game's folder, its text, and the codes of which one must refuse it."""

    path: str
    text: str
    codes: tuple[str, ...]


def _name(chance: random.Random) -> str:
    return f"{chance.choice(WORDS)}_{chance.randrange(10_000)}"


def _dice(chance: random.Random) -> str:
    return RULES.format(word=chance.randrange(1_000))


def _at_top(text: str, lines: str) -> str:
    return text.replace("\nWORD = ", f"\n{lines}\nWORD = ", 1)


def syntax(chance: random.Random) -> BadSave:
    """A line that does not parse, anywhere between two others."""
    name = _name(chance)
    line = chance.choice(
        [f"{name} = (", f"{name} = [1, 2", f"def {name}(:", f"{name} == = 3", "1x = 2", "'open",
         f"class {name}", "if True", f"{name} = {{1: 2", "return return", "for in :", "@@"]
    )  # fmt: skip
    lines = _dice(chance).splitlines()
    at = chance.randrange(lines.index("") + 1, len(lines) + 1)
    return BadSave(DICE, "\n".join([*lines[:at], line, *lines[at:]]) + "\n", ("E0428", "E0411"))


def imports(chance: random.Random) -> BadSave:
    """A module or a name that is not there."""
    name = _name(chance)
    line = chance.choice(
        [f"from mmo.systems.{name} import x", f"from mmo.state.bag import {name}",
         f"from mmo.systems.items import {name}", f"from mmo.wire.opcode import {name}",
         f"from game.messages.{name} import X", f"from game.messages.dice import {name}"]
    )  # fmt: skip
    return BadSave(DICE, _at_top(_dice(chance), line), ("E0412",))


def raises(chance: random.Random) -> BadSave:
    """A module that raises while it is imported."""
    number, name = chance.randrange(1, 1_000), _name(chance)
    line = chance.choice(
        [f"{name} = {number} // 0", f"{name} = (1, 2)[{number}]", f"{name} = missing_{name}",
         f"{name} = int('{name}')", f"{name} = None.{name}", f"assert {number} < 0"]
    )  # fmt: skip
    return BadSave(DICE, _at_top(_dice(chance), line), ("E0412",))


def endless(chance: random.Random) -> BadSave:
    """An import that never ends."""
    name, step = _name(chance), chance.randrange(1, 100)
    body = chance.choice(
        [f"    n = {step}\n    while n:\n        n += {step}\n    return n",
         f"    while True:\n        {name}_n = {step}",
         f"    return {name}() + {step} if False else sum(1 for _ in iter(int, {step}))"]
    )  # fmt: skip
    lines = f"\n\ndef {name}() -> int:\n{body}\n\n\nX_{name} = {name}()"
    return BadSave(DICE, _at_top(_dice(chance), lines), ("E0413",))


def memory(chance: random.Random) -> BadSave:
    """An import that wants more memory than any rule."""
    name, size = _name(chance), chance.randrange(2, 90) * 10**8
    line = chance.choice(
        [f"{name} = (0,) * {size}", f"{name} = 'x' * {size * 8}", f"{name} = bytes({size * 8})"]
    )
    return BadSave(DICE, _at_top(_dice(chance), line), ("E0412", "E0413"))


def opcodes(chance: random.Random) -> BadSave:
    """An opcode that is handled twice, has no message, or may not come this way."""
    name = _name(chance)
    number, by, code = chance.choice(
        [("ROLL_DICE", "", "E0402"), (str(chance.randrange(20_000, 60_000)), "", "E0405"),
         ("ROLL_DICE", ', by="open"', "E0402")]
    )  # fmt: skip
    lines = (
        f"\n\n@handles({number}{by})\n"
        f"def {name}(message: RollDice, *, env: Env) -> Outcome:\n    return Outcome()\n"
    )
    return BadSave(DICE, _dice(chance) + lines, (code,))


def signatures(chance: random.Random) -> BadSave:
    """A rule that takes what it did not ask for, or asks for what is not there."""
    name = _name(chance)
    old, new = chance.choice(
        [("message: RollDice, *, env", f"message: RollDice, *, {name}: int, env"),
         ("message: RollDice, *, env: Env", "message: RollDice, env: Env"),
         ("@handles(ROLL_DICE)", f'@handles(ROLL_DICE, needs=("{name}",))'),
         ("@handles(ROLL_DICE)", "@handles(ROLL_DICE, mutates=True)"),
         ("@handles(ROLL_DICE)", f'@handles(ROLL_DICE, rate="{name}")')]
    )  # fmt: skip
    text = _dice(chance).replace(old, new)
    return BadSave(DICE, text, ("E0403", "E0404", "E0406", "E0408"))


def returns(chance: random.Random) -> BadSave:
    """A rule that returns something else than an outcome."""
    number = chance.randrange(1_000)
    value = chance.choice(
        ["None", str(number), f"({number}, 2)", f"'{_name(chance)}'", "[]", f"{{{number}: 1}}", ""]
    )
    early = f"    if message.count > {number % 10}:\n        return {value}\n    return Outcome("
    old, new = chance.choice(
        [("    return Outcome(", early), ("-> Outcome | Refuse", f"-> {chance.choice(WORDS)}"),
         ("    return Outcome(", f"    if message.count > {number % 10}:\n        return Outcome(")]
    )  # fmt: skip
    return BadSave(DICE, _dice(chance).replace(old, new), ("E0411",))


def hazards(chance: random.Random) -> BadSave:
    """What outlives a reload, waits, or reaches the outside."""
    name = _name(chance)
    line = chance.choice(
        [f"{name} = {{}}", f"{name}: list[int] = []", f"{name} = set()", "import os",
         "import socket", "import threading", "from time import sleep", "import asyncio",
         "from mmo.store import Store", "from mmo.node.engine import Engine",
         f"async def {name}() -> None:\n    return None",
         f"def {name}() -> None:\n    global WORD\n    WORD = 3",
         f"def {name}() -> None:\n    print('{name}')",
         f"def {name}(x: list[int] = []) -> list[int]:\n    return x"]
    )  # fmt: skip
    return BadSave(DICE, _at_top(_dice(chance), line), ("E0411",))


def tables(chance: random.Random) -> BadSave:
    """A table that does not parse, does not fit its form, or contradicts another."""
    data = Path(str(mmo.__file__)).parent / "content" / "data"
    monsters = (data / "monsters.toml").read_text(encoding="utf-8")
    number = chance.randrange(1_000, 9_000)
    path, text, code = chance.choice(
        [
            ("monsters.toml", monsters.replace("hp = ", "hp == ", 1), "E0601"),
            ("monsters.toml", monsters.replace("hp = 10", f"hp = -{number}", 1), "E0602"),
            ("monsters.toml", monsters.replace("exp = ", f"{_name(chance)} = ", 1), "E0602"),
            ("monsters.toml", monsters.replace("code = 1,", f"code = {number},", 1), "E0603"),
            ("monsters.toml", monsters.replace("permille = 300", "permille = 999", 1), "E0603"),
            ("levels.toml", "exp_need = [0]\n", "E0602"),
            ("levels.toml", f"exp_need = [0, {number}, 0, 3]\n", "E0603"),
            ("levels.toml", f"exp_nead = [0, {number}]\n", "E0602"),
            ("levels.toml", f'exp_need = [0, "{number}"]\n', "E0602"),
            ("dice.toml", f"sides = {number}\ncount_max\n", "E0601"),
        ]
    )
    return BadSave(f"content/{path}", text, (code,))


KINDS: dict[str, Callable[[random.Random], BadSave]] = {
    "syntax": syntax,
    "import": imports,
    "raises": raises,
    "endless": endless,
    "memory": memory,
    "opcode": opcodes,
    "signature": signatures,
    "returns": returns,
    "hazard": hazards,
    "table": tables,
}


def corpus(kind: str, count: int, seed: int) -> list[BadSave]:
    """`count` bad saves of a kind."""
    return [KINDS[kind](random.Random(f"{seed}/{kind}/{index}")) for index in range(count)]
