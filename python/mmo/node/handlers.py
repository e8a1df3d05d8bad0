"""The table of what a role can do: opcode -> rule, ticks and edges, checked before anything runs.

Owns the reading of marks and their checks; every fault is an `OperatorError` E04xx that names the
function. Modules are loaded by name from a package that is handed in; none is imported here.
Called once at the start of a node, and by `mmo-cluster check`.
"""

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from mmo.contract import PLAYER_PARTS, Before, Edge, Env, Handler, Refuse, Role, Tick
from mmo.errors import OperatorError
from mmo.node.code_faults import function_fault
from mmo.node.modules import shown
from mmo.state.player import Player
from mmo.wire import codec
from mmo.wire.opcode import Code

LINK_OPCODES = range(16, 100)
ORIGINS = ("user", "open", "peer", "node")
MARKS = ("mmo_handler", "mmo_tick", "mmo_broken", "mmo_before", "mmo_edge")
RATES = ("hello", "login", "action", "hit", "list", "ping")


class Route:
    """How one opcode is served."""

    __slots__ = (
        "before", "bound", "by", "call", "decode", "edge", "heir", "lane_field", "mutates", "name",
        "needs", "opcode", "parts", "peers", "rate", "simple", "when_gone",
    )  # fmt: skip

    def __init__(self, opcode: int, by: str, name: str) -> None:
        self.opcode = opcode
        self.by = by
        self.name = name
        self.call: Callable[..., Any] = _never  # (message, player)
        self.bound: Callable[[Any], Any] = _never  # (message), where no part of a player is needed
        self.decode = codec.decoder_of(opcode)
        self.parts: tuple[str, ...] = ()  # of the player, handed over as keywords
        self.mutates = False
        self.edge: Edge | None = None
        self.before: Callable[[Any], Refuse | None] | None = None  # (message), before its edge
        self.lane_field = ""
        self.peers: tuple[str, ...] = ()
        self.rate = ""
        self.simple = False  # decided in line when its lane is open
        self.when_gone = False
        self.needs: tuple[str, ...] = ()  # as marked: parts and states
        self.heir: Route | None = None  # the route of a newer generation, once there is one

    def newest(self) -> "Route":
        """What serves the opcode now."""
        route = self
        while route.heir is not None:
            route = route.heir
        return route


class TickRoute:
    """One rule that runs on time: `call(state)`, or `call(room)` of each room of the state."""

    __slots__ = ("broken", "call", "each", "every_ms", "name", "of", "route")

    def __init__(self, call: Callable[[Any], Any], mark: Tick, name: str) -> None:
        self.call = call
        self.every_ms = mark.every_ms
        self.of = mark.of
        self.each = mark.each
        self.name = name
        self.route = Route(0, "node", name)
        self.broken: Callable[[Any], Any] = _never  # ends a room whose rule fails again and again


class Table:
    """All routes of a role by who may cause them."""

    def __init__(self) -> None:
        self.user: dict[int, Route] = {}
        self.open: dict[int, Route] = {}
        self.peer: dict[int, Route] = {}
        self.node: dict[int, Route] = {}
        self.ticks: list[TickRoute] = []

    def of(self, by: str) -> dict[int, Route]:
        """Routes of one origin."""
        routes: dict[int, Route] = getattr(self, by)
        return routes

    def routes(self) -> list[Route]:
        """All routes."""
        return [route for by in ORIGINS for route in self.of(by).values()]

    def become(self, newer: "Table") -> None:
        """Serve by the routes of `newer` from now on, in the same dictionaries: who holds one of
        them holds the new routes. What already has an older route follows its heir."""
        for by in ORIGINS:
            mine, theirs = self.of(by), newer.of(by)
            for opcode, route in mine.items():
                heir = theirs.get(opcode) or _without_rule(route)
                route.heir = heir if heir is not route else None
            for route in theirs.values():
                route.heir = None  # also of a generation that comes back
            mine.clear()
            mine.update(theirs)
        self.ticks = newer.ticks

    def forget(self) -> None:
        """Let go of every rule; none may be called any more."""
        for route in self.routes():
            route.call = route.bound = _never
            route.before = None
        for by in ORIGINS:
            self.of(by).clear()
        self.ticks = []


