"""One node composed from configuration, secrets, store, content, role and core, and run to its end.

Owns the order of composition and the patience at the start: with a database that restarts, and with
the lease of an earlier process. Never serves a message. Called by `run`.
"""

import asyncio
import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mmo.cluster.home import ClusterFile, Home, NodePorts
from mmo.cluster.process import is_alive
from mmo.cluster.unwritable import unwritable
from mmo.config import Config, CoreSettings
from mmo.errors import MmoError, OperatorError, StoreUnavailable

if TYPE_CHECKING:
    from mmo.cli.payment_server import PaymentServer
    from mmo.log import Log
    from mmo.node.node import Node
    from mmo.node.watchdog import Watchdog
    from mmo.store import Store

T = TypeVar("T")

LEASE_HELD_CODE = "E0702"
SCHEMA_BEHIND_CODE = "E0204"
RETRY_S = 0.05
STAND_BY_S = 0.02  # rhythm of the questions whether the number is free
CODE = ("mmo._core", "mmo.cli.core", "mmo.log", "mmo.node.node", "mmo.store.durable")
CLOSE_S = 7.0  # longest end of the store: last puts of a relay, the lease, connections
STORE_WAIT_S = 20.0  # a node that starts while the database restarts waits this long for it


class NodeRunner:
    """Composition and life of one node. SIGTERM drains, and ends one that does not serve yet."""

    def __init__(
        self,
        home: Home,
        config: Config,
        ports: NodePorts,
        replaces: bool,
        logs_to_file: bool,
        stands_by: bool = False,
    ) -> None:
        self.home = home
        self.config = config
        self.ports = ports
        self._replaces = replaces
        self._stands_by = stands_by
        self._logs_to_file = logs_to_file
        self._stop_asked = False
        self._serving: Node | None = None
        self._takes_lease = False

    async def run(self) -> int:
        """Open the store, compose, serve until the node ends; returns its exit code."""
        from mmo.cli.compose import mysql_socket, redis_nodes, store_settings
        from mmo.cluster.secret_files import ensure_secrets, read_secrets
        from mmo.store import open_store

        self.home.create()
        self._plant_bug()
        file = self.home.read()
        if file is None and self.config.cluster.profile == "dev":
            ensure_secrets(self.home, self.config)
        self._secrets = read_secrets(self.home, self.config)
        self._load_code()
        # Whoever is asked to end before this has taken nothing and dies by the signal.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, asyncio.current_task())
        settings = store_settings(
            self.config,
            self._secrets,
            mysql_socket(self.config, file),
            redis_nodes(self.config, file),
        )
        try:
            store = await self._patiently(lambda: open_store(settings))
            return await self._live(store, file)
        except asyncio.CancelledError:
            if self._stop_asked:
                return 0  # before it served
            raise

    def _stop(self, running: "asyncio.Task[int] | None") -> None:
        self._stop_asked = True
        if self._serving is not None:
            self._serving.stop()
        elif running is not None and not self._takes_lease:
            running.cancel()  # else `_start` looks when it has the lease, and can give it back

    async def _live(self, store: "Store", file: ClusterFile | None) -> int:
        try:
            await self._give_back_lease(store)
            await self._load_generation(store)
            await self._publish_keys(store)
            node = self._compose(store, self.home.socket(self.ports.name, file))
            supervisor = file.supervisor if file is not None else None
            if supervisor is not None:
                node.is_unwatched = lambda: not is_alive(supervisor)
            door = self._payment_door(node)
            if self._stands_by:
                loaded = self.home.loaded_file(self.ports.name)
                loaded.write_text(str(os.getpid()), encoding="ascii")
            await self._start(node)
            watchdog = self._watch(node)
            code = await self._serve(node, door)
            watchdog.stop()
            if code == 0:
                self._forget_incarnation(node)
            return code
        finally:
            # What is left is in the store already, or was never promised: an end that hangs on it
            # would be a kill.
            with contextlib.suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await store.close()

    def _plant_bug(self) -> None:
        """Only where nodes may be made to fail, which production refuses, and only in a home that
        names a bug: the cluster of the proof that shows whether the checker finds it."""
        if self.config.node.failpoints and self.home.planted_bug.exists():
            from mmo.testing.planted import plant

            plant(self.home.planted_bug.read_text(encoding="ascii").strip())

    def _watch(self, node: "Node") -> "Watchdog":
        """Rules that do not end are interrupted from now on."""
        from mmo.node.watchdog import Watchdog

        watchdog = Watchdog(self.config.node.rule_budget_ms)
        watchdog.start()
        node.engine.timers.every(self.config.node.rule_budget_ms, watchdog.forget)
        return watchdog

    async def _publish_keys(self, store: "Store") -> None:
        """What the rolls of a role that owns players are computed with is promised before any."""
        from mmo.cli.core import KeyedRoll
        from mmo.node.node import unix_ms
        from mmo.node.roll_keys import publish

        self._roll: KeyedRoll | None = None
        if self._role.owns_players:
            roll = self._roll = KeyedRoll(self._secrets.roll)
            days_ahead = self.config.economy.roll_days_ahead
            await self._patiently(lambda: publish(store, roll.key_of, unix_ms(), days_ahead))

    def _payment_door(self, node: "Node") -> "PaymentServer | None":
        """For a role that has one; not open yet. Raises `ConfigError` before anything is served."""
        if not self._role.takes_payments:
            return None
        from mmo.cli.payment_server import PaymentServer

        return PaymentServer(self.home, self.config, self.ports, self._secrets, node.engine)

    async def _serve(self, node: "Node", door: "PaymentServer | None") -> int:
        """Until the node ends; with the payment door where the role has one."""
        if self._roll is not None:
            from mmo.node.roll_keys import RollKeys

            days_ahead = self.config.economy.roll_days_ahead
            RollKeys(node.engine, self._roll.key_of, days_ahead).start()
        if door is None:
            return await node.run()
        door.start()
        # What it answered is written before the node ends, and its port is free for a successor.
        node.doors.append(door.stop)
        try:
            return await node.run()
        finally:
            await door.stop()

    def _load_code(self) -> None:
        """Import what is frozen and compile what is hot, before the stores are asked: with a
        cluster that starts, this is what it does while they start."""
        # The log library would load a terminal library for colours that no node ever prints.
        sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
        for name in CODE:
            importlib.import_module(name)
        from mmo.cli.publishing import warm
        from mmo.cli.sources import import_game

        import_game(self.config)
        warm(self.config)

    async def _load_generation(self, store: "Store") -> None:
        """The code that the cluster decides by, as the store has it. Under a supervisor, once that
        has named the code of this start."""
        from mmo.cli.publishing import name_first
        from mmo.node.generation import build

        end = asyncio.get_running_loop().time() + STORE_WAIT_S
        while self._replaces and not self.home.code_named.exists():
            if asyncio.get_running_loop().time() > end:
                raise OperatorError("E0427", "the supervisor named no code", "read supervisor.log")
            await asyncio.sleep(RETRY_S)
        bundle, number = await self._patiently(lambda: name_first(store, self.config))
        self._generation = build(number, bundle, self.ports.role)
        self._role = self._generation.role

    def _compose(self, store: "Store", socket: Path) -> "Node":
        from mmo._core import NetCore
        from mmo.cli.compose import node_settings, password_pool
        from mmo.cli.core import core_settings, make_sign
        from mmo.cli.roles import ROLE_NAMES
        from mmo.node.node import Node, WallClock, compose

        config, secrets = self.config, self._secrets
        role = self._role
        passwords = None
        if role.edges:
            passwords = password_pool(config, secrets)
        engine = compose(
            node_settings(config, self.ports, str(socket), self._generation.number),
            role,
            store,
            self._generation.content,
            log=self._log(),
            systems_package=self._generation.systems_package,
            edges_package="mmo.edges",
            generation=self._generation,
            passwords=passwords,
            sign=make_sign(config, secrets) if role.signs else None,
            roll=self._roll,
            clock_ms=WallClock(config.node.clock_offset_ms),
        )

        def make_core(incarnation: int, fields: Any) -> NetCore:
            self._incarnation_file().write_text(str(incarnation), encoding="ascii")
            settings: CoreSettings = core_settings(
                config, role, self.ports, secrets, incarnation, fields
            )
            return NetCore(settings)

        return Node(engine, make_core, ROLE_NAMES)

    def _log(self) -> "Log":
        """Raises `OperatorError` E0735 for a file that another user began."""
        from mmo.log import collect_records, open_log

        limits, path = self.config.log, self.home.log_file(self.ports.name)
        try:
            log = open_log(
                self.ports.name,
                level=limits.level,
                path=str(path) if self._logs_to_file else "",
                bytes_max=limits.file_bytes_max,
                files_kept=limits.files_kept,
            )
        except OSError as error:
            raise unwritable(path, error, "remove it") from error
        collect_records(log)
        return log

    async def _start(self, node: "Node") -> None:
        """Start; while an earlier process's lease still lives, wait for its end: who stands by for
        as long as that one may drain."""
        from mmo._core import CoreError
        from mmo.cli.core_faults import operator_error

        limits = self.config.node
        wait_ms = 2 * limits.lease_ms
        if self._stands_by:
            wait_ms += limits.drain_ms + limits.leave_ms + limits.busy_ms
        end = asyncio.get_running_loop().time() + wait_ms / 1000
        while True:
            self._takes_lease = True
            try:
                await node.start()
                self._serving = node
                if self._stop_asked:
                    node.stop()
                return
            except OperatorError as error:
                if error.code != LEASE_HELD_CODE or asyncio.get_running_loop().time() > end:
                    raise
            except StoreUnavailable as error:
                raise _away(error) from error
            except CoreError as fault:
                told = operator_error(fault, self.config, self.ports)
                if told is None:
                    raise
                raise told from fault
            finally:
                self._takes_lease = False
            if self._stop_asked:
                raise asyncio.CancelledError
            await asyncio.sleep(STAND_BY_S if self._stands_by else RETRY_S)

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the stores; a database that starts, or restarts, answers soon. Under a supervisor a
        schema that is behind is waited for too: the supervisor brings it up to date."""
        end = asyncio.get_running_loop().time() + STORE_WAIT_S
        while True:
            try:
                return await ask()
            except StoreUnavailable as error:
                if asyncio.get_running_loop().time() > end:
                    raise _away(error) from error
            except OperatorError as error:
                late = asyncio.get_running_loop().time() > end
                if error.code != SCHEMA_BEHIND_CODE or not self._replaces or late:
                    raise
            await asyncio.sleep(RETRY_S)

    async def _give_back_lease(self, store: "Store") -> None:
        path = self._incarnation_file()
        if self._replaces and path.exists():
            with contextlib.suppress(ValueError, MmoError):
                await store.leave(self.ports.number, int(path.read_text(encoding="ascii")))

    def _forget_incarnation(self, node: "Node") -> None:
        """The lease was given back; a successor that has the number by now keeps its own."""
        path = self._incarnation_file()
        with contextlib.suppress(OSError):
            if path.read_text(encoding="ascii") == str(node.lease.row.incarnation):
                path.unlink()

    def _incarnation_file(self) -> Path:
        return self.home.directory / "run" / f"{self.ports.name}.incarnation"


def _away(error: StoreUnavailable) -> OperatorError:
    """What an operator is told of a database that does not answer."""
    return OperatorError("E0214", f"the database does not answer: {error}", "mmo-cluster status")
