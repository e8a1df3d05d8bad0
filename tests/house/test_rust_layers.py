"""The order of the core's modules, its one door to Python, and the absence of `unsafe`.

Owns the judgement over Rust sources; never builds them.
"""

import re
from pathlib import Path

from tests.house.rust_text import blanked, without_tests
from tests.house.tree import RUST_SOURCES, rust_files, short, table

CRATE_PATH = re.compile(r"\bcrate::(?:(\w+)|\{([^}]*)\})", re.DOTALL)
CLOCK_OR_SOCKET = re.compile(
    r"\b(?:Instant|SystemTime)::now\b|\btokio::net\b|\bstd::net::(?:Tcp|Udp)"
)


def ranks() -> dict[str, int]:
    """Module name -> its place in the order, lowest first."""
    order = table("layers.toml")["rust"]["order"]
    return {name: rank for rank, names in enumerate(order) for name in names}


def module_of(path: Path) -> str:
    """The top module that a file below `rust/src` belongs to."""
    return path.relative_to(RUST_SOURCES).parts[0].removesuffix(".rs")


def used_modules(code: str) -> set[str]:
    """Top modules of the crate named in blanked code."""
    found: set[str] = set()
    for match in CRATE_PATH.finditer(code):
        if match[1]:
            found.add(match[1])
        else:
            found |= {part.split("::")[0].strip() for part in match[2].split(",")}
    return found


def faults_of(module: str, code: str) -> list[str]:
    """Uses of modules that stand right of `module`."""
    rank = ranks()
    used = used_modules(code) & set(rank)
    return [f"{module} uses {other}" for other in sorted(used) if rank[other] > rank[module]]


def library_files() -> list[Path]:
    return [path for path in rust_files("rust/src") if path.name != "lib.rs"]


def test_modules_use_only_what_stands_left_of_them() -> None:
    assert library_files()
    faults = [
        f"{short(path)}: {fault}"
        for path in library_files()
        for fault in faults_of(
            module_of(path), without_tests(blanked(path.read_text(encoding="utf-8")))
        )
    ]
    assert not faults, "\n".join(faults)


def test_every_module_stands_in_the_order() -> None:
    unknown = {module_of(path) for path in library_files()} - set(ranks())
    assert not unknown, unknown


def test_a_planted_use_upwards_is_found() -> None:
    assert faults_of("frame", "use crate::conn::Conn;") == ["frame uses conn"]
    assert faults_of("gate", "use crate::{bucket::Bucket, server};") == ["gate uses server"]
    assert not faults_of("conn", "use crate::{frame::Frame, gate};")


def test_modules_use_each_other_in_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for path in library_files():
        code = without_tests(blanked(path.read_text(encoding="utf-8")))
        module = module_of(path)
        graph.setdefault(module, set()).update(used_modules(code) & set(ranks()) - {module})
    while True:
        leaves = {name for name, used in graph.items() if not used}
        if not leaves:
            break
        graph = {name: used - leaves for name, used in graph.items() if name not in leaves}
    assert not graph, f"these modules use each other in a circle, or stand above one: {graph}"


def test_pyo3_is_a_word_of_the_bridge_alone() -> None:
    named = [
        short(path)
        for path in rust_files("rust/src", "rust/tests", "rust/benches")
        if "pyo3" in path.read_text(encoding="utf-8").lower() and "/bridge/" not in path.as_posix()
    ]
    assert not named, named


def test_modules_left_of_conn_get_time_and_bytes_as_arguments() -> None:
    rank = ranks()
    faults = [
        f"{short(path)}:{code.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for path in library_files()
        if rank[module_of(path)] < rank["conn"]
        for code in [without_tests(blanked(path.read_text(encoding="utf-8")))]
        for match in CLOCK_OR_SOCKET.finditer(code)
    ]
    assert not faults, "\n".join(faults)


def test_unsafe_lives_in_no_module_but_those_named_and_each_block_says_why() -> None:
    allowed = set(table("layers.toml")["rust"]["unsafe"])
    faults = []
    for path in rust_files("rust/src"):
        text = path.read_text(encoding="utf-8")
        for line in unsafe_lines(text):
            if module_of(path) not in allowed:
                faults.append(f"{short(path)}:{line}: unsafe outside {sorted(allowed)}")
            elif not says_safety(text, line):
                faults.append(f"{short(path)}:{line}: unsafe without a SAFETY sentence")
    assert not faults, "\n".join(faults)


def unsafe_lines(text: str) -> list[int]:
    """Lines (from 1) with the keyword; `unsafe_code` and its kind are other words."""
    code = blanked(text).split("\n")
    return [place + 1 for place, line in enumerate(code) if re.search(r"\bunsafe\b", line)]


def says_safety(text: str, line: int) -> bool:
    """Whether the comment lines right above `line`, or the line itself, hold a SAFETY sentence."""
    lines = text.split("\n")
    place = line - 1
    if "SAFETY: " in lines[place]:
        return True
    while place > 0 and re.match(r"\s*(//|#\[)", lines[place - 1]):
        place -= 1
        if "SAFETY: " in lines[place] or "# Safety" in lines[place]:
            return True
    return False


def test_a_planted_unsafe_without_a_sentence_is_found() -> None:
    bare = "fn f() {\n    unsafe { g() }\n}\n"
    told = "fn f() {\n    // SAFETY: g has no preconditions.\n    unsafe { g() }\n}\n"
    assert unsafe_lines(bare) == [2] and not says_safety(bare, 2)
    assert unsafe_lines(told) == [3] and says_safety(told, 3)
    assert unsafe_lines("#![deny(unsafe_code)] // unsafe is rare") == []


def test_nothing_unwraps_and_each_expect_is_proved() -> None:
    faults = []
    for path in rust_files("rust/src"):
        text = path.read_text(encoding="utf-8")
        code = without_tests(blanked(text)).split("\n")
        faults += [f"{short(path)}:{line}: {what}" for line, what in unproved(text, code)]
    assert not faults, "\n".join(faults)


def unproved(text: str, code: list[str]) -> list[tuple[int, str]]:
    """Places that may panic on an absent value: every unwrap, each expect without a comment."""
    lines = text.split("\n")
    found = []
    for place, line in enumerate(code):
        if ".unwrap()" in line:
            found.append((place + 1, "unwrap"))
        if ".expect(" in line:
            above = [lines[p].strip() for p in range(max(0, place - 4), place + 1)]
            if not any("//" in one for one in above):
                found.append((place + 1, "expect without a sentence that proves it"))
    return found


def test_a_planted_unwrap_is_found_and_a_test_may_unwrap() -> None:
    text = "fn f() { g().unwrap(); }\n#[cfg(test)]\nmod tests {\n fn t() { g().unwrap(); }\n}\n"
    assert unproved(text, without_tests(blanked(text)).split("\n")) == [(1, "unwrap")]
    proved = '// Never empty: the constructor refuses it.\nlet a = b.expect("first");\n'
    assert not unproved(proved, blanked(proved).split("\n"))
    assert unproved('let a = b.expect("first");\n', ['let a = b.expect("     ");'])
