"""Messages of the last minutes as the rules saw them, to be asked again of new code.

Owns a bounded ring of samples: message, parts, states, chance and outcome of one call. Every rule
is sampled once in a while; between two samples a call costs nothing, because the sampling sits in
the route only while it waits for its next call. Secrets are never sampled. The comparison replays
rules, which are pure, on copies; nothing of the running game is touched. Called by `generations`.
"""

import contextlib
import io
import pickle
import random
import re
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from mmo.contract import Env, Outcome, Sender
from mmo.node.code_faults import where_raised
from mmo.node.generation import Generation, Pieces
from mmo.node.handlers import Route
from mmo.node.modules import altered
from mmo.node.watchdog import RuleOverran

if TYPE_CHECKING:
    from mmo.node.engine import Engine

SAMPLE_MS = 1_000  # every rule is sampled once in so long, if it is called
RECORDS_MAX = 1_000
RECORD_BYTES_MAX = 65_536
PACK_S_MAX = 0.003  # what takes longer to copy, or is too long, is left alone
COSTLY_S = 60.0  # for so long
REPLAY_MS_MAX = 300  # of a replay, in pieces; what is left then is not compared
DIFFERENCES_MAX = 20
SECRET = ("password", "token", "hash", "secret", "jti")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class Record(msgspec.Struct, frozen=True, gc=False):
    """One call: packed arguments and what came of it."""

    by: str
    opcode: int
    rule: str
    arguments: bytes
    outcome: bytes


class TooLong(Exception):
    """What was to be packed is longer than a record may be."""


class _Bounded(io.BytesIO):
    """Takes a record's bytes. The pickler hands them over frame by frame (64 KiB), so packing the
    state of a node with a hundred thousand players ends at the bound, not a second later."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__()
        self._bytes_max = bytes_max

    def write(self, some: Any) -> int:
        if self.tell() + len(some) > self._bytes_max:
            raise TooLong
        return super().write(some)


def packed_within(given: Any, bytes_max: int) -> bytes:
    """`given` as bytes.

    Raises:
        TooLong: they would be more than `bytes_max`.
        Exception: it cannot be copied.
    """
    target = _Bounded(bytes_max)
    pickle.Pickler(target, protocol=5).dump(given)
    return target.getvalue()


class Difference(msgspec.Struct):
    """How the outcomes of one rule differ, at one place."""

    rule: str
    place: str
    before: str
    after: str
    count: int = 1


class Recorder:
    """One per node."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self.records: deque[Record] = deque(maxlen=RECORDS_MAX)
        self._costly: dict[int, float] = {}  # opcodes that were too much to copy: until when

    @property
    def env(self) -> Env:
        """Of the rules that are sampled."""
        return self._engine.env

    def start(self) -> None:
        """Sample from now on."""
        self._engine.timers.every(SAMPLE_MS, self.arm)

    def arm(self) -> None:
        """Let every rule be sampled at its next call."""
        now_s = self._engine.work_s()
        pins = self._engine.generations.pins
        for route in self._engine.table.routes():
            is_armed = isinstance(route.call, _Armed)
            rests = self._costly.get(route.opcode, 0.0) > now_s
            if not (is_armed or route.edge or rests or _has_secret(route) or pins.leads(route)):
                _Armed(self, route)

    def disarm(self) -> None:
        """Wait for no call any more: the routes are as they were."""
        for route in self._engine.table.routes():
            if isinstance(route.call, _Armed):
                route.call.put_down()

    def rest(self, route: Route) -> None:
        """A rule that is too much to copy is not sampled for a while."""
        self._costly[route.opcode] = self._engine.work_s() + COSTLY_S

    def keep(self, route: Route, packed: bytes, outcome: Any) -> None:
        """Remember one call."""
        try:
            told = packed_within(outcome, RECORD_BYTES_MAX - len(packed))
        except TooLong:
            self.rest(route)
            return
        except Exception:  # an outcome that cannot be copied cannot be compared
            self._engine.metrics.count("records_unpackable_total")
            return
        self.records.append(Record(route.by, route.opcode, route.name, packed, told))

    def packed(self, route: Route, message: Any, player: Any, seed: int) -> bytes | None:
        """The arguments of a call before it happens, and the seed of its chance."""
        engine, env = self._engine, self._engine.env
        parts = {name: getattr(player, name, None) for name in route.parts}
        states = {name: engine.states[name] for name in route.needs if name in engine.states}
        given = (message, parts, states, env.sender, env.now_ms, seed, env.node)
        began_s = engine.work_s()
        try:
            packed = packed_within(given, RECORD_BYTES_MAX)
        except TooLong:
            self.rest(route)
            return None
        except Exception:  # a state that cannot be copied cannot be replayed
            engine.metrics.count("records_unpackable_total")
            self.rest(route)
            return None
        if engine.work_s() - began_s > PACK_S_MAX:
            self.rest(route)
        return packed

    async def compare(
        self, candidate: Generation, running: Generation
    ) -> tuple[list[str], list[str]]:
        """Ask the candidate the recorded messages that it may answer otherwise than `running`:
        (differences, failures) as texts."""
        found: dict[tuple[str, str], Difference] = {}
        failures: list[str] = []
        asked: dict[str, int] = {}
        newer, older = candidate.bundle, running.bundle
        modules = altered(newer, older) if newer is not None and older is not None else None
        work_s = self._engine.work_s
        until_s = work_s() + REPLAY_MS_MAX / 1_000
        pieces = Pieces(work_s)
        for record in list(self.records):
            if work_s() > until_s:
                break
            route = candidate.table.of(record.by).get(record.opcode) if candidate.table else None
            if route is None or not _may_differ(modules, record.rule, route.name):
                continue
            call = self._call_of(record)
            if call is None or {*call[1], *call[2]} != set(route.needs):
                continue  # the new rule wants something that was not recorded, or less
            asked[record.rule] = asked.get(record.rule, 0) + 1
            self._ask(candidate, route, record, call, found, failures)
            await pieces.give_way()
        told = [
            f"{one.rule}: {one.count} of {asked[one.rule]} recorded messages, "
            f"{one.place}: {one.before} -> {one.after}"
            for one in found.values()
        ]
        return told[:DIFFERENCES_MAX], failures[:DIFFERENCES_MAX]

    def _call_of(self, record: Record) -> tuple[Any, ...] | None:
        """Message, parts, states, sender, time, seed, node, outcome. None, and forgotten, when what
        was said is of a class whose code is gone."""
        try:
            return (*pickle.loads(record.arguments), pickle.loads(record.outcome))
        except Exception:
            with contextlib.suppress(ValueError):  # it was pushed out meanwhile
                self.records.remove(record)
            return None

    def _ask(
        self,
        candidate: Generation,
        route: Route,
        record: Record,
        call: tuple[Any, ...],
        found: dict[tuple[str, str], Difference],
        failures: list[str],
    ) -> None:
        message, parts, states, sender, now_ms, seed, node, before = call
        env = self._env(candidate, sender, now_ms, seed, node)
        rule: Any = route.bound
        try:
            after = rule(message, **parts, **states, env=env)
        except (Exception, RuleOverran) as fault:
            if before is not None:
                path, line = where_raised(fault)
                failures.append(f"{record.rule}: {path}:{line} {type(fault).__name__}: {fault}")
            return
        place, old, new = first_difference(before, after)
        if place:
            key = (record.rule, re.sub(r"\d+", "n", place))
            if key in found:
                found[key].count += 1
            else:
                found[key] = Difference(record.rule, place, old, new)

    def _env(self, candidate: Generation, sender: Sender, now_ms: int, seed: int, node: Any) -> Env:
        uids = iter(range(1, 1 << 31))
        env = self._engine.env
        return Env(
            now_ms=now_ms, rng=random.Random(seed), content=candidate.content, node=node,
            sender=sender, new_uid=lambda: next(uids), roll=env.roll, sign=env.sign,
        )  # fmt: skip


