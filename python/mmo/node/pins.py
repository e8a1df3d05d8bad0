"""Rooms that end by the generation they began with, whatever was switched meanwhile.

Owns which room of which state belongs to which older generation, and the way of a message to it: a
state that says in which room a user is (`pin_of(user)`, 0: none) gets his messages decided by the
room's own rules. A generation is kept until its last room is gone, then freed. Told by
`generations` at each switch; asked by `rooms` at each tick.
"""

from collections import Counter
from typing import TYPE_CHECKING, Any

from mmo.node.generation import Generation
from mmo.node.handlers import Route, Table, TickRoute

if TYPE_CHECKING:
    from mmo.node.engine import Engine

PRUNE_MS = 500
"""How often ended rooms are looked for while an older generation is kept for some."""


class Pins:
    """One per node."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._rooms: dict[str, dict[Any, Generation]] = {}  # state -> room -> its generation
        self._wrapped: list[tuple[Route, list[Any], Any]] = []  # with its own call and bound
        self._asked: tuple[Route, Route] | None = None  # which route an older one answered for
        self._pruning = False

    def keep(self, old: Generation) -> bool:
        """The rooms of now belong to `old`, which is about to be replaced; True when there is any,
        also of an earlier switch."""
        self._unwrap()
        self._release_ended()
        for rooms in self._engine.rooms:
            for key in rooms.values():
                self._rooms.setdefault(rooms.of, {}).setdefault(key, old)
        return any(old in pinned.values() for pinned in self._rooms.values())

    def unpin(self, generation: Generation) -> None:
        """A generation runs again: its rooms need no way of their own."""
        self._unwrap()
        for state, pinned in list(self._rooms.items()):
            for key in [key for key, one in pinned.items() if one is generation]:
                del pinned[key]
            if not pinned:
                del self._rooms[state]

    def lead(self, table: Table) -> None:
        """Messages that these routes get for an older room go to its own rules."""
        self._unwrap()
        for route in table.routes():
            for name in route.needs:
                if self._rooms.get(name) and hasattr(self._engine.states[name], "pin_of"):
                    self._wrap(route, name)
                    break
        if self._rooms and not self._pruning:
            self._pruning = True
            self._engine.timers.after(PRUNE_MS, self._prune)

    def leads(self, route: Route) -> bool:
        """Whether messages of a route may go to an older room."""
        return any(route is one[0] for one in self._wrapped)

    def decided(self, route: Route) -> Route:
        """What answered the call of `route` that just ended: itself, or that of an older room."""
        asked = self._asked
        return asked[1] if asked is not None and asked[0] is route else route

    def own_of(self, route: Route) -> list[Any] | None:
        """Call and bound of a route by which it answers for all but older rooms, to be changed in
        place; None when it gets no messages of any."""
        for one, own, chosen in self._wrapped:
            if one is route and route.call is chosen:
                return own
        return None

    def generation_of(self, state: str, key: Any) -> Generation | None:
        """The older generation of a room; None: it belongs to the one that runs."""
        pinned = self._rooms.get(state)
        return pinned.get(key) if pinned else None

    def tick_of(self, generation: Generation, key: tuple[str, int]) -> TickRoute | None:
        """The rule of an older generation for its rooms, with its clock set."""
        table, env = generation.table, generation.env
        assert table is not None and env is not None, "a pinned generation is not freed"
        env.now_ms, env.sender = self._engine.env.now_ms, self._engine.env.sender
        return next((tick for tick in table.ticks if (tick.name, tick.every_ms) == key), None)

    def counts(self) -> dict[int, int]:
        """Rooms by generation, those of the running one included."""
        found: Counter[int] = Counter()
        seen: set[tuple[str, Any]] = set()
        for rooms in self._engine.rooms:
            for key in rooms.values():
                if (rooms.of, key) not in seen:
                    seen.add((rooms.of, key))
                    older = self.generation_of(rooms.of, key)
                    current = self._engine.generations.current
                    found[(older or current).number] += 1
        return dict(sorted(found.items()))

    def _prune(self) -> None:
        """Let go of generations whose last room ended."""
        self._pruning = False
        self._release_ended()
        if not self._rooms:
            self._unwrap()
        else:
            self._pruning = True
            self._engine.timers.after(PRUNE_MS, self._prune)

    def _release_ended(self) -> None:
        before = {id(one): one for pinned in self._rooms.values() for one in pinned.values()}
        self._forget_ended()
        left = {id(one) for pinned in self._rooms.values() for one in pinned.values()}
        for generation in before.values():
            if id(generation) not in left:
                self._engine.generations.release(generation)

    def _forget_ended(self) -> None:
        living: dict[str, set[Any]] = {}
        for rooms in self._engine.rooms:
            living.setdefault(rooms.of, set()).update(rooms.values())
        for state, pinned in list(self._rooms.items()):
            for key in pinned.keys() - living.get(state, set()):
                del pinned[key]
            if not pinned:
                del self._rooms[state]

    def _wrap(self, route: Route, state: str) -> None:
        own: list[Any] = [route.call, route.bound]

        def chosen(message: Any, player: Any = None) -> Any:
            older = self._older(route, state)
            if older is not None:
                self._asked = route, older
                return older.call(message, player)
            self._asked = None
            return own[0](message, player) if route.parts else own[1](message)

        self._wrapped.append((route, own, chosen))
        route.call = route.bound = chosen

    def _older(self, route: Route, state: str) -> Route | None:
        user = self._engine.env.sender.user
        key = self._engine.states[state].pin_of(user) if user else 0
        generation = self.generation_of(state, key) if key else None
        if generation is None:
            return None
        table, env = generation.table, generation.env
        assert table is not None and env is not None, "a pinned generation is not freed"
        older = table.of(route.by).get(route.opcode)
        if older is not None:
            env.now_ms, env.sender = self._engine.env.now_ms, self._engine.env.sender
        return older

    def _unwrap(self) -> None:
        for route, own, chosen in self._wrapped:
            if route.call is chosen:
                route.call, route.bound = own
        self._wrapped, self._asked = [], None
