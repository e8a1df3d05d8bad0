"""One node as the supervisor sees it: spawned, ready, restarted with back-off, given up, stopped.

Owns the child process and its history of crashes. Never looks inside the node: what it knows it
asks over the node's socket. Called by the supervisor, on its loop.
"""

import asyncio
import os
import re
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from mmo.cluster.control import ask_async
from mmo.cluster.home import NodePorts
from mmo.cluster.process import Child, ProcessId, python_module
from mmo.cluster.restarts import wait_ms
from mmo.cluster.supervisor_log import log_line
from mmo.config import Node as NodeConfig
from mmo.config import Supervisor as SupervisorSettings
from mmo.errors import OperatorError

State = Literal["stopped", "starting", "ready", "draining", "waiting", "failed"]

STATUS_S = 0.15  # longest wait for a node's status: `status` must answer within 250 ms
SAID_S = 2.0  # who is slow to answer is shown as he said so lately
ANSWER_S = 1.0  # longest wait for an answer that nobody waits for
WAIT_STEP_S = 0.25  # rhythm of the questions to a node that drains
LOADED_LOOK_S = 0.02  # rhythm of the look for a successor's code
CORE_ENDS_S = 1.0  # beyond its drain, for the core's farewell to all connections
LEASE_BACK_S = 3.0  # one call of the store: `mysql.call_ms` of the box
CACHE_ENDS_S = 2.5  # the last puts and words to Redis
CLOSES_S = 3.5  # the leases' own connection and the pool, each with its goodbye
AFTER_DRAIN_S = CORE_ENDS_S + LEASE_BACK_S + CACHE_ENDS_S + CLOSES_S
"""From the end of a drain to the end of the process: what a node may wait for when both stores are
slow, one after the other."""
ERROR_CHARACTERS_MAX = 300
ASK_EVERY_S = 1.0  # how often a ready node is asked whether it still answers
REPLACES, STANDS_BY = "--replaces", "--stands-by"
EXIT_CONFIGURATION = 2
"""Exit code of a node that cannot run as it is configured: restarting it changes nothing."""


