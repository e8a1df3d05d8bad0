"""The one process that starts, watches and stops everything of a home.

Owns the order: stores side by side, schema, then all nodes at once; nodes before stores when
stopping. Restarts what ends. Answers `ping`, `progress`, `status`, `start`, `kill`, `stop`,
and what `changes` does, on its socket.
Never touches a player's data; what needs the store (the schema) is handed in by `cli`.
"""

import asyncio
import contextlib
import os
import signal
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from mmo.cluster.changes import Changes
from mmo.cluster.control import Reply, Request, serve
from mmo.cluster.home import AddedNode, ClusterFile, Home, NodePorts
from mmo.cluster.leftovers import end_leftovers
from mmo.cluster.node_process import NodeProcess, node_command
from mmo.cluster.patience import STOP_ORDER
from mmo.cluster.process import ProcessId, identify, is_alive
from mmo.cluster.secret_files import Secrets, ensure_secrets, read_secrets
from mmo.cluster.stores import Stores
from mmo.cluster.supervisor_log import log_line
from mmo.cluster.topology import PortBlock, assign_ports, config_of, scaled, take_block
from mmo.config import Config, NodeEntry
from mmo.errors import OperatorError

Prepare = Callable[[Secrets, str], Awaitable[str]]
"""`(secrets, mysql socket or "") -> what was done`: brings schema and code up to date."""


