"""What an operator changes while players play: drain a node, replace it, add and remove nodes.

Owns the order of each change and that only one is made at a time. The supervisor watches what comes
of it; a node moves its players itself. Called by the supervisor, for the command line.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mmo.cluster.home import AddedNode, ClusterFile, NodePorts
from mmo.cluster.node_process import NodeProcess
from mmo.cluster.topology import assign_ports, config_of, entry_of, fresh_entry
from mmo.config import ROLES
from mmo.config import Node as NodeConfig
from mmo.errors import OperatorError

if TYPE_CHECKING:
    from mmo.cluster.supervisor import Supervisor

LOOK_S = 0.02
HEARD_S = 0.3
"""From linked to known: servers tell the centers their load four times a second, and until one has
no player is sent there."""

Done = dict[str, Any]


class Changes:
    """One per supervisor."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._supervisor = supervisor
        self._running = ""

    async def drain(self, name: str) -> Done:
        """Move its players, let end what runs, flush, stop; it stays stopped until `start`."""
        async with self._alone(f"drain {name}"):
            return await self._drained(self._supervisor.node(name))

    async def stop(self, names: list[str]) -> Done:
        """Stop these nodes, players moved; they stay stopped until `start`."""
        async with self._alone(f"stop {' '.join(names)}"):
            return await self._supervisor.stop_nodes(names, move=True)

    async def restart(self, name: str) -> Done:
        """Replace one process by a new one, with its players moved; returns when it serves and is
        known."""
        supervisor = self._supervisor
        async with self._alone(f"restart {name}"):
            node, began = supervisor.node(name), time.monotonic()
            pid = node.child.pid if node.child is not None else 0
            loaded = supervisor.home.loaded_file(name)
            limits = supervisor.config.supervisor
            done = await node.replace(self._settings(node), limits, loaded)
            await self._until_serves(node)
            assert node.child is not None
            return {
                **done,
                "pid_before": pid,
                "pid": node.child.pid,
                "seconds": round(time.monotonic() - began, 3),
            }

    async def scale(self, role: str, count: int) -> Done:
        """Exactly `count` nodes of a role: new ones get free numbers and ports, those with the
        highest numbers are drained and forgotten. The home remembers it."""
        if role not in ROLES or count < 1:
            raise OperatorError("E0713", f"scale {role}={count}", "a role and 1 or more of it")
        async with self._alone(f"scale {role}={count}"):
            removed: list[Done] = []
            added = await self._added(role, count)
            while len(self._of(role)) > count:
                last = max(self._of(role), key=lambda node: node.ports.number)
                removed.append(await self._drained(last))
                self._forget(last)
            names = [node.name for node in self._of(role)]
            return {"role": role, "nodes": names, "added": added, "removed": removed}

    async def _added(self, role: str, count: int) -> list[str]:
        """Names of the new nodes, once they serve. Where one does not, none of them was added: the
        next start would try it again, and fail as a whole."""
        before, added = self._of(role), list[str]()
        try:
            while len(self._of(role)) < count:
                added.append(self._add(role).name)
            nodes = [self._supervisor.node(name) for name in added]
            await asyncio.gather(*(self._until_serves(node) for node in nodes))
        except Exception:
            for node in self._of(role):
                if node not in before:
                    await self._drained(node)
                    with contextlib.suppress(OSError):  # a full disk: the next change writes it
                        self._forget(node)
            raise
        return added

    def refuse_beside_another(self) -> None:
        """Raises `OperatorError` E0723 while a change is under way."""
        if self._running:
            raise OperatorError("E0723", f"{self._running} is under way", "wait, then ask again")

    @asynccontextmanager
    async def _alone(self, what: str) -> AsyncIterator[None]:
        """One change at a time, in a cluster that is up. Raises `OperatorError` E0715, E0723."""
        if self._supervisor.state != "ready":
            raise OperatorError(
                "E0715", f"the cluster is {self._supervisor.state}", "wait, then ask again"
            )
        self.refuse_beside_another()
        self._running = what
        try:
            yield
        finally:
            self._running = ""
            self._supervisor.record()

    def _of(self, role: str) -> list[NodeProcess]:
        return [node for node in self._supervisor.nodes if node.ports.role == role]

    async def _drained(self, node: NodeProcess) -> Done:
        began = time.monotonic()
        done = await node.stop(self._settings(node), move=True)
        return {**done, "seconds": round(time.monotonic() - began, 3)}

    def _settings(self, node: NodeProcess) -> NodeConfig:
        return config_of(self._supervisor.config, node.ports.number).node

    def _add(self, role: str) -> NodeProcess:
        supervisor, file = self._supervisor, self._file()
        entries = tuple(entry_of(node) for node in file.nodes)
        known = [entry for entry in supervisor.configured if entry.number in file.removed]
        back = [entry for entry in known if entry.role == role]
        entry = back[0] if back else fresh_entry((*entries, *known), role)
        ports = assign_ports((*entries, entry), file.port_first, file.nodes)[-1]
        if back:
            file.removed.remove(entry.number)
        else:
            file.added.append(AddedNode(ports.name, ports.role, ports.number))
        file.nodes.append(ports)
        try:
            supervisor.write_file()  # before the process, which looks for its ports there
        except OSError:
            self._take_back(file, ports, was_known=bool(back))
            raise
        node = supervisor.spawn_node(ports)
        supervisor.record()
        return node

    @staticmethod
    def _take_back(file: ClusterFile, ports: NodePorts, *, was_known: bool) -> None:
        """Nobody could be told of the node: it was not added."""
        file.nodes.remove(ports)
        if was_known:
            file.removed.append(ports.number)
        else:
            file.added = [one for one in file.added if one.number != ports.number]

    def _forget(self, node: NodeProcess) -> None:
        supervisor, file, number = self._supervisor, self._file(), node.ports.number
        supervisor.nodes.remove(node)
        file.nodes = [ports for ports in file.nodes if ports.number != number]
        kept = [one for one in file.added if one.number != number]
        if len(kept) == len(file.added):
            file.removed.append(number)
        file.added = kept
        supervisor.write_file()

    async def _until_serves(self, node: NodeProcess) -> None:
        """Ready, linked and known to the others. Raises `OperatorError` E0709."""
        supervisor = self._supervisor
        end = time.monotonic() + supervisor.config.supervisor.ready_ms / 1_000
        while True:
            await node.look(supervisor.config.supervisor)
            if node.state == "ready" and await supervisor.all_are_linked():
                break
            if node.state in ("failed", "stopped") or time.monotonic() > end:
                raise OperatorError(
                    "E0709",
                    f"{node.name} did not become ready: {node.error or 'no answer'}",
                    f"read {supervisor.home.log_file(node.name)}",
                )
            await asyncio.sleep(LOOK_S)
        supervisor.record()
        await asyncio.sleep(HEARD_S)

    def _file(self) -> ClusterFile:
        assert self._supervisor.file is not None, "a cluster that is up has its file"
        return self._supervisor.file
