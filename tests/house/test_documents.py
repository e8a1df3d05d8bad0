"""Every module says what it owns; every public name says what it is.

Owns the presence of the words; whether they are good words, readers judge.
"""

import ast
import re
from pathlib import Path

import typer
from tests.house.tree import PACKAGE, ROOT, parsed, python_files, rust_files, short

from mmo.cli.app import make_app
from mmo.proof.bench import benches
from mmo.proof.proofs import proofs

MODULE_WORDS_MIN = 3


def module_fault(tree: ast.Module) -> str | None:
    """Why the docstring of a module is not enough, or None."""
    text = ast.get_docstring(tree) or ""
    if not text:
        return "no docstring"
    return None if len(text.split()) >= MODULE_WORDS_MIN else "the docstring says too little"


def silent_names(tree: ast.Module) -> list[str]:
    """Public classes, functions and methods without a docstring. A method of a class with
    a parent of its own may be silent: the parent says what it is."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _silent(node):
            found.append(f"{node.lineno}: {node.name}")
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node) and not _is_message(node):
                found.append(f"{node.lineno}: class {node.name}")
            parents = {ast.unparse(parent) for parent in node.bases}
            if parents - {"Protocol", "Generic", "Struct", "msgspec.Struct", "Enum", "IntEnum"}:
                continue
            for method in node.body:
                if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and _silent(method):
                    found.append(f"{method.lineno}: {node.name}.{method.name}")
    return found


def _is_message(node: ast.ClassDef) -> bool:
    """Bodies on the wire are named by their opcode, which has its line in `wire/opcode.py`."""
    return any(ast.unparse(mark).startswith("message(") for mark in node.decorator_list)


def _silent(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return not node.name.startswith("_") and not ast.get_docstring(node)


def test_every_module_opens_with_what_it_owns() -> None:
    faults = [
        f"{short(path)}: {fault}"
        for path in python_files()
        if path.read_text(encoding="utf-8").strip()
        if (fault := module_fault(parsed(path)))
    ]
    assert not faults, "\n".join(faults)


def test_every_public_name_of_the_package_says_what_it_is() -> None:
    faults = [
        f"{short(path)}:{fault}"
        for path in [*python_files("python/mmo"), *sorted(PACKAGE.rglob("*.pyi"))]
        for fault in silent_names(parsed(path))
    ]
    assert not faults, "\n".join(faults)


def test_every_rust_file_opens_with_what_it_owns() -> None:
    faults = [
        short(path)
        for path in rust_files()
        if not re.match(r"(?:#!\[[^\]]*\]\s*)*//! \S+", path.read_text(encoding="utf-8"))
    ]
    assert not faults, faults


def test_the_documents_link_only_to_files_that_exist() -> None:
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    faults = [f"{short(doc)}: {target}" for doc in documents for target in dead_links(doc)]
    assert not faults, "\n".join(faults)


def test_every_command_in_the_documents_exists() -> None:
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    known = set(typer.main.get_command(make_app()).commands)  # type: ignore[attr-defined]
    faults = [
        f"{short(doc)}: mmo-cluster {word}"
        for doc in documents
        for word in commands_in(doc.read_text(encoding="utf-8"))
        if word not in known
    ]
    assert not faults, "\n".join(faults)


def test_every_proof_and_bench_in_the_documents_exists() -> None:
    known = {"prove": {*proofs(), "all"}, "bench": {*benches(), "all"}}
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    faults = [
        f"{short(doc)}: {command} {name}"
        for doc in documents
        for command, name in re.findall(
            r"`(?:mmo-cluster )?(prove|bench) ([a-z][a-z-]+)`", doc.read_text("utf-8")
        )
        if name not in known[command]
    ]
    assert not faults, "\n".join(faults)


def test_every_dump_in_the_documents_is_for_its_owner_alone() -> None:
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    dumps = [dump for doc in documents for dump in dumps_in(doc.read_text(encoding="utf-8"))]
    assert dumps and all(dump.startswith("umask 077; ") for dump in dumps), dumps


def dumps_in(text: str) -> list[str]:
    """Commands in code that write the database, every account with it, into a file."""
    return re.findall(r"`([^`]*-dump\b[^`]*>[^`]*)`", text)


def commands_in(text: str) -> list[str]:
    """First words after `mmo-cluster` in code."""
    return re.findall(r"(?:`|^|&& )mmo-cluster ([a-z]+)\b", text, re.MULTILINE)


def dead_links(document: Path) -> list[str]:
    """Relative links of a document whose target is not there."""
    text = document.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text)
    return [target for target in targets if not (document.parent / target).exists()]


def test_planted_silence_is_found(tmp_path: Path) -> None:
    assert module_fault(ast.parse("x = 1")) == "no docstring"
    assert module_fault(ast.parse('"""Things."""')) == "the docstring says too little"
    tree = ast.parse("class A:\n    def b(self): pass\ndef c(): pass\ndef _d(): pass\n")
    assert silent_names(tree) == ["1: class A", "2: A.b", "3: c"]
    assert commands_in("`mmo-cluster start` and\nmmo-cluster fly --far") == ["start", "fly"]
    assert dumps_in("`mariadb-dump mmo\n > a` and `mariadb-dump`") == ["mariadb-dump mmo\n > a"]
    document = tmp_path / "a.md"
    document.write_text("[x](gone.md) [y](a.md) [z](https://example.com)", encoding="utf-8")
    assert dead_links(document) == ["gone.md"]