def build_table(
    role: Role, states: Mapping[str, Any], env: Env, systems_package: str, edges_package: str
) -> Table:
    """Load the modules that `role` names and build its table. `states` are the volatile states by
    name; `env` is the one environment that every call of this node receives."""
    table = Table()
    seen: dict[int, str] = {}
    if role.token_types and not (role.owns_players or role.runs_raids):
        raise OperatorError("E0409", f"role {role.name} accepts tokens but may not own players")
    broken: dict[str, Callable[..., Any]] = {}
    guards: list[Callable[..., Any]] = []
    for name in role.systems:
        marked = _marked(load_module(f"{systems_package}.{name}"))
        for function in marked["mmo_handler"]:
            with _placed(function):
                _add_handler(table, seen, role, states, env, function)
        for function in marked["mmo_tick"]:
            with _placed(function):
                table.ticks.append(_tick(role, states, env, function))
        for function in marked["mmo_broken"]:
            with _placed(function):
                _check_signature(function, _name(function), (), has_message=True)
            broken[function.mmo_broken] = function  # type: ignore[attr-defined]
        guards += marked["mmo_before"]
    for name in role.edges:
        for function in _marked(load_module(f"{edges_package}.{name}"))["mmo_edge"]:
            _add_edge(table, seen, function)
    for function in guards:
        with _placed(function):
            _add_before(table, states, env, function)
    for tick in table.ticks:
        if tick.each:
            if tick.of not in broken:
                raise OperatorError(
                    "E0410", f"{tick.name} ticks rooms of {tick.of!r} that no rule ends"
                )
            tick.broken = partial(broken[tick.of], env=env)
    return table


@contextmanager
def _placed(function: Callable[..., Any]) -> Iterator[None]:
    """Faults of a hot function name its file and line."""
    try:
        yield
    except OperatorError as fault:
        raise function_fault(function, fault) from None


