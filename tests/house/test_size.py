"""500 lines a file, 70 a function, 100 columns, in both languages.

Owns the counts; never judges what stands in the lines.
"""

import ast
from pathlib import Path

from tests.house import rust_text
from tests.house.tree import PACKAGE, functions, parsed, python_files, rust_files, short

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 100


def long_files(texts: dict[str, str]) -> list[str]:
    """Names of files with more lines than a reader holds in mind."""
    counts = {name: text.count("\n") for name, text in texts.items()}
    return [f"{name}: {count} lines" for name, count in counts.items() if count > FILE_LINES_MAX]


def wide_lines(text: str) -> list[int]:
    """Lines (from 1) that pass the column limit."""
    return [n for n, line in enumerate(text.split("\n"), 1) if len(line) > COLUMNS_MAX]


def long_python_functions(tree: ast.AST) -> list[str]:
    """Functions over the limit, decorators not counted."""
    return [
        f"line {node.lineno}: {node.name} has {lines} lines"
        for node in functions(tree)
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]


def long_rust_functions(text: str) -> list[str]:
    """Functions over the limit."""
    return [
        f"line {one.line}: {one.name} has {one.lines} lines"
        for one in rust_text.functions(rust_text.blanked(text))
        if one.lines > FUNCTION_LINES_MAX
    ]


def sources() -> list[Path]:
    return [*python_files(), *rust_files(), *sorted(PACKAGE.rglob("*.pyi"))]


def test_no_file_has_more_than_500_lines() -> None:
    faults = long_files({short(path): path.read_text(encoding="utf-8") for path in sources()})
    assert not faults, "\n".join(faults)


def test_no_line_is_wider_than_100_columns() -> None:
    faults = [
        f"{short(path)}:{line}"
        for path in sources()
        for line in wide_lines(path.read_text(encoding="utf-8"))
    ]
    assert not faults, "\n".join(faults)


def test_no_function_has_more_than_70_lines() -> None:
    faults = [
        f"{short(path)}: {fault}"
        for path in python_files()
        for fault in long_python_functions(parsed(path))
    ]
    faults += [
        f"{short(path)}: {fault}"
        for path in rust_files()
        for fault in long_rust_functions(path.read_text(encoding="utf-8"))
    ]
    assert not faults, "\n".join(faults)


def test_planted_sizes_are_found() -> None:
    assert long_files({"a": "x\n" * 501, "b": "x\n" * 500}) == ["a: 501 lines"]
    assert wide_lines("x" * 101 + "\n" + "y" * 100) == [1]
    body = "    pass\n" * 70
    assert long_python_functions(ast.parse(f"def f():\n{body}")) == ["line 1: f has 71 lines"]
    rust = "fn g<'a>(x: &'a str) -> [u8; 3] {\n" + "    h('}', \"}\"); // }\n" * 69 + "}\nfn h();\n"
    assert long_rust_functions(rust) == ["line 1: g has 71 lines"]
    assert not long_rust_functions("fn g() {\n" + "    h();\n" * 68 + "}\n")
