"""Imports point down: the table of the design, held against every import in the package.

Owns the judgement over Python imports; never runs the code it reads.
"""

import ast
from pathlib import Path

from tests.house.tree import PACKAGE, nodes, parsed, python_files, short, table

from mmo.node.hazards import PURE_MODULES

ALWAYS = {"errors", "log"}


def layer_of(path: Path) -> str:
    """The layer that a file of the package belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py").removesuffix(".pyi")


def ours_in(tree: ast.AST) -> list[tuple[int, str]]:
    """Every import of ours as (line, dotted name below `mmo`), also those inside functions."""
    found: list[tuple[int, str]] = []
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, a.name) for a in node.names if a.name.split(".")[0] == "mmo"]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports hide the layer"
            if node.module == "mmo" or (node.module or "").startswith("mmo."):
                found += [(node.lineno, f"{node.module}.{a.name}") for a in node.names]
    return [(line, name.removeprefix("mmo").removeprefix(".")) for line, name in found]


def faults_of(layer: str, tree: ast.AST) -> list[str]:
    """Imports of `layer` that its row of the table does not allow."""
    rows = table("layers.toml")
    allowed = {layer, *ALWAYS, *rows["layers"][layer]}
    names = set(rows["names"].get(layer, ()))
    return [
        f"line {line}: {layer} imports {name}"
        for line, name in ours_in(tree)
        if name and name.split(".")[0] not in allowed and name not in names
    ]


def test_every_layer_imports_only_what_its_row_allows() -> None:
    faults = [
        f"{short(path)}: {fault}"
        for path in python_files("python/mmo")
        if path.parent != PACKAGE or path.stem != "__init__"
        for fault in faults_of(layer_of(path), parsed(path))
    ]
    assert not faults, "\n".join(faults)


def test_every_layer_has_a_row() -> None:
    rows = table("layers.toml")["layers"]
    layers = {layer_of(path) for path in python_files("python/mmo")} - {"__init__"}
    assert layers <= set(rows), layers - set(rows)


def test_a_planted_import_upwards_is_found() -> None:
    tree = ast.parse("def f():\n    from mmo.store.players import load\n")
    assert faults_of("systems", tree) == ["line 2: systems imports store.players.load"]
    assert faults_of("node", ast.parse("import mmo.roles.channel\n"))
    assert faults_of("node", ast.parse("from mmo import systems\n"))
    assert not faults_of("node", ast.parse("from mmo.wire import codec\nimport mmo.log\n"))
    assert not faults_of("node", ast.parse("from mmo.config import CoreSettings\n"))
    assert faults_of("node", ast.parse("from mmo.config import load_config\n"))


def test_the_node_does_not_name_systems_or_roles_even_in_text() -> None:
    faults = [
        f"{short(path)}:{node.lineno}"
        for path in python_files("python/mmo/node")
        for node in nodes(parsed(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(("mmo.systems", "mmo.roles"))
    ]
    assert not faults, faults


def test_the_history_checker_imports_nothing_of_ours() -> None:
    checkers = [
        path
        for path in python_files("python/mmo/proof")
        if "checker" in path.relative_to(PACKAGE / "proof").parts[0]
    ]
    faults = [
        f"{short(path)}: {name}"
        for path in checkers
        for _, name in ours_in(parsed(path))
        if not name.startswith("proof.checker")
    ]
    assert not faults, faults


def test_rules_and_state_import_nothing_that_reaches_the_outside() -> None:
    faults = [
        f"{short(path)}: {fault}"
        for layer, allowed in table("layers.toml")["pure"].items()
        for path in python_files(f"python/mmo/{layer}")
        for fault in outside_imports(parsed(path), set(allowed))
    ]
    assert not faults, "\n".join(faults)


def outside_imports(tree: ast.AST, allowed: set[str]) -> list[str]:
    """Imports of modules that are neither ours nor in `allowed`."""
    found = []
    for node in nodes(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        roots = [name.split(".")[0] for name in names]
        found += [f"imports {root}" for root in roots if root != "mmo" and root not in allowed]
    return found


def test_a_planted_clock_in_a_rule_is_found() -> None:
    assert outside_imports(ast.parse("import time"), {"math"}) == ["imports time"]
    assert outside_imports(ast.parse("from asyncio import sleep"), {"math"})
    assert not outside_imports(ast.parse("import math\nfrom mmo.state import bag"), {"math"})


def test_modules_import_in_no_circle() -> None:
    graph = {path: edges_of(path) for path in python_files("python/mmo")}
    circle = first_circle(graph)
    assert circle is None, " -> ".join(short(path) for path in circle or [])


def edges_of(path: Path) -> list[Path]:
    """Files of ours that importing `path` runs first; imports for type checkers do not run."""
    tree = parsed(path)
    ran = ast.Module(body=[node for node in tree.body if not _for_types(node)], type_ignores=[])
    top = ast.Module(
        body=[n for n in ran.body if isinstance(n, ast.Import | ast.ImportFrom)], type_ignores=[]
    )
    found = []
    for _, name in ours_in(top):
        parts = name.split(".")
        for end in (len(parts), len(parts) - 1):
            target = PACKAGE.joinpath(*parts[:end])
            file = target.with_suffix(".py") if end else PACKAGE / "__init__.py"
            chosen = file if file.is_file() else target / "__init__.py"
            if chosen.is_file() and chosen != path:
                found.append(chosen)
                break
    return found


def _for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def first_circle(graph: dict[Path, list[Path]]) -> list[Path] | None:
    """One import circle, or None."""
    done: set[Path] = set()

    def walk(path: Path, trail: list[Path]) -> list[Path] | None:
        if path in trail:
            return [*trail[trail.index(path) :], path]
        if path in done:
            return None
        for target in graph.get(path, []):
            circle = walk(target, [*trail, path])
            if circle:
                return circle
        done.add(path)
        return None

    for path in graph:
        circle = walk(path, [])
        if circle:
            return circle
    return None


def test_a_planted_circle_is_found() -> None:
    one, two, three = Path("one"), Path("two"), Path("three")
    assert first_circle({one: [two], two: [three], three: [one]}) == [one, two, three, one]
    assert first_circle({one: [two, three], two: [three], three: []}) is None


def test_what_a_reload_lets_rules_import_is_what_this_house_lets_them() -> None:
    assert set(table("layers.toml")["pure"]["systems"]) == PURE_MODULES