class Supervisor:
    """Composition and life of a cluster on one machine."""

    def __init__(
        self,
        home: Home,
        config: Config,
        nodes: tuple[NodeEntry, ...],
        config_file: str,
        prepare: Prepare,
        follow: int = 0,
        fixed_roles: tuple[str, ...] = (),
        config_text: str = "",
    ) -> None:
        """`nodes`: what this start asks for; what differs from the configured ones is remembered as
        what `scale` changed is. `follow`: pid of a process with whose end the whole cluster stops;
        0: nobody. `fixed_roles`: `nodes` says how many of them there are, whatever was before.
        `config_text`: what the nodes read, for as long as this cluster runs."""
        self.home = home
        self.config = config
        self.prepare = prepare
        self.nodes: list[NodeProcess] = []
        self.stores: Stores | None = None
        self.state = "starting"
        self.steps: list[dict[str, Any]] = []
        self.error: OperatorError | None = None
        self.ports_moved = ""
        self.configured = config.nodes
        self.file: ClusterFile | None = None
        self._asked_for = nodes
        self._fixed_roles = fixed_roles
        self._changes = Changes(self)
        self._under_way: set[asyncio.Task[Reply]] = set()
        self._config_file = config_file
        self._config_text = config_text
        self._block: PortBlock | None = None
        self._ended = asyncio.Event()
        self._began = time.monotonic()
        self._follow = identify(follow) if follow else None
        if follow and self._follow is None:
            raise OperatorError(
                "E0711", f"process {follow}, with whose end it would stop, has ended", "start anew"
            )
        self._starting: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[Reply] | None = None

    async def run(self) -> int:
        """Start everything, watch until stopped. Returns the exit code."""
        self.home.create()
        lock = self.home.lock()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._begin_stop)
        before = self.home.read()
        await self._end_leftovers(before)
        directory = self.home.choose_socket_directory(before.socket_directory if before else "")
        self._open_file(before, directory)
        assert self.file is not None
        server = await serve(self.home.socket("supervisor", self.file), self.answer)
        # From now on: whoever starts it finds it by its file, and asks why it fails.
        self._keep(self.file)
        if self._stopping is None:  # asked to end while it ended what was left of before
            self._starting = asyncio.create_task(self._start(before))
        watching = asyncio.create_task(self._watch())
        await self._ended.wait()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        # First: whoever asks it in vain must not find that it lives and is silent.
        self.file.supervisor = None
        self._keep(self.file)
        server.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.home.socket("supervisor", self.file))
        os.close(lock)
        return 0 if self.error is None else 1

    async def answer(self, request: Request) -> Reply:
        """Answer one question of the command line."""
        kind = request.get("ask")
        if kind == "ping":
            return {"pid": os.getpid(), "state": self.state}
        if kind == "progress":
            return self._progress(int(request.get("after", 0)))
        if kind == "status":
            return await self._status()
        if kind == "start":
            return self._start_missing()
        if kind == "kill":
            return self._kill(str(request.get("name", "")))
        name = str(request.get("name", ""))
        if kind == "drain":
            return await self._made(self._changes.drain(name))
        if kind == "restart":
            return await self._made(self._changes.restart(name))
        if kind == "scale":
            count = int(request.get("count", 1))
            role = str(request.get("role", ""))
            return await self._made(self._changes.scale(role, count))
        if kind == "stop":
            names = [str(name) for name in request.get("nodes", [])]
            if names:
                return await self._made(self._changes.stop(names))
            return await asyncio.shield(self._begin_stop())
        raise OperatorError("E0707", f"unknown question {kind!r}", "mmo-cluster --help")

    def _open_file(self, before: ClusterFile | None, socket_directory: str) -> None:
        added, removed = (before.added, before.removed) if before else ([], [])
        entries = scaled(self._asked_for, added, removed, self._fixed_roles)
        numbers = {entry.number for entry in self.configured}
        kept = before.nodes if before else ()
        remembered = before.port_first if before else 0
        self._block = take_block(self.config, remembered, entries, kept)
        if self._block.lost:
            self.ports_moved = (
                f"moved from {remembered} to {self._block.first}, because {self._block.lost};"
                " clients need the new ports"
            )
            self._told("ports", self.ports_moved, 0.0)
            log_line(f"ports {self.ports_moved}")
        ports = assign_ports(entries, self._block.first, kept)
        redis, mysql = self.config.redis, self.config.mysql
        self.file = ClusterFile(
            version=1,
            config_file=self._config_file,
            port_first=self._block.first,
            socket_directory=socket_directory,
            nodes=ports,
            redis_nodes=list(redis.nodes)
            or [f"127.0.0.1:{port}" for port in self._block.redis_ports],
            mysql_socket=mysql.socket,
            supervisor=identify(os.getpid()),
            added=[
                AddedNode(entry.name, entry.role, entry.number)
                for entry in entries
                if entry.number not in numbers
            ],
            removed=sorted(numbers - {entry.number for entry in entries}),
        )

    async def _start(self, before: ClusterFile | None) -> None:
        try:
            await self._start_all(before)
        except OperatorError as error:
            self._failed(error)
        except Exception as error:
            # Whoever waits for the start must hear of it; the details go to the supervisor's log.
            traceback.print_exc()
            self._failed(
                OperatorError(
                    "E0001",
                    f"unexpected failure: {type(error).__name__}: {error}",
                    f"the details are in {self.home.logs / 'supervisor.log'}",
                )
            )

    def _failed(self, error: OperatorError) -> None:
        self.error = error
        self.state = "failed"
        log_line(str(error))  # whoever started it may have left
        self._begin_stop()

    async def _start_all(self, before: ClusterFile | None) -> None:
        file, block = self.file, self._block
        assert file is not None and block is not None
        self.home.keep_config(self._config_text)
        ensure_secrets(self.home, self.config)
        secrets = read_secrets(self.home, self.config)
        self.stores = stores = Stores(self.home, self.config, secrets, block)
        if stores.mysql is not None:
            file.mysql_socket = str(stores.mysql.socket_path)
        self.write_file()
        moved = before is not None and before.port_first != file.port_first
        redis = asyncio.create_task(self._step("redis", stores.start_redis(moved)))
        began = time.monotonic()
        try:
            # The nodes load their code while the stores start, and wait for schema and generation.
            self.home.code_named.unlink(missing_ok=True)
            self._spawn_nodes(file)
            await self._step("mysql", stores.start_mysql())
            await self._step("schema", self.prepare(secrets, file.mysql_socket))
            self.home.code_named.touch()
            await redis
        except BaseException:
            redis.cancel()
            await asyncio.gather(redis, return_exceptions=True)
            raise
        await self._await_nodes()
        names = " ".join(node.name for node in self.nodes)
        self._told("nodes", names, time.monotonic() - began)
        self.record()
        self.state = "ready"

    async def _step(self, name: str, work: Awaitable[str]) -> None:
        began = time.monotonic()
        self._told(name, await work, time.monotonic() - began)
        self.record()

    def _told(self, name: str, text: str, seconds: float) -> None:
        self.steps.append({"step": name, "text": text, "seconds": round(seconds, 3)})

    def _spawn_nodes(self, file: ClusterFile) -> None:
        # Those that others dial come first: whoever looks for them then finds their lease.
        order = [role for roles in reversed(STOP_ORDER) for role in roles]
        for ports in sorted(file.nodes, key=lambda ports: order.index(ports.role)):
            self.spawn_node(ports)
        self.record()

    def spawn_node(self, ports: NodePorts) -> NodeProcess:
        """Start a node and watch it from now on; the caller records it."""
        node = NodeProcess(
            ports,
            node_command(ports, self.home.directory, str(self.home.kept_config)),
            self.home.socket(ports.name, self.file),
            self.home.logs / f"{ports.name}.out",
            self.record,
        )
        self.nodes.append(node)
        self.nodes.sort(key=lambda node: node.ports.number)
        node.spawn()
        return node

    def node(self, name: str) -> NodeProcess:
        """The node of a name. Raises `OperatorError` E0708."""
        for node in self.nodes:
            if node.name == name:
                return node
        known = ", ".join(node.name for node in self.nodes)
        raise OperatorError("E0708", f"no node {name} in this cluster", f"one of: {known}")

    def write_file(self) -> None:
        """The topology changed: `cluster.json`, and where the figures of the nodes are."""
        assert self.file is not None
        self.home.write(self.file)
        seen = {node.name: config_of(self.config, node.number).metrics for node in self.file.nodes}
        hosts = {name: metrics.host for name, metrics in seen.items() if metrics.enabled}
        if hosts:
            self.home.write_targets(self.file, hosts)

    async def _await_nodes(self) -> None:
        end = time.monotonic() + self.config.supervisor.ready_ms / 1000
        while not (
            all(node.state == "ready" for node in self.nodes) and await self.all_are_linked()
        ):
            failed = [node for node in self.nodes if node.state == "failed"]
            late = [node for node in self.nodes if node.state != "ready"]
            if failed or time.monotonic() > end:
                node = (failed or late)[0]
                raise OperatorError(
                    "E0709",
                    f"{node.name} did not become ready: {node.error or 'no answer'}",
                    f"read {self.home.logs / node.name}.out and {self.home.log_file(node.name)}",
                )
            await asyncio.gather(*(node.look(self.config.supervisor) for node in self.nodes))
            await asyncio.sleep(0.02)

    async def all_are_linked(self) -> bool:
        """Whether every ready server knows every center: a player finds the way to all."""
        rows = await asyncio.gather(*(node.row() for node in self.nodes))
        rows = [row for row in rows if row["ready"]]
        centers = {row["number"] for row in rows if row["role"] == "center"}
        return all(centers - {row["number"]} <= set(row.get("links", ())) for row in rows)

    async def _watch(self) -> None:
        """From ready on: mend what ended, a look every `supervisor.watch_ms`."""
        while True:
            await asyncio.sleep(self.config.supervisor.watch_ms / 1000)
            if self._follow is not None and not is_alive(self._follow):
                self._begin_stop()
                return
            if self.state != "ready" or self.stores is None:
                continue
            try:
                self.stores.look()
                await asyncio.gather(*(node.look(self.config.supervisor) for node in self.nodes))
                self.record()
            except Exception:
                # A full disk, no process or file to spare: the next look may have it again, and a
                # cluster that nobody watches is worse than a line in the log.
                traceback.print_exc()

    def record(self) -> None:
        """Write who runs into `cluster.json`, when that changed."""
        file, stores = self.file, self.stores
        if file is None or stores is None:
            return
        running: dict[str, ProcessId] = {}
        for node in self.nodes:
            running |= node.running()
        if stores.mysql is not None and stores.mysql.child is not None:
            running["mysql"] = stores.mysql.child.identity
        if stores.redis is not None:
            for number, child in stores.redis.children.items():
                running[f"redis-{number}"] = child.identity
        if running != file.processes:
            before, file.processes = file.processes, running
            if not self._keep(file):
                file.processes = before  # the next look tries again

    def _keep(self, file: ClusterFile) -> bool:
        """Write the file; False on a full disk, which must not keep a cluster from ending."""
        try:
            self.home.write(file)
        except OSError:
            traceback.print_exc()
            return False
        return True

    async def _end_leftovers(self, before: ClusterFile | None) -> None:
        """End what a killed supervisor left, before its ports are asked for: nodes, then stores."""
        if before is None:
            return
        ended = await asyncio.to_thread(end_leftovers, self.home, before)
        if ended.names:
            text = f"{len(ended.names)} processes of an earlier start ended"
            if ended.killed:
                text += f"; killed, for they did not end by themselves: {' '.join(ended.killed)}"
            self._told("leftovers", text, 0.0)
            log_line(text)

    def _progress(self, after: int) -> Reply:
        error = self.error
        return {
            "state": self.state,
            "steps": self.steps[after:],
            "seconds": round(time.monotonic() - self._began, 3),
            "failure": None
            if error is None
            else {"code": error.code, "cause": error.cause, "fix": error.fix},
        }

    async def _status(self) -> Reply:
        rows = await asyncio.gather(*(node.row() for node in self.nodes))
        stores = self.stores.rows() if self.stores else {"redis": {}, "mysql": {}}
        generations = [row["generation"] for row in rows if row["ready"]]
        ready = (
            self.state == "ready"
            and all(row["ready"] for row in rows if row["state"] != "stopped")
            and all(row.get("ready") for row in stores.values())
        )
        return {
            "ready": ready,
            "generation": min(generations, default=0),
            "nodes": rows,
            "stores": stores,
            "state": self.state,
            "pid": os.getpid(),
            "port_first": self._block.first if self._block else 0,
            "ports_moved": self.ports_moved,
        }

    def _start_missing(self) -> Reply:
        """Spawn the nodes that were stopped or given up."""
        if self.state != "ready":
            raise OperatorError("E0715", f"the cluster is {self.state}", "wait, then ask again")
        missing = [node for node in self.nodes if node.state in ("stopped", "failed")]
        if missing:
            self._changes.refuse_beside_another()  # it may be what stops them
        for node in missing:
            node.crashes.clear()
            node.spawn()
        self.record()
        return {"started": [node.name for node in missing]}

    def _kill(self, name: str) -> Reply:
        for node in self.nodes:
            if node.name == name:
                return {"name": name, "pid": node.kill()}
        if self.stores is None:
            raise OperatorError("E0708", f"{name} does not run now", "mmo-cluster status")
        return {"name": name, "pid": self.stores.kill(name)}

    async def stop_nodes(self, names: list[str], *, move: bool) -> Reply:
        """Stop these in the order of their roles. `move`: their players are sent elsewhere. Raises
        `OperatorError` E0708."""
        known = {node.name: node for node in self.nodes}
        missing = [name for name in names if name not in known]
        if missing:
            raise OperatorError(
                "E0708", f"no node {missing[0]} in this cluster", "one of: " + ", ".join(known)
            )
        results: list[dict[str, Any]] = []
        for roles in STOP_ORDER:
            group = [
                known[name] for name in dict.fromkeys(names) if known[name].ports.role in roles
            ]
            results += await asyncio.gather(
                *(
                    node.stop(config_of(self.config, node.ports.number).node, move=move)
                    for node in group
                )
            )
        self.record()
        return {
            "stopped": [result["name"] for result in results],
            "unflushed": sum(result["unflushed"] for result in results),
            "killed": [result["name"] for result in results if result["killed"]],
        }

    def _spawn(self, change: Coroutine[Any, Any, Reply]) -> "asyncio.Task[Reply]":
        """A change goes on when its asker leaves."""
        task = asyncio.get_running_loop().create_task(change)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _made(self, change: Coroutine[Any, Any, Reply]) -> Reply:
        """Raises `OperatorError` E0715 to whoever waits for a change that a stop breaks off."""
        task = self._spawn(change)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            raise OperatorError(
                "E0715", "the cluster is stopping", "mmo-cluster start, once it has"
            ) from None

    def _begin_stop(self) -> "asyncio.Task[Reply]":
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        return self._stopping

    async def _stop(self) -> Reply:
        try:
            return await self._stopped()
        finally:
            # The asker gets his answer before the socket goes; a failed start stays to tell why.
            delay_s = 2.0 if self.error else 0.05
            asyncio.get_running_loop().call_later(delay_s, self._ended.set)

    async def _stopped(self) -> Reply:
        if self.state != "failed":
            self.state = "stopping"
            if self._starting is not None:
                self._starting.cancel()
                await asyncio.gather(self._starting, return_exceptions=True)
        for change in self._under_way:
            change.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        reply = await self.stop_nodes([node.name for node in self.nodes], move=False)
        if self.stores is not None:
            rows = self.stores.rows()
            await self.stores.stop()
            reply["stopped"] += ["redis"] if rows["redis"]["managed"] else []
            reply["stopped"] += ["mysql"] if rows["mysql"]["managed"] else []
        if self.file is not None and self.stores is not None:
            self.file.processes = {}
            self._keep(self.file)
        if self._block is not None:
            self._block.close()
        return reply
