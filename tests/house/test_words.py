"""Names are whole words; sources promise nothing for later; files name no machine.

Owns the judgement over words; the words themselves stand in `words.toml`.
"""

import ast
import re
from pathlib import Path

from tests.house.rust_text import blanked
from tests.house.tree import (
    HOUSE,
    committed_files,
    functions,
    nodes,
    parsed,
    python_files,
    rust_files,
    short,
    table,
    words,
)

WORDS_FILE = HOUSE / "words.toml"
SOURCE_KINDS = {".py", ".pyi", ".rs", ".toml", ".sql", ".sh", ".yml", ""}
URL = re.compile(r"https?://([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")
RUST_NAME = re.compile(r"\b(?:fn|struct|enum|trait|mod|type|const|static|let(?:\s+mut)?)\s+(\w+)")


def python_names(tree: ast.AST) -> list[tuple[int, str]]:
    """Every name that the code chooses itself: definitions, arguments, variables, fields."""
    found: list[tuple[int, str]] = []
    for node in nodes(tree):
        if isinstance(node, ast.ClassDef):
            found.append((node.lineno, node.name))
        elif isinstance(node, ast.arg):
            found.append((node.lineno, node.arg))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.append((node.lineno, node.id))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.append((node.lineno, node.attr))
    return found + [(node.lineno, node.name) for node in functions(tree)]


def rust_names(text: str) -> list[tuple[int, str]]:
    """Names of items and bindings in a Rust source."""
    code = blanked(text)
    return [(code.count("\n", 0, m.start()) + 1, m[1]) for m in RUST_NAME.finditer(code)]


def empty_words(names: list[tuple[int, str]]) -> list[str]:
    """Names with a part that says nothing."""
    banned = set(table("words.toml")["names"])
    return [f"{line}: {name}" for line, name in names if banned & set(words(name))]


def test_no_name_holds_a_word_that_says_nothing() -> None:
    faults = [
        f"{short(path)}:{f}"
        for path in python_files()
        for f in empty_words(python_names(parsed(path)))
    ]
    faults += [
        f"{short(path)}:{fault}"
        for path in rust_files()
        for fault in empty_words(rust_names(path.read_text(encoding="utf-8")))
    ]
    assert not faults, "\n".join(faults)


def test_no_file_is_called_by_a_word_that_says_nothing() -> None:
    banned = set(table("words.toml")["names"])
    faults = [short(p) for p in committed_files() if banned & set(words(short(p)))]
    assert not faults, faults


def test_planted_names_are_found() -> None:
    tree = ast.parse(
        "class SlotManager:\n    def f(self, base_count): self.misc = 1\nbase64_text = 2"
    )
    assert empty_words(python_names(tree)) == ["1: SlotManager", "2: base_count", "2: misc"]
    assert empty_words(rust_names("fn helper() {}\nlet mut common = 1; // fn util()")) == [
        "1: helper",
        "2: common",
    ]


def matches(text: str, patterns: list[str]) -> list[str]:
    """`line: text` of every match of every pattern."""
    return [
        f"{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for pattern in patterns
        for match in re.finditer(pattern, text)
    ]


def committed_texts() -> list[tuple[Path, str]]:
    """All committed files that are text, but for the list of words itself."""
    found = []
    for path in committed_files():
        if path == WORDS_FILE or path.suffix in {".png", ".svg", ".lock"}:
            continue
        try:
            found.append((path, path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return found


def test_no_source_leaves_work_for_later() -> None:
    patterns = table("words.toml")["later"]
    faults = [
        f"{short(path)}:{fault}"
        for path, text in committed_texts()
        if path.suffix in SOURCE_KINDS
        for fault in matches(text, patterns)
    ]
    assert not faults, "\n".join(faults)


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    patterns = table("words.toml")["paths"]
    faults = [
        f"{short(path)}:{fault}"
        for path, text in committed_texts()
        for fault in matches(text, patterns)
    ]
    assert not faults, "\n".join(faults)


def test_no_file_points_an_installer_at_a_host() -> None:
    rows = table("words.toml")
    faults = [
        f"{short(path)}:{fault}"
        for path, text in committed_texts()
        if path.suffix != ".md"
        for fault in matches(text, rows["installers"])
    ]
    faults += [f"{short(p)}: {h}" for p, t in committed_texts() for h in strange_hosts(t)]
    assert not faults, "\n".join(faults)


def strange_hosts(text: str) -> list[str]:
    """Hosts in addresses that are not on the list."""
    return [host for host in URL.findall(text) if host not in table("words.toml")["hosts"]]


def test_the_lock_file_takes_crates_from_the_public_index_alone() -> None:
    locks = [path for path in committed_files() if path.name == "Cargo.lock"]
    assert locks
    sources = {
        source
        for path in locks
        for source in re.findall(
            r'^source = "([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert sources == {"registry+https://github.com/rust-lang/crates.io-index"}


def test_planted_texts_are_found() -> None:
    rows = table("words.toml")
    later = "# TO" + "DO: this\nreturn  # for " + "now\n"
    assert matches(later, rows["later"]) == ["1: TO" + "DO", "2: for " + "now"]
    assert matches("see /ho" + "me/someone/x", rows["paths"]) == ["1: /ho" + "me/someone"]
    assert matches("--index" + "-url=x", rows["installers"])
    assert strange_hosts("https:" + "//mirror.invalid/simple and https://github.com/x") == [
        "mirror.invalid"
    ]
