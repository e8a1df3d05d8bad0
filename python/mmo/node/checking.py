"""Everything about a bundle that can be found without a running game: text, imports, tables.

Owns the order of the checks, cheapest first. Runs the bundle's modules, so the caller does it where
an endless loop or a memory bomb hurts nobody. Called by the checker's child process.
"""

import ast
import hashlib
import random
from collections.abc import Sequence
from typing import Any

from mmo.contract import Env, NodeView, Sender
from mmo.node.bundle import ROLES, SYSTEMS, Bundle
from mmo.node.code_faults import hazard_fault
from mmo.node.core_table import core_fields
from mmo.node.generation import Builder, compile_hot, with_extra
from mmo.node.handlers import build_table
from mmo.node.hazards import hazards_of
from mmo.node.modules import Modules, altered

HOT_FOLDERS = (f"{SYSTEMS}/", f"{ROLES}/")


def read_through(bundle: Bundle, clean: set[str]) -> None:
    """Parse every module and look for hazards, without running anything. Raises `CodeError`.
    `clean`: hashes of texts that were found clean before; new ones are added."""
    games = tuple(name.partition(".")[0] for name in bundle.packages if name[:4] != "mmo.")
    for path, text in bundle.files.items():
        if not path.endswith(".py"):
            continue
        digest = hashlib.sha256(f"{path}\0{text}".encode()).hexdigest()
        if digest in clean:
            continue
        compile_hot(bundle, path, text)
        if path.startswith(HOT_FOLDERS):
            hazards = hazards_of(ast.parse(text), games)
            if hazards:
                raise hazard_fault(path, text, hazards)
        clean.add(digest)


def run_through(
    bundle: Bundle, roles: Sequence[str], edges_package: str, good: Bundle | None = None
) -> int:
    """Import everything and build the table of every role, as their nodes would. `good`: sources
    that passed before; roles that do not use what was altered since pass again. Returns how many
    rules were looked at. Raises `OperatorError` and its kinds."""
    modules, rules = Modules(0, bundle), 0
    changed = altered(bundle, good) if good is not None else None
    try:
        for number, name in enumerate(roles, start=1):
            if changed is not None and not _uses(modules, bundle, name, changed):
                continue
            builder = Builder(0, bundle, name, modules)
            for _ in builder.steps():
                pass
            made = builder.made()
            env = _env(made.content, NodeView(number, name, name, 1, 0))
            states = {key: make(made.content, env.node) for key, make in made.role.states.items()}
            table = build_table(made.role, states, env, made.systems_package, edges_package)
            core_fields(made.role, table, number, tuple(roles))
            rules += len(table.routes())
    finally:
        modules.end()
    return rules


def _uses(modules: Modules, bundle: Bundle, role_name: str, changed: set[str]) -> bool:
    """Whether a role has any of the changed modules."""
    role_module = f"{ROLES}.{role_name}"
    if role_module in changed:
        return True
    role = with_extra(modules.load(role_module).ROLE, bundle)
    return any(f"{SYSTEMS}.{name}" in changed for name in role.systems)


def _env(content: Any, view: NodeView) -> Env:
    return Env(
        now_ms=0, rng=random.Random(1), content=content, node=view, sender=Sender(0, 0, 0),
        new_uid=lambda: 1, roll=lambda *_: 0, sign=lambda *_: "",
    )  # fmt: skip
