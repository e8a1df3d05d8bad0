"""What the linter finds in hot modules, and what it leaves alone."""

import ast

import pytest

from mmo.node.hazards import hazards_of

RULE = """
from mmo.contract import Env, Outcome, Refuse, handles


@handles(1)
def rule(message: object, *, env: Env) -> Outcome | Refuse:
{body}
"""

FOUND = {
    "SEEN = {}": "SEEN can be changed",
    "SEEN: list[int] = []": "SEEN can be changed",
    "SEEN = [n for n in range(3)]": "SEEN can be changed",
    "import collections\nSEEN = collections.deque()": "SEEN can be changed",
    "for n in range(3):\n    pass": "a loop while the module is imported",
    "while True:\n    pass": "a loop while the module is imported",
    "from functools import lru_cache": "imports functools",
    "import math\n@math.cache\ndef f():\n    return 1": "f remembers by cache",
    "def f(x=[]):\n    return x": "f has a default",
    "async def f():\n    return 1": "asynchronous",
    "def f():\n    global X\n    X = 1": "global X",
    "def f():\n    open('x')": "open() reaches outside",
    "def f():\n    print('x')": "print() reaches outside",
    "import os": "imports os",
    "from time import sleep": "imports time",
    "import threading": "imports threading",
    "from mmo.node import engine": "imports mmo.node",
    "from mmo.store.durable import DurableStore": "imports mmo.store",
    "from mmo import store": "imports mmo.store",
    "import mmo.systems.hunt": "import mmo.systems.hunt: write",
    "def f():\n    import math\n    return math": "an import inside of a function",
    "from mmo.state import bag\nbag.SLOT_MAX = 9": "bag.SLOT_MAX of something else is changed",
    "import msgspec\nclass Kept(msgspec.Struct):\n    x: int": "objects of Kept outlive",
    "from mmo.state.change import Effect\nclass Hit(Effect):\n    pass": "objects of Hit outlive",
    "def f():\n    try:\n        pass\n    except:\n        pass": "catches everything",
    "def f():\n    try:\n        g()\n    except BaseException:\n        g()": "catches everything",
    "import datetime\ndef f():\n    return 1": "imports datetime",
    "def f():\n  try:\n    g()\n  except (ValueError, BaseException):\n    g()": "catches every",
    "def f():\n  try:\n    g()\n  finally:\n    return 1": "leaves by `finally`",
    "while x:\n    try:\n        g()\n    finally:\n        continue": "a loop while",
    "def f():\n  while x:\n    try:\n      g()\n    finally:\n      continue": "leaves by `fin",
    "class Quiet:\n    def __exit__(self, *fault):\n        return True": "__exit__ can swallow",
    "class Memo:\n    seen = {}": "seen can be changed",
    "if True:\n    SEEN = {}": "SEEN can be changed",
    "def f():\n    return 1\ndef g():\n    f.count += 1": "f.count outlives",
    "from mmo.state import bag\ndef g():\n    bag.SLOT_MAX = 9": "bag.SLOT_MAX outlives",
    "from random import randint": "imports chance of its own",
    "from random import Random as R": "imports chance of its own",
    "import random": "imports chance of its own",
    "import random as chance": "imports chance of its own",
    "from random import Random\ndef f():\n    return Random(None)": "Random() draws from",
    "from random import Random\ndef f():\n    return Random().random()": "Random() draws from",
    "BOX: Box = Box()\ndef g():\n    BOX.n += 1": "BOX.n outlives",
}


@pytest.mark.parametrize("text", FOUND)
def test_hazards_are_found_and_named(text: str) -> None:
    found = [hazard.text for hazard in hazards_of(ast.parse(text))]
    assert any(FOUND[text] in one for one in found), found


BODIES = {
    "    return None": "returns no Outcome",
    "    return": "returns no Outcome",
    "    return 3": "returns no Outcome",
    "    return (Outcome(),)": "returns no Outcome",
    "    if message:\n        return Outcome()": "can end without",
    "    for _ in range(3):\n        return Outcome()": "can end without",
    "    x = Outcome()": "can end without",
    "    try:\n        return Outcome()\n    except ValueError:\n        pass": "can end without",
}
GOOD = (
    "    return Outcome()",
    "    if message:\n        return Outcome()\n    else:\n        return Refuse(1)",
    "    if message:\n        return Outcome()\n    return Refuse(1)",
    "    try:\n        return Outcome()\n    except ValueError:\n        return Refuse(2)",
    "    def inner():\n        return 3\n    return Outcome()",
    "    match message:\n        case 1:\n            return Outcome()\n        case _:\n"
    "            return Refuse(1)",
    "    while True:\n        if message:\n            return Outcome()",
    "    raise ValueError(1)",
)


@pytest.mark.parametrize("body", BODIES)
def test_rules_that_may_return_nothing_are_found(body: str) -> None:
    (found,) = hazards_of(ast.parse(RULE.format(body=body)))
    assert BODIES[body] in found.text


@pytest.mark.parametrize("body", GOOD)
def test_rules_that_always_return_are_left_alone(body: str) -> None:
    assert not hazards_of(ast.parse(RULE.format(body=body)))


def test_a_rule_must_be_declared_to_return_an_outcome() -> None:
    text = RULE.format(body="    return Outcome()").replace("-> Outcome | Refuse", "-> int")
    (found,) = hazards_of(ast.parse(text))
    assert found.text == "rule is declared to return int, no Outcome" and found.line == 6


def test_what_a_rule_may_use_is_left_alone() -> None:
    text = (
        "import math\nfrom random import Random\nfrom typing import TYPE_CHECKING\n"
        "from mmo.systems import items\nfrom mmo.state.bag import Bag\nLIMIT = 3\n"
        "NAMES = ('a', 'b')\nSET = frozenset({1})\n__all__ = ['LIMIT']\n"
        "if TYPE_CHECKING:\n    from mmo.content import Content\n"
        "class Plain:\n    x = 1\n    __slots__ = ['a']\n"
        "class Row(Plain):\n    items: list[int] = []\n"
        "class Held:\n    def __exit__(self, *fault):\n        self.x = 2\n"
        "def changes(bag):\n    bag.x = 1\n    math = {}\n    def inner():\n"
        "        math['a'] = 2\n    return inner\n"
    )
    assert not hazards_of(ast.parse(text))


def test_a_game_may_use_its_own_frozen_parts() -> None:
    text = "from game.messages.dice import A\nfrom game.state.halls import B\n"
    assert not hazards_of(ast.parse(text), ("game",))
    assert hazards_of(ast.parse(text))
    assert hazards_of(ast.parse("from game.secrets import A"), ("game",))
