"""What a hot module must not do, found in its text before it ever runs.

Owns the judgement: state between messages, waiting, clocks, the outside, what outlives a reload,
rules that may return nothing. Never runs what it reads. Called when a generation is checked.
"""

import ast
from collections.abc import Iterator

import msgspec

PURE_MODULES = frozenset(
    {
        *("__future__", "bisect", "collections", "dataclasses", "enum", "hashlib", "hmac"),
        *("ipaddress", "itertools", "math", "msgspec", "operator", "random", "string", "struct"),
        *("types", "typing", "unicodedata"),
    }
)
"""What a rule may import beside this package: none of them reaches a clock, a socket or a file."""
OUR_LAYERS = frozenset({"contract", "state", "wire", "content", "systems", "errors"})
GAME_FOLDERS = frozenset({"messages", "state", "systems"})
MUTABLE_CALLS = frozenset(
    {
        *("list", "dict", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict"),
        *("count", "cycle", "Random", "WeakKeyDictionary", "WeakValueDictionary", "ContextVar"),
    }
)
MEMORY = frozenset({"cache", "lru_cache", "cached_property", "singledispatch"})
CLOCKS = frozenset({"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time"})
SEEDED_CHANCE = "from random import Random"
"""The type of what `env` hands to a rule is all it may have of chance: a rule that draws by itself
decides otherwise when the same message is asked again."""
OUTSIDE_CALLS = frozenset(
    {"open", "print", "input", "exec", "eval", "__import__", "compile", "globals", "setattr"}
)
OUTLIVING = frozenset({"Effect", "Change", "Row", "Struct"})
_MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
_Function = ast.FunctionDef | ast.AsyncFunctionDef
BLOCKS = ("body", "orelse", "handlers", "finalbody", "cases")
"""Where the syntax tree keeps statements in statements; handlers and cases have a body of their
own."""


class Hazard(msgspec.Struct, frozen=True):
    """One place in a hot module; line from 1, column from 0."""

    line: int
    column: int
    text: str


def hazards_of(tree: ast.Module, games: tuple[str, ...] = ()) -> list[Hazard]:
    """Everything in a module of `systems` that a reload or a second node would trip over. `games`:
    import names of a game's own packages."""
    found = [*_held(tree), *_outside(tree), *_imports(tree, games), *_outliving(tree)]
    found += [*_changed(tree), *_returning_nothing(tree)]
    return sorted(found, key=lambda hazard: (hazard.line, hazard.column))


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a name or attribute chain, else the empty text."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        left = dotted(node.value)
        return f"{left}.{node.attr}" if left else ""
    return ""


def _at(node: ast.stmt | ast.expr, text: str) -> Hazard:
    return Hazard(node.lineno, node.col_offset, text)


def _held(tree: ast.Module) -> Iterator[Hazard]:
    """Values and decorators in which something could be kept between two messages."""
    fields = _fields(tree)
    for node in _run_at_import(tree.body):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            if id(node) not in fields:
                yield from _assigned(node)
        elif isinstance(node, ast.While | ast.For):
            yield _at(node, "a loop while the module is imported")
    for function in _functions(tree):
        for mark in function.decorator_list:
            name = dotted(mark.func if isinstance(mark, ast.Call) else mark).split(".")[-1]
            if name in MEMORY:
                yield _at(function, f"{function.name} remembers by {name}")
        defaults = [*function.args.defaults, *(d for d in function.args.kw_defaults if d)]
        if any(isinstance(one, ast.List | ast.Dict | ast.Set) for one in defaults):
            yield _at(function, f"{function.name} has a default that can be changed")


def _fields(tree: ast.Module) -> set[int]:
    """Fields of structures, whose empty default is made anew for each object."""
    return {
        id(one)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.bases
        for one in node.body
        if isinstance(one, ast.AnnAssign) and one.value and ast.unparse(one.value) in ("[]", "{}")
    }


def _run_at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements outside of functions, those of classes and of blocks too."""
    for node in body:
        yield node
        if not isinstance(node, _Function):
            yield from _run_at_import(_inside(node))


def _inside(node: ast.stmt) -> list[ast.stmt]:
    """The statements of its blocks, those of handlers and cases too."""
    parts = [part for block in BLOCKS for part in getattr(node, block, ())]
    return [one for part in parts for one in ([part] if isinstance(part, ast.stmt) else part.body)]


def _assigned(node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> Iterator[Hazard]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if any(isinstance(target, ast.Attribute | ast.Subscript) for target in targets):
        yield _at(node, f"{ast.unparse(targets[0])} of something else is changed at import")
        return
    value = node.value
    called = dotted(value.func).split(".")[-1] if isinstance(value, ast.Call) else ""
    is_special = ast.unparse(targets[0]) in ("__all__", "__slots__")
    if (isinstance(value, _MUTABLE) or called in MUTABLE_CALLS) and not is_special:
        name = ast.unparse(targets[0])
        yield _at(node, f"{name} can be changed and would be kept between messages")


def _changed(tree: ast.Module) -> Iterator[Hazard]:
    """Functions that change what is bound at import, of this module or another."""
    bound: set[str] = set()
    for node in _run_at_import([one for one in tree.body if not isinstance(one, ast.ClassDef)]):
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(one.asname or one.name).split(".")[0] for one in node.names}
        elif isinstance(node, _Function):
            bound.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            bound |= _stored(node)
    bound |= {one.name for one in tree.body if isinstance(one, ast.ClassDef)}
    for outermost in _outermost(tree):
        own = _stored(outermost) | {
            one.arg for one in ast.walk(outermost) if isinstance(one, ast.arg)
        }
        for part in ast.walk(outermost):
            if not isinstance(part, ast.Attribute | ast.Subscript):
                continue
            if isinstance(part.ctx, ast.Store) and _root(part) in bound - own:
                yield _at(part, f"{ast.unparse(part)} outlives the message")


def _stored(node: ast.AST) -> set[str]:
    """Names that are bound anywhere in it."""
    found = {
        one.id
        for one in ast.walk(node)
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
    }
    for one in ast.walk(node):
        if isinstance(one, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and one.name:
            found.add(one.name)
        elif isinstance(one, ast.MatchMapping) and one.rest:
            found.add(one.rest)
    return found


def _outermost(node: ast.AST) -> Iterator[_Function]:
    """Functions that are in no other."""
    for one in ast.iter_child_nodes(node):
        if isinstance(one, _Function):
            yield one
        else:
            yield from _outermost(one)


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _outside(tree: ast.Module) -> Iterator[Hazard]:
    """Awaiting, globals, clocks, calls to the outside, and what would swallow the watchdog."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield _at(node, "asynchronous: a rule never waits")
        elif isinstance(node, ast.Global | ast.Nonlocal):
            yield _at(node, f"{ast.unparse(node)}: a rule keeps nothing")
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in OUTSIDE_CALLS:
                yield _at(node, f"{name}() reaches outside of the rule")
            elif ".".join(name.split(".")[-2:]) in CLOCKS:
                yield _at(node, f"{name}() reads a clock; use env.now_ms")
            elif name == "Random" and all(ast.unparse(one) == "None" for one in node.args):
                yield _at(node, "Random() draws from the machine; use env.rng")
        elif isinstance(node, ast.ExceptHandler) and _catches_all(node):
            yield Hazard(node.lineno, node.col_offset, "catches everything, the watchdog too")
        elif isinstance(node, ast.FunctionDef) and node.name == "__exit__":
            if any(isinstance(one, ast.Return) and not _is_false(one.value) for one in _own(node)):
                yield _at(node, "__exit__ can swallow the watchdog")
        elif isinstance(node, ast.Try | ast.TryStar):
            for leaving in _leaving(node.finalbody):
                yield _at(leaving, "leaves by `finally`, which swallows the watchdog")


def _is_false(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and not value.value)


def _catches_all(node: ast.ExceptHandler) -> bool:
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(one is None or dotted(one).split(".")[-1] == "BaseException" for one in kinds)


def _leaving(body: list[ast.stmt], in_loop: bool = False) -> Iterator[ast.stmt]:
    """Statements of a block after which what was raised is forgotten."""
    for node in body:
        if isinstance(node, ast.Return) or (
            isinstance(node, ast.Break | ast.Continue) and not in_loop
        ):
            yield node
        elif not isinstance(node, _Function | ast.ClassDef):
            yield from _leaving(_inside(node), in_loop or isinstance(node, ast.While | ast.For))


def _imports(tree: ast.Module, games: tuple[str, ...]) -> Iterator[Hazard]:
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if id(node) not in top and not _is_for_types(tree, node):
            yield _at(node, "an import inside of a function runs after the check")
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            bare = [name for name in names if name.split(".")[0] in ("mmo", *games)]
            if bare:
                yield _at(node, f"import {bare[0]}: write `from {bare[0]} import name`")
        else:
            module = node.module or ""
            names = [module] if "." in module else [f"{module}.{a.name}" for a in node.names]
        for name in names:
            if name.split(".")[0] == "random" and ast.unparse(node) != SEEDED_CHANCE:
                yield _at(node, f"imports chance of its own: write `{SEEDED_CHANCE}`, use env.rng")
                break
            if not _is_allowed(name, games):
                yield _at(node, f"imports {name.rstrip('.')}, which a rule may not reach")
                break


def _is_allowed(name: str, games: tuple[str, ...]) -> bool:
    root, _, rest = name.partition(".")
    layer = rest.partition(".")[0]
    if root == "mmo":
        return layer in OUR_LAYERS
    if root in games:
        return layer in GAME_FOLDERS
    return root in PURE_MODULES


def _is_for_types(tree: ast.Module, node: ast.stmt) -> bool:
    return any(
        isinstance(one, ast.If) and "TYPE_CHECKING" in ast.unparse(one.test) and node in one.body
        for one in tree.body
    )


def _outliving(tree: ast.Module) -> Iterator[Hazard]:
    """Classes whose objects would live on in state when their code is gone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            bases = {dotted(one).split(".")[-1] for one in node.bases} & OUTLIVING
            if bases:
                yield _at(node, f"objects of {node.name} outlive this code; define it in state/")


def _returning_nothing(tree: ast.Module) -> Iterator[Hazard]:
    """Rules that can end without an Outcome or a Refuse."""
    for function in _functions(tree):
        marks = {
            dotted(mark.func).split(".")[-1]
            for mark in function.decorator_list
            if isinstance(mark, ast.Call)
        }
        if not marks & {"handles", "ticks"}:
            continue
        declared = ast.unparse(function.returns) if function.returns else "nothing"
        if not {part.strip(" '\"") for part in declared.split("|")} <= {"Outcome", "Refuse"}:
            yield _at(function, f"{function.name} is declared to return {declared}, no Outcome")
        for node in _own(function):
            if isinstance(node, ast.Return) and _is_no_outcome(node.value):
                yield _at(node, f"{function.name} returns no Outcome and no Refuse")
        if not _always_ends(function.body):
            yield _at(function, f"{function.name} can end without returning an Outcome")


def _own(function: _Function) -> Iterator[ast.AST]:
    """Nodes of a function without those of functions inside it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _Function | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def _is_no_outcome(value: ast.expr | None) -> bool:
    literal = (ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Set, ast.JoinedStr, ast.Compare)
    return value is None or isinstance(value, literal)


def _always_ends(body: list[ast.stmt]) -> bool:
    """Whether the last statement can never be passed."""
    last = body[-1]
    if isinstance(last, ast.Return | ast.Raise):
        return True
    if isinstance(last, ast.If):
        return bool(last.orelse) and _always_ends(last.body) and _always_ends(last.orelse)
    if isinstance(last, ast.With):
        return _always_ends(last.body)
    if isinstance(last, ast.Match):
        return all(_always_ends(case.body) for case in last.cases)
    if isinstance(last, ast.Try):
        parts = [last.orelse or last.body, *(handler.body for handler in last.handlers)]
        return all(_always_ends(part) for part in parts)
    return isinstance(last, ast.While) and ast.unparse(last.test) == "True"


def _functions(tree: ast.AST) -> Iterator[_Function]:
    for node in ast.walk(tree):
        if isinstance(node, _Function):
            yield node
