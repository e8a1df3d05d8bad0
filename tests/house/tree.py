"""The tree as the house tests read it: files, parsed modules, names.

Owns how files of this repository are listed and parsed; never judges them and never imports
the code it reads. Called by every house test.
"""

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "mmo"
RUST_SOURCES = ROOT / "rust" / "src"
HOUSE = ROOT / "tests" / "house"
PYTHON_ROOTS = ("python", "tests", "loadtest", ".ci")
RUST_ROOTS = ("rust",)


def python_files(*roots: str) -> list[Path]:
    """All Python sources below the given folders of the repository, or below all of ours."""
    return files_below("*.py", roots or PYTHON_ROOTS)


def rust_files(*roots: str) -> list[Path]:
    """All Rust sources below the given folders of the repository, or below `rust`."""
    return files_below("*.rs", roots or RUST_ROOTS)


def files_below(pattern: str, roots: tuple[str, ...], top: Path = ROOT) -> list[Path]:
    """Files below folders of the checkout `top`, without what a build made."""
    every = (path for root in roots for path in (top / root).rglob(pattern))
    made = {"target", "__pycache__"}
    found = sorted(path for path in every if not made & set(path.relative_to(top).parts))
    assert found, f"no {pattern} below {', '.join(roots)}: whatever is judged would pass"
    return found


def committed_files() -> list[Path]:
    """Files that git tracks or would take with the next `git add`, as long as they exist."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    paths = (ROOT / name.decode() for name in listed.split(b"\0") if name)
    return sorted(path for path in paths if path.is_file())


def short(path: Path) -> str:
    """The path as people read it: from the root of the repository."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def table(name: str) -> dict[str, Any]:
    """A data file of the house tests; nobody changes what it holds."""
    return tomllib.loads((HOUSE / name).read_text(encoding="utf-8"))


@cache
def nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """Every node of a syntax tree, walked once for all questions."""
    return tuple(ast.walk(tree))


@cache
def functions(tree: ast.AST) -> tuple[ast.FunctionDef | ast.AsyncFunctionDef, ...]:
    """Every function and method in a syntax tree, nested ones too."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return tuple(node for node in nodes(tree) if isinstance(node, kinds))


def words(name: str) -> list[str]:
    """The words of an identifier, lower case: `SlotTable_max2` -> slot, table, max2."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return [word.lower() for word in re.split(r"[_\W]+", spaced) if word]


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a name or attribute chain, else the empty text."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        left = dotted(node.value)
        return f"{left}.{node.attr}" if left else ""
    return ""
