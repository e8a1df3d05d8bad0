"""The desk at which code is changed: store, checker and coordinator of one home, open together.

Owns their life and the steps of a reload in order: read, check, switch. Prints nothing. Used by
`reload`, `dev` and the proofs and benches of reloads.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mmo.cli.canary import Canary
from mmo.cli.checker import Checker
from mmo.cli.publishing import who
from mmo.cli.sources import frozen_since, import_game, read_sources, watched
from mmo.cli.switching import Coordinator, Known
from mmo.cluster.control import Reply, Request, ask_async
from mmo.cluster.home import ClusterFile, Home
from mmo.config import Config
from mmo.errors import OperatorError, StoreError
from mmo.store import CodeRecord, CodeRow, CodeSwitch, LeaseRow, Store, open_store

DEBOUNCE_MS = 50
STEP_MS = 5
GENERATIONS_KEPT = 500
"""Generations whose sources stay in the store, for `--back` and `generation --out`."""
UNUSED_MS = 3_600_000


class Done(msgspec.Struct, frozen=True):
    """What a reload or a check did, for print and scripts."""

    generation: int
    nodes: list[str]
    switch_ms: float
    changed: list[str]
    took_ms: float = 0.0
    late: list[str] = []
    differences: list[str] = []
    only_checked: bool = False
    frozen: list[str] = []  # saved files that only a restart takes
    went_back: str = ""  # why a canary was not kept
    canary: dict[str, Any] = {}
    steps_ms: dict[str, float] = {}
    """How long parts of it took: `read` of the files and of what decides, `check` (beside it `keep`
    in the store), `prepare` (of it `build` on the slowest node), then the pause: `hold`, `row`, and
    the rest until all have it."""

    def as_json(self) -> dict[str, Any]:
        """The documented form first."""
        told: dict[str, Any] = msgspec.to_builtins(self)
        return told


class Desk:
    """Use as `async with`. Raises `OperatorError` when store or sources cannot be had."""

    def __init__(self, home: Home, file: ClusterFile, config: Config) -> None:
        self._home = home
        self._file = file
        self._config = config
        settings = config.reload
        self._checker = Checker(
            home.config_in_use(file), settings.check_ms, settings.check_bytes_max
        )
        self._store: Store | None = None
        self.coordinator: Coordinator | None = None

    async def __aenter__(self) -> "Desk":
        from mmo.cli.compose import mysql_socket, store_settings
        from mmo.cluster.secret_files import read_secrets

        try:
            await self._checker.start()
            import_game(self._config)
            secrets = read_secrets(self._home, self._config)
            socket = mysql_socket(self._config, self._file)
            self._store = await open_store(store_settings(self._config, secrets, socket, []))
        except StoreError as fault:
            await self._checker.close()
            raise OperatorError(
                "E0418", f"no reload without the database: {fault}", "mmo-cluster status"
            ) from fault
        except BaseException:
            await self._checker.close()
            raise
        self.coordinator = Coordinator(self._store, self._ask, self._config.reload, who())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._checker.close()
        if self._store is not None:
            await self._store.close()

    async def reload(self, note: str = "", only_check: bool = False) -> Done:
        """Take what lies on the disk now. Raises `OperatorError`; then nothing was changed."""
        coordinator = self._coordinating()
        loop = asyncio.get_running_loop()
        began = loop.time()
        bundle = read_sources(self._config).bundle
        row = await coordinator.row()
        changed = bundle.changed_from(await coordinator.bundle(row.bundle))
        coordinator.steps_ms = {"read": _since(began)}
        if not changed:
            frozen = await self._frozen()
            return Done(
                row.generation, [], 0.0, [], _since(began), only_checked=only_check, frozen=frozen
            )
        checking = asyncio.create_task(self._checker.check(bundle.packed, bundle.digest))
        try:
            await coordinator.keep(bundle)
            coordinator.steps_ms["keep"] = _since(began) - coordinator.steps_ms["read"]
            living = await coordinator.living()
        finally:
            await checking
        coordinator.steps_ms["check"] = _since(began) - coordinator.steps_ms["read"]
        if only_check:
            ready = await coordinator.prepare(row.next, bundle.digest, living)
            await coordinator.abandon(row.next, bundle.digest, ready)
            names = [node.name for node in ready]
            return Done(
                row.generation, names, 0.0, changed, _since(began),
                differences=coordinator.differences, only_checked=True, frozen=await self._frozen(),
            )  # fmt: skip
        if read_sources(self._config).bundle.digest != bundle.digest:
            # Saved on while it was checked: what was read first may be half of a save, or of many.
            return await self.reload(note)
        switched = await coordinator.switch(bundle, note, known=Known(row, living))
        took_ms = _since(began)
        await self._forget_old(switched.generation)
        return Done(
            switched.generation, switched.nodes, switched.switch_ms, switched.changed,
            took_ms, switched.late, coordinator.differences, frozen=await self._frozen(),
            steps_ms={name: round(took, 1) for name, took in coordinator.steps_ms.items()},
        )  # fmt: skip

    async def _frozen(self) -> list[str]:
        """Files saved since the oldest process started, which only a restart takes."""
        started_ms = await self._coordinating().started_ms()
        return frozen_since(self._config, started_ms) if started_ms else []

    async def canary(self, name: str, for_s: float, note: str = "") -> Done:
        """Take what lies on the disk, on one node first. `went_back` says why it was not kept.
        Raises `OperatorError`."""
        coordinator = self._coordinating()
        began = asyncio.get_running_loop().time()
        bundle = read_sources(self._config).bundle
        row = await coordinator.row()
        changed = bundle.changed_from(await coordinator.bundle(row.bundle))
        if not changed:
            return Done(row.generation, [], 0.0, [], _since(began))
        await self._checker.check(bundle.packed, bundle.digest)
        tried = await Canary(coordinator, self._config.reload).run(bundle, name, for_s, note)
        told = msgspec.to_builtins(tried)
        told.pop("switched")
        if tried.switched is None:
            return Done(
                row.generation, [], 0.0, changed, _since(began),
                differences=coordinator.differences, went_back=tried.why, canary=told,
            )  # fmt: skip
        done = tried.switched
        return Done(
            done.generation, done.nodes, done.switch_ms, changed, _since(began), done.late,
            coordinator.differences, canary=told,
        )  # fmt: skip

    async def back(self) -> Done:
        """Let the code decide that the present one replaced, under a new number. Raises
        `OperatorError` E0425 when there was none."""
        coordinator = self._coordinating()
        began = asyncio.get_running_loop().time()
        row = await coordinator.row()
        replaced = (await self._record(row.generation)).replaced
        before = await self._record(replaced) if replaced else None
        bundle = await coordinator.bundle(before.bundle) if before is not None else None
        if before is None or bundle is None or before.generation == row.generation:
            raise OperatorError(
                "E0425",
                f"there is no code before generation {row.generation}",
                "mmo-cluster reload",
            )
        note = f"back to generation {before.generation}"
        switched = await coordinator.switch(bundle, note, again=True)
        return Done(
            switched.generation, switched.nodes, switched.switch_ms, switched.changed,
            _since(began), switched.late,
        )  # fmt: skip

    async def begin_rolling(self) -> int:
        """From now on processes that start run what lies on the disk; the generation they run by.
        One that was begun before and did not end goes on, or goes back when what it began from lies
        there again. Raises `OperatorError`."""
        assert self._store is not None, "the desk is not open"
        bundle = read_sources(self._config).bundle
        row = await self._store.code()
        if row.bundle == bundle.digest:
            return row.generation
        if row.rolling_from and (await self._record(row.rolling_from)).bundle == bundle.digest:
            if not await self._store.turn_rolling(row.generation, row.rolling_from):
                raise OperatorError("E0419", "another reload came in between", "try again")
            return row.rolling_from
        await self._refuse_a_third(row)
        await self._checker.check(bundle.packed, bundle.digest)
        await self.end_rolling()
        row = await self._coordinating().row()
        await self._coordinating().keep(bundle)
        switch = CodeSwitch(
            kind="rolling", generation=row.next, bundle=bundle.digest, before=row.generation,
            who=who(), note="rolling restart",
        )  # fmt: skip
        if not await self._store.switch_code(switch):
            raise OperatorError("E0419", "another reload came in between", "try again")
        return switch.generation

    async def _refuse_a_third(self, row: CodeRow) -> None:
        """Raises `OperatorError` E0431 while servers wait for a restart that began before: they may
        decide by two generations, not by a third."""
        waiting = (
            await self._coordinating().deciding_by(row.rolling_from) if row.rolling_from else []
        )
        if waiting:
            raise OperatorError(
                "E0431",
                f"a rolling restart to generation {row.generation} is half done:"
                f" {', '.join(waiting)} still run {row.rolling_from}",
                f"mmo-cluster generation {row.generation} --out DIR has the code to finish it "
                f"with, generation {row.rolling_from} that to go back to",
            )

    async def end_rolling(self) -> int:
        """Every process has started anew: one generation decides again."""
        assert self._store is not None, "the desk is not open"
        await self._store.end_rolling()
        return await self.number()

    async def records(self, newest: int, count: int) -> Sequence[CodeRecord]:
        """Generations from `newest` (0: the one that decides) downwards. Raises `OperatorError`
        E0425 when there is none."""
        assert self._store is not None, "the desk is not open"
        newest = newest or (await self._store.code()).generation
        found = await self._store.code_records(newest, count)
        if not found or found[0].generation != newest:
            raise OperatorError(
                "E0425", f"there never was a generation {newest}", "mmo-cluster generation --last 9"
            )
        return found

    async def _record(self, generation: int) -> CodeRecord:
        return (await self.records(generation, 1))[0]

    async def _forget_old(self, generation: int) -> None:
        """Sources of long ago go; their records stay."""
        assert self._store is not None, "the desk is not open"
        with contextlib.suppress(StoreError):  # the next reload does it
            await self._store.forget_bundles(generation - GENERATIONS_KEPT, UNUSED_MS)

    async def decided(self, user: int, epoch: int, counter: int) -> int:
        """The generation that decided an operation. Raises `OperatorError` E0425."""
        assert self._store is not None, "the desk is not open"
        found = await self._store.code_of_operation(user, epoch, counter)
        if not found:
            raise OperatorError(
                "E0425", f"user {user} has no operation {epoch}:{counter}", "mmo-cluster trace"
            )
        return found

    async def number(self) -> int:
        """The generation that decides; 0 when the store does not say."""
        assert self._store is not None, "the desk is not open"
        try:
            return (await self._store.code()).generation
        except StoreError:
            return 0

    async def write_sources(self, digest: str, folder: Path) -> None:
        """The files of a bundle into a new folder. Raises `OperatorError` E0425."""
        bundle = await self._coordinating().bundle(digest)
        if bundle is None:
            raise OperatorError("E0425", f"the store has no code {digest[:8]}")
        for path, text in bundle.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")

    async def warm(self) -> None:
        """Let the checker know the code that lies on the disk, so that the first save does not wait
        for it; faults are told when it is taken."""
        bundle = read_sources(self._config).bundle
        with contextlib.suppress(OperatorError):
            await self._checker.check(bundle.packed, bundle.digest)

    def folders(self) -> list[Path]:
        """Where a save is noticed."""
        return watched(self._config)

    async def saves(self) -> AsyncIterator[None]:
        """Once now, and after every save from now on; several within a few milliseconds are
        one."""
        from watchfiles import awatch

        changes = awatch(
            *self.folders(), debounce=DEBOUNCE_MS, step=STEP_MS, watch_filter=_is_source
        )
        noticed = asyncio.ensure_future(anext(changes))
        try:
            await asyncio.sleep(0)  # the watch begins: what is saved while a reload runs is noticed
            yield
            while True:
                await noticed
                noticed = asyncio.ensure_future(anext(changes))
                yield
        finally:
            noticed.cancel()

    def _coordinating(self) -> Coordinator:
        assert self.coordinator is not None, "the desk is not open"
        return self.coordinator

    async def _ask(self, node: LeaseRow, question: Request, wait_s: float) -> Reply:
        """A node of this home over its socket. Raises `OperatorError` E0416 for one elsewhere."""
        file = self._home.read() or self._file
        if not any(one.number == node.number and one.name == node.name for one in file.nodes):
            raise OperatorError(
                "E0416",
                f"{node.name} is alive on {node.link_host} and not of this home",
                "stop the nodes that run elsewhere; many machines change their code while stopped",
            )
        return await ask_async(self._home.socket(node.name, file), question, wait_s)


def _is_source(change: object, path: str) -> bool:
    return path.endswith((".py", ".toml")) and not os.path.basename(path).startswith(".")


def _since(began: float) -> float:
    return round((asyncio.get_running_loop().time() - began) * 1_000, 1)