def load_module(name: str) -> ModuleType:
    """Import one module of the game by name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as fault:
        if fault.name is not None and name.startswith(fault.name):
            raise OperatorError("E0401", f"there is no module {name}", "correct the role") from None
        raise


def _never(*arguments: Any) -> Any:
    raise AssertionError("a route without a function was called")


def _without_rule(route: Route) -> Route:
    """What becomes of messages that wait for a rule which the newer generation does not have."""
    left = Route(route.opcode, route.by, route.name)
    refusal = Refuse(Code.UNKNOWN_MESSAGE, str(route.opcode))
    left.call = left.bound = lambda *arguments: refusal
    return left


def _marked(module: ModuleType) -> dict[str, list[Callable[..., Any]]]:
    """The functions of a module itself by their marks, in their order."""
    found: dict[str, list[Callable[..., Any]]] = {mark: [] for mark in MARKS}
    for value in vars(module).values():
        if getattr(value, "__module__", "") == module.__name__:
            for mark in MARKS:
                if hasattr(value, mark):
                    found[mark].append(value)
    return found


def _name(function: Callable[..., Any]) -> str:
    return shown(f"{function.__module__}.{function.__qualname__}")


def _claim_opcode(seen: dict[int, str], opcode: int, name: str) -> None:
    first = seen.setdefault(opcode, name)
    if first != name:
        raise OperatorError(
            "E0402", f"opcode {opcode} is handled by {first} and by {name}", "keep one of them"
        )
    if codec.class_of(opcode) is None:
        raise OperatorError("E0405", f"{name}: opcode {opcode} has no message", "declare it")


def _add_handler(
    table: Table,
    seen: dict[int, str],
    role: Role,
    states: Mapping[str, Any],
    env: Env,
    function: Callable[..., Any],
) -> None:
    mark: Handler = function.mmo_handler  # type: ignore[attr-defined]
    name = _name(function)
    _claim_opcode(seen, mark.opcode, name)
    if _fits.get(function) != frozenset(states):
        _check_handler(function, name, mark, states)
        if isinstance(function, FunctionType):
            _fits[function] = frozenset(states)
    route = Route(mark.opcode, mark.by, name)
    route.parts = tuple(need for need in mark.needs if need in PLAYER_PARTS)
    fixed: dict[str, Any] = {n: states[n] for n in mark.needs if n not in PLAYER_PARTS}
    route.bound = _with_defaults(function, {**fixed, "env": env})
    route.call = _taking_player(route.bound, route.parts)
    route.mutates = mark.mutates
    route.lane_field = mark.lane
    route.peers = mark.peers
    route.needs = mark.needs
    route.rate = mark.rate
    route.when_gone = mark.when_gone
    route.simple = not mark.mutates and not mark.lane
    table.of(mark.by)[mark.opcode] = route


_fits: WeakKeyDictionary[Callable[..., Any], frozenset[str]] = WeakKeyDictionary()
"""Handlers that were checked, with the names of the states they were checked for: nothing of a
function changes, and in one process many tables may be built of the same functions."""


def _check_handler(
    function: Callable[..., Any], name: str, mark: Handler, states: Mapping[str, Any]
) -> None:
    _check_signature(function, name, mark.needs, has_message=True)
    for need in mark.needs:
        if need not in PLAYER_PARTS and need not in states:
            raise OperatorError("E0404", f"{name} needs {need!r}, no part and no state here")
    fields = codec.class_of(mark.opcode).__struct_fields__  # type: ignore[union-attr]
    if mark.mutates and "op" not in fields:
        raise OperatorError("E0406", f"{name} mutates, but its message has no field `op`")
    if mark.lane and mark.lane not in fields:
        raise OperatorError("E0406", f"{name}: its message has no field {mark.lane!r} for a lane")
    if (mark.by == "peer") != (mark.opcode in LINK_OPCODES) and mark.by != "node":
        raise OperatorError("E0407", f"{name}: opcode {mark.opcode} cannot come by {mark.by}")
    if mark.rate not in RATES:
        raise OperatorError("E0408", f"{name}: no rate class {mark.rate!r}", ", ".join(RATES))


def _add_edge(table: Table, seen: dict[int, str], function: Callable[..., Any]) -> None:
    mark: Edge = function.mmo_edge  # type: ignore[attr-defined]
    name = _name(function)
    _claim_opcode(seen, mark.opcode, name)
    if (
        not inspect.iscoroutinefunction(function)
        or len(inspect.signature(function).parameters) != 3
    ):
        raise OperatorError("E0403", f"{name} must be `async (message, outside, sender)`")
    if mark.by not in ("open", "user") or mark.rate not in RATES:
        raise OperatorError("E0408", f"{name}: an edge is caused by a client, in a rate class")
    route = Route(mark.opcode, mark.by, name)
    route.call = function
    route.edge = mark
    route.rate = mark.rate
    table.of(mark.by)[mark.opcode] = route


def _add_before(
    table: Table, states: Mapping[str, Any], env: Env, function: Callable[..., Any]
) -> None:
    mark: Before = function.mmo_before  # type: ignore[attr-defined]
    name = _name(function)
    _check_signature(function, name, mark.needs, has_message=True)
    for need in mark.needs:
        if need not in states:
            raise OperatorError("E0404", f"{name} needs {need!r}, no state here")
    route = table.open.get(mark.opcode) or table.user.get(mark.opcode)
    if route is None or route.edge is None or route.before is not None:
        raise OperatorError("E0414", f"{name} stands before opcode {mark.opcode}")
    fixed = {need: states[need] for need in mark.needs}
    route.before = _with_defaults(function, {**fixed, "env": env})


def _tick(
    role: Role, states: Mapping[str, Any], env: Env, function: Callable[..., Any]
) -> TickRoute:
    mark: Tick = function.mmo_tick  # type: ignore[attr-defined]
    name = _name(function)
    if mark.of not in states:
        raise OperatorError("E0404", f"{name} ticks {mark.of!r}, which is no state of {role.name}")
    if mark.every_ms < 1:
        raise OperatorError("E0403", f"{name} ticks every {mark.every_ms} ms")
    _check_signature(function, name, (), has_message=True)
    if mark.each and not isinstance(getattr(states[mark.of], mark.each, None), Mapping):
        raise OperatorError("E0404", f"{name}: state {mark.of!r} has no mapping {mark.each!r}")
    return TickRoute(partial(function, env=env), mark, name)


def _check_signature(
    function: Callable[..., Any], name: str, needs: tuple[str, ...], has_message: bool
) -> None:
    if isinstance(function, FunctionType):
        # Read from the code itself: a table is built at every start and every reload.
        code = function.__code__
        first = list(code.co_varnames[: code.co_argcount])
        last = code.co_argcount + code.co_kwonlyargcount
        keywords = set(code.co_varnames[code.co_argcount : last])
    else:
        parameters = inspect.signature(function).parameters.values()
        first = [p.name for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY]
        keywords = {p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    wanted = {*needs, "env"}
    if len(first) != int(has_message) or keywords != wanted:
        raise OperatorError(
            "E0403",
            f"{name} takes {sorted(keywords)} by keyword after {len(first)} arguments",
            f"def {function.__name__}(message, *, {', '.join([*needs, 'env'])})",
        )
    if inspect.iscoroutinefunction(function):
        raise OperatorError("E0403", f"{name} is async; a rule is a plain function")


def _with_defaults(function: Callable[..., Any], fixed: dict[str, Any]) -> Callable[..., Any]:
    """A copy of the rule whose keywords that never change have their values as defaults: calling it
    costs no more than calling the rule."""
    if not isinstance(function, FunctionType):
        return partial(function, **fixed)
    copy = FunctionType(
        function.__code__, function.__globals__, function.__name__, None, function.__closure__
    )
    copy.__kwdefaults__ = fixed
    return copy


def _taking_player(bound: Callable[..., Any], parts: tuple[str, ...]) -> Callable[..., Any]:
    """`call(message, player)` of a rule; without a player every part is None."""

    def call_without_parts(message: Any, player: Player | None) -> Any:
        return bound(message)

    def call(message: Any, player: Player | None) -> Any:
        return bound(message, **{part: getattr(player, part, None) for part in parts})

    return call if parts else call_without_parts
