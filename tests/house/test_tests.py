"""Tests wait on events, run always, and can fail.

Owns the judgement over the tests of both languages; never runs them.
"""

import ast
import re
from pathlib import Path

import pytest
from tests.house.rust_text import blanked, only_tests
from tests.house.tree import (
    ROOT,
    dotted,
    files_below,
    functions,
    nodes,
    parsed,
    python_files,
    rust_files,
    short,
)

RUST_TESTS = ROOT / "rust" / "tests"
SKIPS = {"pytest.skip", "pytest.importorskip", "pytest.xfail", "unittest.skip", "unittest.skipIf"}
SKIP_MARKS = {"pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail"}
RUST_SLEEP = re.compile(r"\b(?:thread::sleep|time::sleep|sleep_until|park_timeout)\b")
FAILS = {"pytest.raises", "pytest.fail", "pytest.warns"}
PROVES = re.compile(r"^_?(?:assert|expect|check|must|prove|verify|holds|attack|until\b)")


def naps(tree: ast.AST) -> list[str]:
    """Calls that let time pass instead of waiting for something. `asyncio.sleep(0)` only yields."""
    found = []
    for node in nodes(tree):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        zero = bool(node.args) and isinstance(node.args[0], ast.Constant) and not node.args[0].value
        if name.split(".")[-1] in {"sleep", "usleep", "nanosleep"} and not zero:
            found.append(f"{node.lineno}: {name}")
    return found


def skips(tree: ast.AST) -> list[str]:
    """Ways around running a test."""
    found = []
    for node in nodes(tree):
        if isinstance(node, ast.Call) and dotted(node.func) in SKIPS:
            found.append(f"{node.lineno}: {dotted(node.func)}")
        elif isinstance(node, ast.Attribute) and dotted(node) in SKIP_MARKS:
            found.append(f"{node.lineno}: {dotted(node)}")
    return found


def toothless(tree: ast.AST) -> list[str]:
    """Test functions in which nothing can fail: no assertion, no error expected, no check."""
    found = []
    biting = biting_here(tree)
    for node in functions(tree):
        if not node.name.startswith("test_"):
            continue
        bites = any(_bites(one, biting) for one in nodes(node))
        if not bites:
            found.append(f"{node.lineno}: {node.name}")
    return found


def biting_here(tree: ast.AST) -> set[str]:
    """Functions of the file itself in which something can fail, those that call such ones too."""
    names: set[str] = set()
    while True:
        more = {
            node.name for node in functions(tree) if any(_bites(one, names) for one in nodes(node))
        }
        if more == names:
            return names
        names = more


def _bites(node: ast.AST, biting: set[str]) -> bool:
    if isinstance(node, ast.Assert):
        return not (isinstance(node.test, ast.Constant) and node.test.value)
    if not isinstance(node, ast.Call):
        return False
    name = dotted(node.func)
    return name in FAILS | biting or bool(PROVES.match(name.split(".")[-1]))


def test_no_python_test_sleeps() -> None:
    faults = [
        f"{short(p)}:{f}"
        for p in python_files("tests", "python/mmo/testing")
        if p.parent.name != "measured"  # the load of a bench keeps a pace; no test runs by it
        for f in naps(parsed(p))
    ]
    assert not faults, "\n".join(faults)


def test_no_python_test_is_skipped() -> None:
    faults = [f"{short(p)}:{f}" for p in python_files("tests") for f in skips(parsed(p))]
    assert not faults, "\n".join(faults)


def test_every_python_test_can_fail() -> None:
    faults = [f"{short(p)}:{f}" for p in python_files("tests") for f in toothless(parsed(p))]
    assert not faults, "\n".join(faults)


def test_no_rust_test_sleeps_or_is_ignored() -> None:
    faults = []
    for path in rust_files("rust/src", "rust/tests"):
        text = path.read_text(encoding="utf-8")
        code = blanked(text)
        tests = code if RUST_TESTS in path.parents else only_tests(code)
        for pattern in (RUST_SLEEP, re.compile(r"#\[ignore")):
            faults += [
                f"{short(path)}:{tests.count(chr(10), 0, match.start()) + 1}: {match.group()}"
                for match in pattern.finditer(tests)
            ]
    assert not faults, "\n".join(faults)


def test_files_are_found_in_a_checkout_below_a_folder_of_any_name(tmp_path: Path) -> None:
    top = tmp_path / "target" / "checkout"
    for name in ("python/a.py", "python/target/b.py"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).touch()
    assert files_below("*.py", ("python",), top) == [top / "python/a.py"]
    with pytest.raises(AssertionError, match="would pass"):
        files_below("*.rs", ("python",), top)


def test_planted_naps_skips_and_toothless_tests_are_found() -> None:
    nap = ast.parse("import time\ntime." + "sleep(0.1)\nasyncio.sleep(0)\n")
    assert naps(nap) == ["2: time.sleep"]
    skip = ast.parse("@pytest.mark." + "skipif(True)\ndef test_x(): pytest." + "skip('no')\n")
    assert len(skips(skip)) == 2
    tests = ast.parse("def test_a(): f()\ndef test_b(): assert f()\ndef test_c(): assert True\n")
    helped = ast.parse("def done(): assert f()\ndef test_a(): done()\ndef test_b(): g()\n")
    assert toothless(helped) == ["3: test_b"]
    assert toothless(tests) == ["1: test_a", "3: test_c"]
    rust = "fn f() { sleep(1) }\n#[cfg(test)]\nmod tests {\n  fn g() { thread::sleep(d) }\n}\n"
    assert [m.group() for m in RUST_SLEEP.finditer(only_tests(rust))] == ["thread::sleep"]
