"""A reload over the whole cluster: all living nodes prepare, all pause, one row, all switch.

Owns the two phases and what becomes of them when a node, the store or this process fails in
between. Writes nothing but the row. Called by `reload`, `dev` and the proofs of both.

After `hold` every node decides nothing until the row says which generation does. The row changes
only if nobody else is alive than those who hold, and only until a deadline by the database's clock;
a node that hears nothing goes on with the old code when that deadline has passed in a read that
waits for every switch under way. So at no time do two generations decide.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from mmo.cluster.control import NotRunning, Reply, Request
from mmo.config import Reload
from mmo.errors import OperatorError, StoreError, StoreUnavailable
from mmo.node.bundle import Bundle
from mmo.store import CodeRow, CodeSwitch, LeaseRow, Meanwhile, Store
from mmo.store.code_rows import NOTE_CHARACTERS_MAX

Ask = Callable[[LeaseRow, Request, float], Awaitable[Reply]]
"""Ask one node: `(lease, question, seconds)`. Raises `NotRunning` when nobody answers."""

ROUNDS_MAX = 3
ENDED_S = 0.3
"""How long a node whose lease has ended may think about an answer: one that stands still for longer
reads the row when it wakes."""

RETRY_S = 0.05
KEPT_S = 60.0
"""Unused sources are forgotten only after much longer."""
Progress = Callable[[str], None]


class Switched(msgspec.Struct, frozen=True):
    """What a reload did."""

    generation: int
    nodes: list[str]
    switch_ms: float  # from the first pause to the last node that decides again
    changed: list[str]
    took_ms: float
    late: list[str]  # nodes that did not tell that they switched; they find out by themselves


class Known(msgspec.Struct, frozen=True):
    """What decides, and who may decide, as it was a moment ago."""

    row: CodeRow
    living: list[LeaseRow]


class Coordinator:
    """One reload after the other; two at once are safe, and one of them is refused."""

    def __init__(self, store: Store, ask: Ask, settings: Reload, who: str) -> None:
        self._store = store
        self._ask = ask
        self._settings = settings
        self._who = who
        self._by = secrets.token_hex(8)  # nodes tell by it whose candidate they have
        self._bundles: dict[str, Bundle] = {}
        self._kept: dict[str, float] = {}  # sources that the store took, and when
        self._clock = (0, 0.0)  # of the database, and our own when it was read
        self.differences: list[str] = []  # of the last prepare: what recorded messages would change
        self.steps_ms: dict[str, float] = {}  # how long each step of the last reload took

    async def switch(
        self, bundle: Bundle, note: str = "", again: bool = False, known: "Known | None" = None
    ) -> Switched:
        """Let `bundle` decide on all nodes, or on none. Where it decides already nothing happens,
        unless `again`. `known`: what was read a moment ago and is not read again; the switch itself
        finds out when it is not so any more. Raises `OperatorError`."""
        began = _now_s()
        for left in reversed(range(ROUNDS_MAX)):
            row = known.row if known is not None else await self.row()
            changed = bundle.changed_from(await self.bundle(row.bundle))
            if row.bundle == bundle.digest and not again:
                return Switched(row.generation, [], 0.0, [], _since(began), [])
            await self.keep(bundle)
            living = known.living if known is not None else await self.living()
            known = None
            prepare_s = _now_s()
            nodes = await self.prepare(row.next, bundle.digest, living)
            self.steps_ms["prepare"] = _since(prepare_s)
            took = await self._switch_all(row, row.next, bundle.digest, note, nodes, nodes)
            if took is not None:
                names = [node.name for node in nodes]
                return Switched(row.next, names, took[0], changed, _since(began), took[1])
            if not left:
                break
        raise OperatorError(
            "E0419", "other nodes or another reload came in between, again and again", "try again"
        )

    async def row(self) -> CodeRow:
        """What decides now. Raises `OperatorError` E0418 without the database, E0420 while another
        change of code is under way."""
        read_s = _now_s()
        row: CodeRow = await self._stored(self._store.code())
        self._clock = (row.now_ms, read_s)
        if row.rolling_from:
            raise OperatorError(
                "E0420",
                "a rolling restart is under way",
                "reload when it has ended; was it broken off: mmo-cluster restart --rolling",
            )
        if row.canary:
            if await self._is_tried(row):
                raise OperatorError(
                    "E0420", f"generation {row.canary} is tried by a canary", "wait for its end"
                )
            await self._stored(self._store.end_canary(row.canary, "its node ended"))
        return row

    async def _is_tried(self, row: CodeRow) -> bool:
        """Whether the canary of the row still decides by it."""
        for node in await self.living():
            if node.number == row.canary_number:
                try:
                    said = await self.ask(node, {"ask": "generation"})
                except NotRunning:
                    return True  # alive by its lease: it may
                return bool(said.get("generation") == row.canary)
        return False

    async def deciding_by(self, number: int) -> list[str]:
        """Names of the nodes that decide by this generation; one that does not answer may."""
        nodes = await self.living()
        asked = [self.ask(node, {"ask": "generation"}) for node in nodes]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return [
            node.name
            for node, said in zip(nodes, answers, strict=True)
            if not isinstance(said, dict) or said.get("generation") == number
        ]

    async def started_ms(self) -> int:
        """When the oldest process that answers started; 0: none answers."""
        asked = [self.ask(node, {"ask": "generation"}) for node in await self.living()]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        started = [int(said["started_ms"]) for said in answers if isinstance(said, dict)]
        return min(started, default=0)

    async def ask(self, node: LeaseRow, question: Request) -> Reply:
        """One node, within the time for an answer. Raises `OperatorError`."""
        return await self._ask(node, question, self._settings.answer_ms / 1_000)

    async def begin_canary(
        self, row: CodeRow, digest: str, node: LeaseRow, for_s: float, note: str
    ) -> None:
        """Let one prepared node decide by the next generation, alone."""
        switch = CodeSwitch(
            kind="canary", generation=row.next, bundle=digest, before=row.generation,
            who=self._who, note=note[:NOTE_CHARACTERS_MAX], canary_number=node.number,
        )  # fmt: skip
        if not await self._stored(self._store.switch_code(switch)):
            await self.abandon(row.next, digest, [node])
            raise OperatorError("E0419", "another reload came in between", "try again")
        question = {**self._about("canary", row.next, digest), "for_ms": int(for_s * 1_000)}
        try:
            await self.ask(node, question)
        except BaseException:
            await self.end_canary(row.next, node, "its node did not switch")
            raise

    async def end_canary(self, number: int, node: LeaseRow, why: str) -> None:
        """The canary goes back to what all others decide by."""
        await self._stored(self._store.end_canary(number, why[:NOTE_CHARACTERS_MAX]))
        with contextlib.suppress(OperatorError):  # it reads the row by itself within a second
            await self.ask(node, {"ask": "look"})

    async def promote(self, row: CodeRow, bundle: Bundle, canary: LeaseRow, note: str) -> Switched:
        """All nodes take the generation that the canary decides by. Raises `OperatorError`; then
        the canary went back too."""
        began = _now_s()
        changed = bundle.changed_from(await self.bundle(row.bundle))
        self._bundles[bundle.digest] = bundle
        try:
            living = await self.living()
            others = [node for node in living if node.number != canary.number]
            ready = await self.prepare(row.next, bundle.digest, others) if others else []
            alive = [*ready, *(node for node in living if node.number == canary.number)]
            took = await self._switch_all(row, row.next, bundle.digest, note, ready, alive)
            if took is None:
                raise OperatorError("E0419", "a node came or went in between", "try again")
        except BaseException:
            await self.end_canary(row.next, canary, "the others could not take it")
            raise
        names = [node.name for node in alive]
        return Switched(row.next, names, took[0], changed, _since(began), took[1])

    async def bundle(self, digest: str) -> Bundle | None:
        """Sources by their hash; None when the store has none."""
        if digest and digest not in self._bundles:
            packed = await self._stored(self._store.bundle(digest))
            if packed is None:
                return None
            self._bundles = {digest: Bundle.unpacked(packed, digest)}
        return self._bundles.get(digest)

    async def keep(self, bundle: Bundle) -> None:
        """Store the sources, if that was not done just now. Raises `OperatorError` E0424 when they
        are too long."""
        if _now_s() - self._kept.get(bundle.digest, -KEPT_S) < KEPT_S:
            return
        packed = bundle.packed
        if len(packed) > self._settings.bundle_bytes_max:
            raise OperatorError(
                "E0424",
                f"{len(packed)} bytes of packed sources",
                "raise reload.bundle_bytes_max, or move data out of the tables",
            )
        await self._stored(self._store.add_bundle(bundle.digest, packed))
        self._bundles[bundle.digest] = bundle
        self._kept = {bundle.digest: _now_s()}

    async def living(self) -> list[LeaseRow]:
        """Every node that may decide something: whose lease is alive, and who answers though it has
        ended. After an outage of the database in which nobody could renew, all have ended, and
        whose turn to renew comes last still decides."""
        rows: list[LeaseRow] = await self._stored(self._store.leases())
        ended = [row for row in rows if not row.alive]
        asked = [self._ask(row, {"ask": "generation"}, ENDED_S) for row in ended]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        heard = {
            row.number for row, said in zip(ended, answers, strict=True) if isinstance(said, dict)
        }
        return [row for row in rows if row.alive or row.number in heard]

    async def prepare(self, number: int, digest: str, nodes: Sequence[LeaseRow]) -> list[LeaseRow]:
        """Let every node build the candidate; those whose lease ends meanwhile are left out. Raises
        `OperatorError`: then no node keeps it."""
        question = self._about("prepare", number, digest)
        self.differences = []
        self.steps_ms["build"] = 0.0
        tasks = [asyncio.create_task(self._prepare(node, question)) for node in nodes]
        try:
            answers: list[LeaseRow | None] = await asyncio.gather(*tasks)
        except OperatorError:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.abandon(number, digest, nodes)
            raise
        ready = [node for node in answers if node is not None]
        if not ready:
            raise OperatorError("E0416", "no node is alive", "mmo-cluster status")
        return ready

    async def _prepare(self, node: LeaseRow, question: Request) -> LeaseRow | None:
        """One node, patiently: it may be starting again at this moment."""
        until_s = _now_s() + self._settings.patience_ms / 1_000
        while True:
            try:
                said = await self._ask(node, question, self._settings.answer_ms / 1_000)
                self.differences += said.get("differences", [])
                self.steps_ms["build"] = max(self.steps_ms["build"], said.get("took_ms", 0.0))
                return node
            except NotRunning:
                if _now_s() > until_s:
                    raise OperatorError(
                        "E0415",
                        f"{node.name} is alive and does not answer",
                        "mmo-cluster status; nothing was changed",
                    ) from None
            await asyncio.sleep(RETRY_S)
            rows = await self._stored(self._store.leases())
            now = next((row for row in rows if row.number == node.number and row.alive), None)
            if now is None:
                return None
            node = now

    async def _switch_all(
        self,
        row: CodeRow,
        number: int,
        digest: str,
        note: str,
        nodes: list[LeaseRow],
        alive: list[LeaseRow],
    ) -> tuple[float, list[str]] | None:
        """Pause `nodes`, write while nobody but `alive` is, let all switch. None: something came in
        between, nothing changed."""
        began = _now_s()
        # The database's clock as it must have gone on since it was read. Any deadline is safe, for
        # the database alone says when it has passed.
        read_ms, read_s = self._clock
        deadline_ms = read_ms + int((began - read_s) * 1_000) + self._settings.hold_ms
        question = {**self._about("hold", number, digest), "deadline_ms": deadline_ms}
        switch = CodeSwitch(
            kind="reload", generation=number, bundle=digest, before=row.generation,
            who=self._who, note=note[:NOTE_CHARACTERS_MAX], deadline_ms=deadline_ms,
            holders=tuple((node.number, node.incarnation) for node in alive),
        )  # fmt: skip
        paused: list[float] = []

        async def hold() -> None:
            began_s = _now_s()
            await self._hold_all(question, nodes)
            self.steps_ms["hold"] = _since(began_s)
            paused.append(began_s)

        try:
            has_switched = await self._write(switch, hold, paused)
        except BaseException:
            # Once all hold, the row may change whatever happens to this process: no promise then.
            if not paused:
                await self.abandon(number, digest, nodes)
            raise
        if not has_switched:
            await self.abandon(number, digest, nodes)
            return None
        began = paused[0]
        self.steps_ms["row"] = _since(began) - self.steps_ms["hold"]
        late = await self._look(number, alive)
        return _since(began), late

    async def _hold_all(self, question: Request, nodes: Sequence[LeaseRow]) -> None:
        wait_s = self._settings.hold_ms / 2_000  # the other half is left for the row
        asked = [self._ask(node, question, wait_s) for node in nodes]
        for node, said in zip(
            nodes, await asyncio.gather(*asked, return_exceptions=True), strict=True
        ):
            if isinstance(said, NotRunning):
                raise OperatorError(
                    "E0415", f"{node.name} was lost before the switch", "try again"
                ) from said
            if isinstance(said, BaseException):
                raise said

    async def _write(self, switch: CodeSwitch, hold: Meanwhile, paused: list[float]) -> bool:
        """The switch, with a pause of all nodes in its middle. An answer that was lost is looked
        for until it is certain; before all paused there was nothing to commit."""
        try:
            return await self._store.switch_code(switch, hold)
        except StoreUnavailable as fault:
            if not paused:
                raise _no_database(fault) from fault
        while True:
            await asyncio.sleep(RETRY_S)
            try:
                row = await self._store.code(settled=True)
            except StoreUnavailable:
                continue
            if (row.generation, row.bundle) == (switch.generation, switch.bundle):
                return True
            if row.generation != switch.before or row.now_ms > switch.deadline_ms:
                return False

    async def _look(self, number: int, nodes: Sequence[LeaseRow]) -> list[str]:
        """Tell all to read the row; names of those that did not say that they decide by it."""

        async def one(node: LeaseRow) -> str:
            try:
                said = await self._ask(node, {"ask": "look"}, self._settings.answer_ms / 1_000)
            except OperatorError:
                return node.name
            return "" if said.get("generation") == number else node.name

        return [name for name in await asyncio.gather(*map(one, nodes)) if name]

    def _about(self, ask: str, number: int, digest: str) -> Request:
        return {"ask": ask, "number": number, "bundle": digest, "by": self._by}

    async def abandon(self, number: int, digest: str, nodes: Sequence[LeaseRow]) -> None:
        """Promise that no switch to `number` happens; who does not hear it waits for its end."""
        question = self._about("abandon", number, digest)
        wait_s = self._settings.answer_ms / 1_000
        asked = [self._ask(node, question, wait_s) for node in nodes]
        await asyncio.gather(*asked, return_exceptions=True)

    async def _stored(self, asking: Awaitable[Any]) -> Any:
        """The store's answer. Raises `OperatorError` E0418 when there is none."""
        try:
            return await asking
        except StoreError as fault:
            raise _no_database(fault) from fault


def _no_database(fault: StoreError) -> OperatorError:
    return OperatorError("E0418", f"no reload without the database: {fault}", "mmo-cluster status")


def _now_s() -> float:
    """Seconds of the running loop's clock: real ones, or those of a simulation."""
    return asyncio.get_running_loop().time()


def _since(began: float) -> float:
    return round((_now_s() - began) * 1_000, 1)
