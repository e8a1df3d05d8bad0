"""One generation of rules and tables: built beside the one that runs, used, freed.

Owns a bundle's modules, role, content and handler table on this node, and their end. Never touches
what runs. Built at the start of a node, at a reload and by the check.
"""

import asyncio
import hashlib
import time
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from mmo.content.files import TableTexts
from mmo.content.tables import Content, load_content
from mmo.contract import Env, Role
from mmo.errors import ContentError, OperatorError
from mmo.node.bundle import EXTRA_ROLES, ROLES, SYSTEMS, TABLES, Bundle
from mmo.node.code_faults import CodeError, import_fault, syntax_fault, table_fault
from mmo.node.handlers import Table
from mmo.node.modules import Modules, compiled
from mmo.node.watchdog import RuleOverran

CONTENTS_MAX = 4
PIECE_MS = 2.0
"""Work beside the game goes on for so long before the game has its turn of the loop."""

_contents: dict[str, Content] = {}


class Generation:
    """`number` 1 upwards, never used twice. `table` and `env` are set by whoever composes."""

    def __init__(
        self, number: int, role: Role, content: Any, *, systems_package: str, digest: str = ""
    ) -> None:
        self.number = number
        self.digest = digest  # of the bundle; empty: code of this process, not of a bundle
        self.role = role
        self.content = content
        self.systems_package = systems_package
        self.table: Table | None = None
        self.env: Env | None = None
        self.bundle: Bundle | None = None
        self._modules: Modules | None = None

    def free(self) -> None:
        """Give back all that only this generation used. Its rules must not be called any more."""
        if self.table is not None:
            self.table.forget()
        self.table = self.env = self.content = self.bundle = None
        if self._modules is not None:
            self._modules.end()
            self._modules = None


def build(number: int, bundle: Bundle, role_name: str) -> Generation:
    """The generation for one role, without a table yet. Raises `CodeError`, `ContentError`,
    `OperatorError`; nothing is left behind then."""
    builder = Builder(number, bundle, role_name)
    for _ in builder.steps():
        pass
    return builder.made()


async def build_beside(
    number: int, bundle: Bundle, role_name: str, work_s: Callable[[], float] = time.perf_counter
) -> Generation:
    """The same in small pieces, so that the game goes on between them."""
    builder, pieces = Builder(number, bundle, role_name), Pieces(work_s)
    for _ in builder.steps():
        await pieces.give_way()
    return builder.made()


class Pieces:
    """Work beside the game, cut by time: a turn of a busy loop costs more than many a step.
    `work_s`: seconds of a clock that work moves."""

    def __init__(self, work_s: Callable[[], float]) -> None:
        self._work_s = work_s
        self._began_s = work_s()

    async def give_way(self) -> None:
        """Let the game have its turn when a piece has taken its time."""
        if (self._work_s() - self._began_s) * 1_000 >= PIECE_MS:
            await asyncio.sleep(0)
            self._began_s = self._work_s()


class Builder:
    """Builds one generation step by step."""

    def __init__(
        self, number: int, bundle: Bundle, role_name: str, modules: Modules | None = None
    ) -> None:
        self._number = number
        self._bundle = bundle
        self._role_name = role_name
        self._role: Role | None = None
        self._content: Any = None
        self._modules = modules if modules is not None else Modules(number, bundle)

    def steps(self) -> Iterator[None]:
        """Run to the end; on a fault everything is undone."""
        try:
            yield from self._steps()
        except BaseException:
            self._modules.end()
            raise

    def made(self) -> Generation:
        """What the steps made."""
        assert self._role is not None, "run the steps first"
        generation = Generation(
            self._number, self._role, self._content,
            systems_package=f"{self._modules.package}.{SYSTEMS}", digest=self._bundle.digest,
        )  # fmt: skip
        generation.bundle = self._bundle
        generation._modules = self._modules
        return generation

    def _steps(self) -> Iterator[None]:
        for path, text in self._bundle.files.items():
            if path.endswith(".py"):
                compile_hot(self._bundle, path, text)
                yield
        role = self._load(f"{ROLES}.{self._role_name}").ROLE
        if not isinstance(role, Role):
            raise OperatorError("E0401", f"{ROLES}/{self._role_name}.py has no ROLE")
        self._role = with_extra(role, self._bundle)
        yield
        for name in self._role.systems:
            self._load(f"{SYSTEMS}.{name}")
            yield
        try:
            self._content = content_of(self._bundle)
        except ContentError as fault:
            raise table_fault(self._bundle, fault) from None
        yield

    def _load(self, name: str) -> Any:
        try:
            return self._modules.load(name)
        except ModuleNotFoundError as fault:
            if fault.name is not None and fault.name.endswith(f".{name}"):
                raise OperatorError(
                    "E0401", f"there is no module {name}", "correct the role"
                ) from None
            raise import_fault(self._bundle, name, fault) from None
        except (Exception, RuleOverran) as fault:
            raise import_fault(self._bundle, name, fault) from None


def compile_hot(bundle: Bundle, path: str, text: str) -> None:
    """Compile one module, or say where it does not parse."""
    try:
        compiled(path, text, bundle.packages)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as fault:
        if isinstance(fault, SyntaxError | ValueError):
            raise syntax_fault(path, text, fault) from None
        raise CodeError("E0428", path, 0, f"{path}: too deeply nested to be compiled") from None


def content_of(bundle: Bundle) -> Content:
    """The tables of a bundle; the same texts give the same object."""
    texts = bundle.folder(TABLES)
    digest = hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest()
    found = _contents.get(digest)
    if found is None:
        found = load_content(TableTexts(texts))
        while len(_contents) >= CONTENTS_MAX:
            del _contents[next(iter(_contents))]
        _contents[digest] = found
    return found


class _ExtraRoles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    systems: dict[str, list[str]] = {}


def with_extra(role: Role, bundle: Bundle) -> Role:
    """The role with the systems that a game adds to it."""
    text = bundle.files.get(EXTRA_ROLES)
    if text is None:
        return role
    try:
        extra = msgspec.convert(tomllib.loads(text), _ExtraRoles)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as fault:
        raise OperatorError(
            "E0422", f"{EXTRA_ROLES}: {fault}", 'such as [systems] channel = ["wave"]'
        ) from None
    known = {path[len(ROLES) + 1 : -3] for path in bundle.files if path.startswith(f"{ROLES}/")}
    unknown = extra.systems.keys() - known
    if unknown:
        raise OperatorError(
            "E0422", f"{EXTRA_ROLES}: no role {', '.join(sorted(unknown))}",
            f"one of {', '.join(sorted(known))}",
        )  # fmt: skip
    added = [name for name in extra.systems.get(role.name, ()) if name not in role.systems]
    return msgspec.structs.replace(role, systems=(*role.systems, *added))
