"""Hot code owns nothing: no state, no memory, no waiting in the rules.

Owns the judgement over `systems/`, which a reload replaces under live players; never imports them.
"""

import ast

from tests.house.tree import dotted, functions, nodes, parsed, python_files, short

from mmo.node.hazards import CLOCKS, MEMORY, MUTABLE_CALLS, OUTSIDE_CALLS

HOT = ("python/mmo/systems", "python/mmo/roles")


def held(tree: ast.Module) -> list[str]:
    """Module-level values and decorators in which something could be kept between two messages."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            value = node.value
            mutable = isinstance(
                value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
            )
            called = dotted(value.func).split(".")[-1] if isinstance(value, ast.Call) else ""
            named_all = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            if (mutable or called in MUTABLE_CALLS) and not named_all:
                found.append(f"{node.lineno}: module-level {ast.unparse(node)[:60]}")
    for function in functions(tree):
        for mark in function.decorator_list:
            name = dotted(mark.func if isinstance(mark, ast.Call) else mark).split(".")[-1]
            if name in MEMORY:
                found.append(f"{function.lineno}: {function.name} remembers by {name}")
        defaults = [*function.args.defaults, *(d for d in function.args.kw_defaults if d)]
        if any(isinstance(one, ast.List | ast.Dict | ast.Set) for one in defaults):
            found.append(f"{function.lineno}: {function.name} has a mutable default")
    return found


def waits(tree: ast.AST) -> list[str]:
    """Awaiting, globals and calls to the outside."""
    found = []
    for node in nodes(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            found.append(f"{node.lineno}: asynchronous")
        elif isinstance(node, ast.Global | ast.Nonlocal):
            found.append(f"{node.lineno}: {ast.unparse(node)}")
        elif isinstance(node, ast.Call) and dotted(node.func) in OUTSIDE_CALLS:
            found.append(f"{node.lineno}: {dotted(node.func)}()")
    return found


def clocks(tree: ast.AST) -> list[str]:
    """Calls that read the time instead of being handed it."""
    return [
        f"{node.lineno}: {dotted(node.func)}()"
        for node in nodes(tree)
        if isinstance(node, ast.Call) and ".".join(dotted(node.func).split(".")[-2:]) in CLOCKS
    ]


def test_rules_and_state_never_read_a_clock() -> None:
    faults = [
        f"{short(path)}:{fault}"
        for path in python_files("python/mmo/systems", "python/mmo/state")
        for fault in clocks(parsed(path))
    ]
    assert not faults, "\n".join(faults)


def test_hot_modules_keep_nothing_between_messages() -> None:
    faults = [f"{short(path)}:{f}" for path in python_files(*HOT) for f in held(parsed(path))]
    assert not faults, "\n".join(faults)


def test_rules_never_wait_and_reach_nothing_global() -> None:
    faults = [
        f"{short(path)}:{f}"
        for path in python_files("python/mmo/systems")
        for f in waits(parsed(path))
    ]
    assert not faults, "\n".join(faults)


def test_nothing_in_the_package_writes_a_global() -> None:
    faults = [
        f"{short(path)}:{node.lineno}"
        for path in python_files("python/mmo")
        for node in nodes(parsed(path))
        if isinstance(node, ast.Global)
    ]
    assert not faults, faults


def test_planted_memory_is_found() -> None:
    tree = ast.parse(
        "SEEN = {}\nLIMIT = 3\nNAMES = ('a',)\nWAITING = deque()\n"
        "@lru_cache(maxsize=3)\ndef f(x=[]): pass\n"
    )
    assert len(held(tree)) == 4
    assert len(waits(ast.parse("async def f():\n    global x\n    open('y')\n"))) == 3
    assert clocks(ast.parse("x = datetime.datetime.now(UTC)")) == ["1: datetime.datetime.now()"]
    assert not held(ast.parse("A = 1\nB = frozenset({1})\n"))
