"""The cluster under proof: started in a home of its own (or one that runs), asked, broken, stopped.

Owns processes only through the product's own command line and control sockets, as an operator
would. Judges nothing. Used by every proof.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mmo.client.hero import Address
from mmo.cluster import control
from mmo.cluster.home import ClusterFile, Home
from mmo.errors import OperatorError

START_S = 120.0
REPAIR_S = 30.0
ANSWERED_S = 20.0
"""A process that does not answer is asked again for so long: it may stand for some seconds on a
busy machine, or be another one by then."""
LOOK_EVERY_S = 0.05


class Arena:
    """A running cluster. `own`: made here, stopped and wiped at the end."""

    def __init__(self, home: Path | None, overlay: str = "") -> None:
        self.own = home is None
        self._directory = Path(tempfile.mkdtemp(prefix="mmo-proof-")) if home is None else home
        self.home = Home(self._directory / "home" if home is None else home)
        self._config = self._directory / "proof.toml"
        if self.own:
            self._config.write_text(overlay, encoding="utf-8")

    async def __aenter__(self) -> "Arena":
        if self.own:
            self._plant()
            try:
                await self.command("start", "--follow", str(os.getpid()), deadline_s=START_S)
            except BaseException:
                await self._end()
                raise
        return self

    def _plant(self) -> None:
        """A bug named by `MMO_PLANT` is planted in clusters that obey it: whatever is proved on one
        must fail then."""
        bug = os.environ.get("MMO_PLANT", "")
        if bug:
            self.home.create()
            self.home.planted_bug.write_text(bug, encoding="ascii")

    async def __aexit__(self, *_: object) -> None:
        if self.own:
            await self._end()

    async def _end(self) -> None:
        try:
            await self.command("stop", "--wipe", "--yes", deadline_s=60, accept=(0, 1, 3, 4))
        finally:
            shutil.rmtree(self._directory, ignore_errors=True)

    async def command(
        self, *words: str, deadline_s: float = 30, accept: tuple[int, ...] = (0,), typed: str = ""
    ) -> Any:
        """Run one `mmo-cluster` command with `--json` and return what it printed. `typed`: what it
        reads. Raises `OperatorError` E0790 when it ends with a code outside `accept`."""
        home = ["--home", str(self.home.directory), "--json"]
        config = ["--config", str(self._config)] if self.own and words[0] == "start" else []
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mmo.cli", *words, *home, *config,
            stdin=asyncio.subprocess.PIPE if typed else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(deadline_s):
                out, err = await process.communicate(typed.encode() or None)
        except BaseException:
            if process.returncode is None:
                process.kill()
            raise
        if process.returncode not in accept:
            said = (err or out).decode(errors="replace").strip()[-800:]
            raise OperatorError("E0790", f"{words[0]} ended with {process.returncode}: {said}")
        try:
            return json.loads(out) if out.strip() else {}
        except ValueError:
            return {}

    def file(self) -> ClusterFile:
        """`cluster.json` as it is now. Raises `OperatorError` E0701 when there is none."""
        file = self.home.read()
        if file is None:
            raise control.NotRunning(self.home.cluster_file)
        return file

    def addresses(self, role: str) -> list[Address]:
        """Client addresses of all nodes of a role."""
        nodes = self.file().nodes
        return [("127.0.0.1", node.client_port) for node in nodes if node.role == role]

    async def open_ports(self) -> dict[str, Address]:
        """Client address of every node that listens for clients now, by node name."""
        found: dict[str, Address] = {}
        for node in self.file().nodes:
            address = ("127.0.0.1", node.client_port)
            try:
                _, writer = await asyncio.open_connection(*address)
            except OSError:
                continue
            writer.close()
            found[node.name] = address
        return found

    async def status(self) -> dict[str, Any]:
        """What `status --json` prints, asked of the supervisor directly. Raises `NotRunning`."""
        return await self._asked("supervisor", "status")

    async def node(self, name: str) -> dict[str, Any]:
        """The status row of one node."""
        rows = (await self.status())["nodes"]
        return next(dict(row) for row in rows if row["name"] == name)

    async def stats(self, name: str) -> dict[str, Any]:
        """All counters of one node. Raises `NotRunning`."""
        return await self._asked(name, "stats")

    async def _asked(self, name: str, ask: str) -> dict[str, Any]:
        """The answer to a question that changes nothing, so that it may be asked twice."""
        until_s = time.monotonic() + ANSWERED_S
        while True:
            try:
                return await control.ask_async(self.home.socket(name, self.file()), {"ask": ask}, 2)
            except control.NotRunning:
                if time.monotonic() > until_s:
                    raise
            await asyncio.sleep(LOOK_EVERY_S)

    async def kill_node(self, name: str) -> int:
        """kill -9 of a node's process; returns its pid."""
        pid = int((await self.node(name))["pid"])
        os.kill(pid, signal.SIGKILL)
        return pid

    async def kill(self, name: str) -> None:
        """kill -9 of a process by the supervisor, as `mmo-cluster kill` has it done, and no later:
        the start of a command outlasts many a repair. Raises `OperatorError`."""
        question = {"ask": "kill", "name": name}
        await control.ask_async(self.home.socket("supervisor", self.file()), question, 2.0)

    async def arm(self, name: str, point: str, times: int = 1) -> None:
        """Let a node end itself at the `times`-th reach of a named point. Raises `OperatorError`
        where `node.failpoints` does not allow it."""
        question = {"ask": "fail", "point": point, "times": times}
        await control.ask_async(self.home.socket(name, self.file()), question, 2.0)

    async def set_clock(self, name: str, offset_ms: int) -> int:
        """Let a node's clock be wrong by so much; by how much it was before. Raises `OperatorError`
        where `node.failpoints` does not allow it, and when nobody answers."""
        question = {"ask": "clock", "offset_ms": offset_ms}
        said = await control.ask_async(self.home.socket(name, self.file()), question, 2.0)
        return int(said["before_ms"])

    async def repaired_s(self, name: str, dead_pid: int) -> float | None:
        """Seconds until the node is ready again under another pid; None when it is not."""
        began = time.monotonic()
        while time.monotonic() - began < REPAIR_S:
            row = await self.node(name)
            if row["ready"] and row["pid"] not in (0, dead_pid):
                return time.monotonic() - began
            await asyncio.sleep(LOOK_EVERY_S)
        return None

    async def ready_s(self) -> float | None:
        """Seconds until the whole cluster, stores included, is ready; None when it is not."""
        began = time.monotonic()
        while time.monotonic() - began < REPAIR_S:
            if (await self.status())["ready"]:
                return time.monotonic() - began
            await asyncio.sleep(LOOK_EVERY_S)
        return None