class NodeProcess:
    """A node of the home. `state`: starting until its socket says ready; waiting for its restart;
    failed after too many crashes."""

    def __init__(
        self,
        ports: NodePorts,
        command: list[str],
        socket: Path,
        log_file: Path,
        record: Callable[[], None] = lambda: None,
    ) -> None:
        """`record` writes down who runs: called right after a restart or a successor's spawn, so
        that nobody is left unknown when this process is killed."""
        self.ports = ports
        self.name = ports.name
        self.socket = socket
        self.child: Child | None = None
        self.successor: Child | None = None
        self.state: State = "stopped"
        self.error = ""
        self.restarts = 0
        self.crashes: deque[float] = deque()
        self.started_at = 0.0
        self._restart_at = 0.0
        self._asked_to_die = False
        self._killed_for = ""  # why this process ended it
        self._has_served = False  # as it is configured
        self._heard_at = 0.0
        self._said: dict[str, Any] = {}  # its status, as it said it last
        self._said_at = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._command = command
        self._log_file = log_file
        self._record = record

    def spawn(self) -> None:
        """Start the process; it is ready later."""
        if os.path.lexists(self.socket):
            os.unlink(self.socket)
        self.child = Child(self._command, self._log_file, dies_with_parent=False)
        self._killed_for = ""
        self._said_at = 0.0
        self.state = "starting"
        self.started_at = time.monotonic()

    async def look(self, settings: SupervisorSettings) -> None:
        """Notice an end, restart when it is time, see whether a starting node became ready."""
        if self.state == "waiting" and time.monotonic() >= self._restart_at:
            self.restarts += 1
            self.spawn()
            self._record()
        if self.state not in ("starting", "ready"):
            return
        assert self.child is not None
        code = self.child.exit_code()
        if code is not None:
            self._ended(code, settings)
        elif self.state == "starting":
            await self._look_for_ready(settings)
        elif settings.silent_ms and self._looking is None:
            self._looking = asyncio.create_task(self._look_for_silence(settings.silent_ms))

    def running(self) -> dict[str, ProcessId]:
        """Its living processes by name."""
        children = ((self.name, self.child), (f"{self.name} successor", self.successor))
        return {name: child.identity for name, child in children if child and child.is_running()}

    async def row(self) -> dict[str, Any]:
        """The row of `status`: what the node says, or what is known of it from outside."""
        row: dict[str, Any] = {
            "name": self.name,
            "number": self.ports.number,
            "role": self.ports.role,
            "pid": self.child.pid if self.child and self.child.is_running() else 0,
            "ready": False,
            "generation": 0,
            "connections": 0,
            "loop_lag_p99_ms": 0.0,
            "queue": 0,
        }
        if self.state in ("starting", "ready"):
            said = await self._said_of_itself()
            row.update({key: value for key, value in said.items() if key != "pid"})
            row["ready"] = bool(said.get("ready")) and self.state == "ready"
        row["state"] = self.state
        row["restarts"] = self.restarts
        row["error"] = self.error
        row["client_port"] = self.ports.client_port
        return row

    async def _said_of_itself(self) -> dict[str, Any]:
        """Its status; what it said a moment ago, when it is only slow to answer."""
        try:
            said = await ask_async(self.socket, {"ask": "status"}, STATUS_S)
        except OperatorError as gone:
            is_slow = isinstance(gone.__cause__, TimeoutError)
            is_fresh = time.monotonic() - self._said_at < SAID_S
            running = self.child is not None and self.child.is_running()
            return self._said if is_slow and is_fresh and running else {}
        self._said, self._said_at = said, time.monotonic()
        return said

    async def stop(self, settings: NodeConfig, *, move: bool) -> dict[str, Any]:
        """Drain and end. `move`: players are sent to other servers first. `killed`: it did not end
        by itself, or not in order. `unflushed`: 0, or 1 for such a node: what was not yet answered
        may not be written, what was answered is."""
        was_ready = self.state == "ready"
        child, self.state = self.child, "draining"
        if child is None or not child.is_running():
            self.state = "stopped"
            return {"name": self.name, "unflushed": 0, "killed": False}
        question = {"ask": "stop", "grace_ms": settings.drain_ms, "move": move}
        try:
            await ask_async(self.socket, question, ANSWER_S)
        except OperatorError:
            child.signal(15)
            move = True  # what a signal means to a node, where the question was not heard
        ended = await self._await_end(child, settings, move)
        if not ended:
            await asyncio.to_thread(child.kill)
        self.state = "stopped"
        # A node that still loads its code has nothing to drain and dies by the signal.
        clean = ended and (child.exit_code() == 0 or not was_ready)
        return {"name": self.name, "unflushed": 0 if clean else 1, "killed": not clean}

    async def _await_end(self, child: Child, settings: NodeConfig, move: bool) -> bool:
        """Whether the process ended in its time, which is longer while it says that something runs
        there."""
        flush_s = settings.drain_ms / 1_000 + AFTER_DRAIN_S
        began = time.monotonic()
        end = began + flush_s + (settings.leave_ms / 1_000 if move else 0)
        while not await asyncio.to_thread(child.wait, WAIT_STEP_S):
            now = time.monotonic()
            if now - began < settings.busy_ms / 1_000 and await self._says_busy():
                end = max(end, now + flush_s)
            elif now > end:
                return False
        return True

    async def _says_busy(self) -> bool:
        try:
            return bool((await ask_async(self.socket, {"ask": "status"}, ANSWER_S)).get("busy"))
        except OperatorError:
            return False

    async def replace(
        self, settings: NodeConfig, supervisor: SupervisorSettings, loaded: Path
    ) -> dict[str, Any]:
        """Another process takes over: it loads its code while this one serves, waits for the number
        to be free, and serves as soon as this one has drained. Raises `OperatorError` E0722 when it
        does not come so far; then nothing has changed."""
        if self.state not in ("ready", "starting"):
            self.crashes.clear()
            self.spawn()
            self._record()
            return {"name": self.name, "unflushed": 0, "killed": False}
        command = [*(word for word in self._command if word != REPLACES), STANDS_BY]
        successor = Child(command, self._log_file, dies_with_parent=False)
        self.successor = successor
        try:
            self._record()
            await self._await_loaded(successor, loaded, supervisor.ready_ms / 1_000)
            result = await self.stop(settings, move=True)
        except BaseException:
            successor.kill()
            raise
        finally:
            self.successor = None
        self.child, self.state, self._killed_for = successor, "starting", ""
        self.started_at = time.monotonic()
        return result

    async def _await_loaded(self, successor: Child, loaded: Path, deadline_s: float) -> None:
        end = time.monotonic() + deadline_s
        while not _names(loaded, successor.pid):
            if not successor.is_running() or time.monotonic() > end:
                said = _last_word(successor.log_tail(8)) or "it said nothing"
                raise OperatorError(
                    "E0722",
                    f"another process for {self.name} did not come up: {said}",
                    f"read {self._log_file}; {self.name} goes on as before",
                )
            await asyncio.sleep(LOADED_LOOK_S)

    def kill(self) -> int:
        """kill -9; the next look restarts it. Returns the pid."""
        if self.child is None or not self.child.is_running():
            raise OperatorError("E0708", f"{self.name} does not run now", "mmo-cluster status")
        pid = self.child.pid
        self._asked_to_die = True
        self.child.kill()
        return pid

    def _ended(self, code: int, settings: SupervisorSettings) -> None:
        assert self.child is not None
        now = time.monotonic()
        self.error = self._killed_for or self._how_it_ended(self.child, code)
        self._killed_for = ""
        # Who is killed on request has not crashed: a test that kills all day must not end it.
        if not self._asked_to_die:
            self.crashes.append(now)
        self._asked_to_die = False
        after_ms = wait_ms(self.crashes, now, settings)
        # Of who served, what is in the way may pass: another has its port for a moment.
        is_hopeless = code == EXIT_CONFIGURATION and not self._has_served
        if is_hopeless or len(self.crashes) > settings.crashes_max:
            self.state = "failed"
            log_line(f"{self.name} {self.error}: given up")
            return
        log_line(f"{self.name} {self.error}: restart {self.restarts + 1}")
        self._restart_at = now + after_ms / 1000
        self.state = "waiting"

    @staticmethod
    def _how_it_ended(child: Child, code: int) -> str:
        how = f"ended with {code}" if code >= 0 else f"killed by signal {-code}"
        said = _last_word(child.log_tail(8)) if code != 0 else ""
        return f"{how}: {said[:ERROR_CHARACTERS_MAX]}" if said else how

    async def _look_for_silence(self, silent_ms: int) -> None:
        """Ask a ready node for a sign of life, beside the other looks; end one that gives none."""
        child = self.child
        try:
            if time.monotonic() - self._heard_at < ASK_EVERY_S:
                return
            await ask_async(self.socket, {"ask": "status"}, ANSWER_S)
            self._heard_at = time.monotonic()
        except OperatorError:
            silent_s = time.monotonic() - self._heard_at
            if silent_s > silent_ms / 1000 and child is not None and child is self.child:
                self._killed_for = self.error = f"silent for {silent_s:.0f} s"
                child.kill()
        finally:
            self._looking = None

    async def _look_for_ready(self, settings: SupervisorSettings) -> None:
        try:
            said = await ask_async(self.socket, {"ask": "status"}, ANSWER_S)
        except OperatorError:
            said = {}
        if said.get("ready"):
            self.state = "ready"
            if self.error:
                log_line(f"{self.name} serves again")
            self.error = ""
            self._has_served = True
            self._heard_at = time.monotonic()
        elif time.monotonic() - self.started_at > settings.ready_ms / 1000:
            assert self.child is not None
            self._killed_for = self.error = "not ready within supervisor.ready_ms"
            self.child.kill()


def _names(loaded: Path, pid: int) -> bool:
    """Whether a file of `Home.loaded_file` was written by this process."""
    try:
        return loaded.read_text(encoding="ascii") == str(pid)
    except OSError:
        return False


def _last_word(tail: str) -> str:
    """The line with an operator code where there is one, else the last line."""
    lines = tail.splitlines()
    coded = [line for line in lines if re.match(r"E\d{4} ", line)]
    return (coded or lines or [""])[-1]


def node_command(ports: NodePorts, home: Path, config_file: str) -> list[str]:
    """What runs a node: `mmo-cluster run` without the parser of all other commands."""
    command = [
        *python_module("mmo.cli.run"),
        ports.role,
        "--number",
        str(ports.number),
        "--home",
        str(home),
        REPLACES,  # the supervisor saw the earlier process end, or ended it
    ]
    return [*command, "--config", config_file] if config_file else command
