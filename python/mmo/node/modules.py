"""Hot modules of one generation: compiled once by text, loaded under a private package name.

Owns the private package, its loader and its end. Imports between hot modules are turned into
relative ones, so a module of one generation can never reach a module of another, and one compiled
code serves all generations that hold the same text. Never judges a rule. Used by `generation`.
"""

import ast
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import itertools
import linecache
import sys
from collections.abc import Iterable, Mapping, Sequence
from types import CodeType, ModuleType
from typing import Any

from mmo.node.bundle import EXTRA_ROLES, TABLES, Bundle
from mmo.node.hazards import BLOCKS

PREFIX = "mmo_generation_"
MARK = "@"  # between the path and the hash in the file name of hot code: `systems/hunt.py@3f2a9c01`
CODES_MAX = 512

_codes: dict[tuple[Any, ...], tuple[CodeType, frozenset[str]]] = {}
_serials = itertools.count(1)


def file_name(path: str, text: str) -> str:
    """How a traceback names this text: the path in the bundle and eight digits of its hash."""
    return f"{path}{MARK}{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def is_hot(name: str) -> bool:
    """Whether a code object with this file name belongs to a generation."""
    return MARK in name and name.partition(MARK)[0].endswith(".py")


def shown(name: str) -> str:
    """A module or function name without the private package: `systems.hunt.hit`."""
    return name.partition(".")[2] if name.startswith(PREFIX) else name


def compiled(path: str, text: str, packages: Mapping[str, str]) -> CodeType:
    """The code of a hot module. Raises `SyntaxError` with the place in `text`."""
    return _compiled(path, text, packages)[0]


def _compiled(path: str, text: str, packages: Mapping[str, str]) -> tuple[CodeType, frozenset[str]]:
    """The code, and the names of hot modules that it may import."""
    key = (path, text, *sorted(packages.items()))
    found = _codes.get(key)
    if found is None:
        name = file_name(path, text)
        tree = ast.parse(text, filename=name)
        relative = _Relative(packages)
        relative.visit(tree)
        code = compile(tree, name, "exec", dont_inherit=True)
        if len(_codes) >= CODES_MAX:
            _codes.clear()
        found = _codes[key] = code, frozenset(relative.names)
    return found


def reached(bundle: Bundle, changed: Iterable[str]) -> set[str]:
    """Modules of the bundle, such as `systems.hunt`, whose rules a change of these paths can alter:
    the changed ones and all that import one of them, also through others. Raises `SyntaxError`."""
    importers: dict[str, set[str]] = {}
    for path, text in bundle.files.items():
        if path.endswith(".py"):
            for name in _compiled(path, text, bundle.packages)[1]:
                importers.setdefault(name, set()).add(_module(path))
    found: set[str] = set()
    waiting = [_module(path) for path in changed if path.endswith(".py")]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += importers.get(name, ())
    return found


def altered(newer: Bundle, older: Bundle) -> set[str] | None:
    """Modules of `newer` that may do otherwise than in `older`: a module whose text, tables and
    imports are as they were does what it did. None: any of them may."""
    changed = newer.changed_from(older)
    tables = any(path.startswith(f"{TABLES}/") or path == EXTRA_ROLES for path in changed)
    return None if tables or newer.packages != older.packages else reached(newer, changed)


def _module(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


class _Relative(ast.NodeTransformer):
    """`from mmo.systems.items import x` -> `from ..systems.items import x`, for packages that are
    folders of the bundle; everything else stays. `names`: what may be imported so."""

    def __init__(self, packages: Mapping[str, str]) -> None:
        self._packages = packages
        self.names: set[str] = set()

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Only into statements: no import is inside of an expression, and those are most of a
        module."""
        for block in BLOCKS:
            for inner in getattr(node, block, ()):
                self.visit(inner)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        module = node.module or ""
        for package, folder in self._packages.items():
            if node.level == 0 and (module == package or module.startswith(f"{package}.")):
                node.module = folder + module.removeprefix(package)
                node.level = 2
                self.names |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
                break
        return node


class Modules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The modules of one generation. `end` frees them."""

    def __init__(self, number: int, bundle: Bundle) -> None:
        self.package = f"{PREFIX}{number}_{next(_serials)}"
        self._texts: dict[str, tuple[str, str]] = {}  # module name -> (path, text)
        self._packages = bundle.packages
        self._folders = {self.package}
        for path, text in bundle.files.items():
            if path.endswith(".py"):
                folder, _, file = path.rpartition("/")
                self._folders.add(f"{self.package}.{folder}")
                if file != "__init__.py":
                    name = f"{self.package}.{_module(path)}"
                    self._texts[name] = (path, text)
        sys.meta_path.insert(0, self)

    def load(self, name: str) -> ModuleType:
        """Import `systems.hunt` of this generation."""
        return importlib.import_module(f"{self.package}.{name}")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Only for names of this generation."""
        if fullname in self._folders:
            return importlib.util.spec_from_loader(fullname, self, is_package=True)
        if fullname in self._texts:
            return importlib.util.spec_from_loader(fullname, self, origin=self._texts[fullname][0])
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run the text of a module; a folder has none."""
        found = self._texts.get(module.__name__)
        if found is not None:
            exec(compiled(*found, self._packages), module.__dict__)

    def get_source(self, fullname: str) -> str | None:
        """For tracebacks: the text that runs, not the one on the disk now."""
        found = self._texts.get(fullname)
        return found[1] if found is not None else None

    def loaded(self) -> dict[str, ModuleType]:
        """What was imported so far."""
        start = (self.package, f"{self.package}.")
        return {
            name: module
            for name, module in list(sys.modules.items())
            if name == start[0] or name.startswith(start[1])
        }

    def end(self) -> None:
        """Forget everything. The dictionaries are emptied by hand: what was made before the node
        froze its first objects is never looked at by the garbage collector."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name, module in self.loaded().items():
            del sys.modules[name]
            parts: dict[str, Any] = module.__dict__
            parts.clear()
        for path, text in self._texts.values():
            linecache.cache.pop(file_name(path, text), None)
        self._texts = {}