class _Armed:
    """Sits in a route until its next call, records that call, and is gone."""

    def __init__(self, recorder: Recorder, route: Route) -> None:
        self._recorder = recorder
        self._route = route
        self._call, self._bound = route.call, route.bound
        route.call = route.bound = self

    def __call__(self, message: Any, player: Any = None) -> Any:
        route, recorder = self._route, self._recorder
        self.put_down()
        env = recorder.env
        chance, seed = env.rng, env.rng.getrandbits(63)
        packed = recorder.packed(route, message, player, seed)
        env.rng = random.Random(seed)  # so that the call can be repeated
        outcome: Any = None  # stays when the rule raises
        try:
            outcome = self._call(message, player) if route.parts else self._bound(message)
        finally:
            env.rng = chance
            if packed is not None:
                recorder.keep(route, packed, outcome)
        return outcome

    def put_down(self) -> None:
        """Leave the route, unless something else has taken the place."""
        if self._route.call is self:
            self._route.call, self._route.bound = self._call, self._bound


def _may_differ(modules: set[str] | None, *rules: str) -> bool:
    """Whether one of these rules, such as `systems.hunt.hit`, stands in an altered module."""
    return modules is None or any(rule.rpartition(".")[0] in modules for rule in rules)


def _has_secret(route: Route) -> bool:
    decoder = getattr(route.decode, "__self__", None)
    kind = getattr(decoder, "type", None)
    fields = getattr(kind, "__struct_fields__", ())
    return any(word in name for name in fields for word in SECRET)


def first_difference(before: Any, after: Any, place: str = "") -> tuple[str, str, str]:
    """Where two outcomes differ first, and both values there; three empty texts: they do not."""
    if type(before) is not type(after):
        return place or "outcome", _told(before), _told(after)
    if isinstance(before, msgspec.Struct):
        for name in before.__struct_fields__:
            deeper = f"{place}.{name}" if place else name
            found = first_difference(getattr(before, name), getattr(after, name), deeper)
            if found[0]:
                return found
        return "", "", ""
    if isinstance(before, tuple | list):
        if len(before) != len(after):
            return place, f"{len(before)} of them", f"{len(after)} of them"
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            found = first_difference(one, other, f"{place}[{index}]")
            if found[0]:
                return found
        return "", "", ""
    if _told(before) == _told(after) or place.endswith("uid"):
        return "", "", ""
    return place, _told(before), _told(after)


def _told(value: Any) -> str:
    if isinstance(value, Outcome):
        return "an outcome"
    return _ADDRESS.sub("", repr(value))[:80]
