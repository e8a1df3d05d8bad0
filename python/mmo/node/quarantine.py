"""Rules that fail again and again are not asked any more, until the next generation.

Owns the failures of each rule within a window and who is in quarantine. A rule of an older
generation that decides for rooms of then is one by itself: what it fails at is not held against the
code of now. Rules that this node itself causes are only counted: nobody could be told, and what
they were to do is kept elsewhere.
Called by the router and by `outcomes` with every failure.
"""

import sys
from collections import deque
from typing import TYPE_CHECKING, Any

from mmo.contract import Refuse
from mmo.node.code_faults import where_raised
from mmo.node.handlers import Route
from mmo.wire.opcode import Code

if TYPE_CHECKING:
    from mmo.node.engine import Engine

ERROR_CHARACTERS_MAX = 200


class Quarantine:
    """One per node."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._failures: dict[Route, deque[int]] = {}
        self._of_rooms: dict[Route, str] = {}  # of older generations, for their rooms alone
        self._closed: dict[Route, tuple[Any, Any, Any, bool]] = {}  # as they were before
        self.rules: dict[int, str] = {}  # opcode -> what is in quarantine and why
        self.last = ""  # the last failure: rule, file, line, error

    def failed(self, route: Route, wrong: str = "") -> None:
        """One failure of a rule: what it raised just now, or `wrong` with what it returned."""
        engine, settings = self._engine, self._engine.settings
        self.last = self._told(route, wrong)
        if not route.opcode or route.by == "node" or self._is_closed(route):
            return
        now_ms = engine.timers.now_ms()
        recent = self._failures.setdefault(route, deque())
        recent.append(now_ms)
        while recent[0] <= now_ms - settings.rule_failures_window_ms:
            recent.popleft()
        if len(recent) >= settings.rule_failures_max:
            self._close(route)

    def lift(self) -> None:
        """Another generation decides: everything may be asked again, also where it is one from
        before that comes back."""
        for route, was in self._closed.items():
            if self._engine.table.of(route.by).get(route.opcode) is route:
                route.call, route.bound, route.edge, route.mutates = was
        self._closed.clear()
        self._failures.clear()
        self._of_rooms.clear()  # what was closed of older ones stays so
        self.rules.clear()
        self.last = ""

    def told(self) -> list[str]:
        """What is in quarantine and why, for the status."""
        return [*self.rules.values(), *(f"for older rooms: {x}" for x in self._of_rooms.values())]

    def _is_of_rooms(self, route: Route) -> bool:
        """Whether a rule is of an older generation, and asked for its rooms only."""
        return self._engine.table.of(route.by).get(route.opcode, route) is not route

    def _is_closed(self, route: Route) -> bool:
        if self._is_of_rooms(route):
            return route in self._of_rooms
        return route.opcode in self.rules

    def _close(self, route: Route) -> None:
        refusal = Refuse(Code.QUARANTINED, str(route.opcode))

        def refuses(*arguments: Any) -> Refuse:
            return refusal

        own = self._engine.generations.pins.own_of(route)
        call, bound = (route.call, route.bound) if own is None else own
        self._closed[route] = (call, bound, route.edge, route.mutates)
        if own is not None:
            own[:] = [refuses, refuses]  # older rooms go on
        else:
            route.call = route.bound = refuses
        if self._is_of_rooms(route):
            self._of_rooms[route] = self.last
        else:
            self.rules[route.opcode] = self.last
            if own is None:
                route.edge = None
                route.mutates = False  # an operation that is refused needs no look-up
        del self._failures[route]
        self._engine.metrics.count("rules_quarantined_total")
        self._engine.log.error(
            "rule quarantined", rule=route.name, opcode=route.opcode, last=self.last,
        )  # fmt: skip

    def _told(self, route: Route, wrong: str) -> str:
        fault: Any = sys.exc_info()[1]
        if wrong or fault is None:
            return f"{route.name}: {wrong or 'failed'}"[:ERROR_CHARACTERS_MAX]
        path, line = where_raised(fault)
        place = f"{path}:{line} " if path else ""
        text = f"{route.name}: {place}{type(fault).__name__}: {fault}"
        return text[:ERROR_CHARACTERS_MAX]
