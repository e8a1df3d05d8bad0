"""What the reference game does, and what it does wrong, each held by tests that exist.

Owns the comparison of `checklist.toml` with the tests of the tree: every statement and every
weakness has at least one, and every test that is named is there. Whether they pass, they say.
"""

import re
from pathlib import Path

import pytest
from tests.house.tree import ROOT, functions, parsed, table

STATEMENTS = [str(number) for number in [*range(1, 91), 92]]
WEAKNESSES = [f"W-{number:02}" for number in range(1, 107)]
NAMED = re.compile(r"^(?P<path>[\w./-]+\.(?:py|rs))::(?P<name>\w+)$")


def names_of_tests(path: Path) -> set[str]:
    """Names of the test functions in a file of either language."""
    if path.suffix == ".rs":
        text = path.read_text(encoding="utf-8")
        marked = re.findall(r"#\[test\](?:\s*#\[[^\]]*\])*\s*(?:async\s+)?fn\s+(\w+)", text)
        properties = re.findall(r"proptest!\s*\{(.*?)^\}", text, re.DOTALL | re.MULTILINE)
        inside = [name for block in properties for name in re.findall(r"\bfn\s+(\w+)", block)]
        return {*marked, *inside}
    return {node.name for node in functions(parsed(path)) if node.name.startswith("test_")}


def faults_of(entry: str) -> str | None:
    """Why an entry of the list names no test, or None."""
    match = NAMED.match(entry)
    if not match:
        return f"{entry}: is no `path::test_name`"
    path = ROOT / match["path"]
    if not path.is_file():
        return f"{entry}: there is no such file"
    return None if match["name"] in names_of_tests(path) else f"{entry}: the file has no such test"


def entries() -> dict[str, list[str]]:
    """Statement or weakness -> the tests that hold it."""
    rows = table("checklist.toml")
    return {**rows["statements"], **rows["weaknesses"]}


def test_every_statement_and_every_weakness_is_listed_once() -> None:
    rows = table("checklist.toml")
    assert sorted(rows["statements"], key=int) == STATEMENTS
    assert sorted(rows["weaknesses"]) == sorted(WEAKNESSES)


@pytest.mark.parametrize("name", [*STATEMENTS, *WEAKNESSES])
def test_each_has_a_test_and_each_named_test_exists(name: str) -> None:
    named = entries().get(name, [])
    assert named, f"{name} has no test"
    faults = [fault for entry in named if (fault := faults_of(entry))]
    assert not faults, "\n".join(faults)


def test_a_planted_wrong_entry_is_found() -> None:
    here = "tests/house/test_checklist.py"
    assert faults_of(f"{here}::test_a_planted_wrong_entry_is_found") is None
    assert faults_of(f"{here}::test_that_is_not_there")
    assert faults_of("tests/house/gone.py::test_x")
    assert faults_of("a sentence")


def test_rust_tests_are_read_with_and_without_more_marks(tmp_path: Path) -> None:
    source = tmp_path / "a.rs"
    source.write_text(
        "#[test]\nfn one() {}\n#[test]\n#[should_panic]\nfn two() {}\nfn three() {}\n"
        "proptest! {\n    #[test]\n    fn four(a in 0..3) {}\n}\n",
        encoding="utf-8",
    )
    assert names_of_tests(source) == {"one", "two", "four"}
