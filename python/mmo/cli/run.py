"""`run ROLE --number N`: one foreground node, for the supervisor, systemd, compose, Kubernetes.

Owns the composition of a node: configuration, secrets, store, content, role, core. SIGTERM drains.
As a module (`python -m mmo.cli.run`) it starts without the parser of the other commands, because
seven nodes start at once on a developer's two cores.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmo.cli.rim import USAGE, guard
from mmo.cluster.home import Home, NodePorts
from mmo.config import Config, CoreSettings, NodeEntry
from mmo.errors import ConfigError, ContentError, MmoError, OperatorError, StoreUnavailable

if TYPE_CHECKING:
    from mmo.node.node import Node
    from mmo.store import Store

LEASE_HELD_CODE = "E0702"
RETRY_S = 0.2
STORE_WAIT_S = 20.0  # a node that starts while the database restarts waits this long for it


def register(app: Any) -> None:
    """Add the command to the application of all commands."""
    from typing import Annotated

    import typer

    from mmo.cli.options import HOME, config_text

    def run(
        role: Annotated[str, typer.Argument(help="login center channel matching raid cash")],
        number: Annotated[int, typer.Option("--number", min=1, max=65_535)],
        home: Annotated[Path, typer.Option("--home", envvar="MMO_HOME")] = HOME,
        config: Annotated[Path | None, typer.Option("--config")] = None,
        json: Annotated[bool, typer.Option("--json", help="Log to standard error.")] = False,
    ) -> int:
        """One node in the foreground; SIGTERM drains it."""
        return run_node(role, number, home, config_text(config), logs_to_file=not json)

    app.command()(run)


def main() -> None:
    """Parse the arguments and run a node until it is stopped."""
    parser = argparse.ArgumentParser(prog="mmo-cluster run")
    parser.add_argument("role")
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--config", default="")
    parser.add_argument("--replaces", action="store_true")
    arguments = parser.parse_args()
    sys.exit(
        guard(
            lambda: run_node(
                arguments.role,
                arguments.number,
                arguments.home,
                arguments.config,
                replaces=arguments.replaces,
            ),
            as_json=False,
        )
    )


def run_node(
    role: str,
    number: int,
    home: Path,
    config: str,
    *,
    replaces: bool = False,
    logs_to_file: bool = True,
) -> int:
    """Compose a node and serve until it ends; returns its exit code. `replaces`: the caller knows
    that the earlier process of this home and number has ended, so its lease may be given back."""
    import uvloop

    from mmo.config.load import load_config, node_entry

    place = Home(home)
    try:
        loaded = load_config(Path(config) if config else None)
        file = place.read()
        known = [entry for entry in file.nodes if entry.number == number] if file else []
        configured = [entry for entry in loaded.config.nodes if entry.number == number]
        if known and known[0].role == role == "channel" and not configured:
            # A channel server that `start --channels` added: the home knows it, no file does.
            entry = NodeEntry(name=known[0].name, role="channel", number=number)
        else:
            entry = node_entry(loaded.config, role, number)
        ports = known[0] if known else _configured_ports(entry)
        runner = _Runner(place, loaded.for_node(entry), ports, replaces, logs_to_file)
        return uvloop.run(runner.run())
    except (ConfigError, ContentError) as error:
        print(error, file=sys.stderr)
        return USAGE


def _configured_ports(entry: NodeEntry) -> NodePorts:
    return NodePorts(
        entry.name,
        entry.role,
        entry.number,
        entry.client_port,
        entry.link_port,
        entry.datagram_port,
    )


class _Runner:
    """Composition of one node."""

    def __init__(
        self, home: Home, config: Config, ports: NodePorts, replaces: bool, logs_to_file: bool
    ) -> None:
        self.home = home
        self.config = config
        self.ports = ports
        self._replaces = replaces
        self._logs_to_file = logs_to_file

    async def run(self) -> int:
        from mmo.cli.compose import mysql_socket, redis_nodes, store_settings
        from mmo.cluster.secret_files import ensure_secrets, read_secrets
        from mmo.store import open_store

        self.home.create()
        file = self.home.read()
        if file is None and self.config.cluster.profile == "dev":
            ensure_secrets(self.home, self.config)
        self._secrets = read_secrets(self.home, self.config)
        settings = store_settings(
            self.config,
            self._secrets,
            mysql_socket(self.config, file),
            redis_nodes(self.config, file),
        )
        store = await self._patiently(lambda: open_store(settings))
        try:
            await self._give_back_lease(store)
            node = self._compose(store, self.home.socket(self.ports.name, file))
            await self._start(node)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, node.stop)
            code = await node.run()
            if code == 0:
                self._incarnation_file().unlink(missing_ok=True)
            return code
        finally:
            with contextlib.suppress(StoreUnavailable):
                await store.close()

    def _compose(self, store: "Store", socket: Path) -> "Node":
        from mmo._core import NetCore
        from mmo.cli.compose import node_settings
        from mmo.cli.core import core_settings, make_sign
        from mmo.cli.roles import ROLE_NAMES, load_role
        from mmo.content.tables import load_content
        from mmo.log import open_log
        from mmo.node.node import Node, compose

        config, secrets = self.config, self._secrets
        role = load_role(self.ports.role)
        passwords = None
        if role.edges:
            from mmo.node.passwords import PasswordPool

            login = config.login
            passwords = PasswordPool(
                login.password_threads,
                login.password_memory_kib,
                login.password_passes,
                secrets.pepper,
            )
        engine = compose(
            node_settings(config, self.ports, str(socket)),
            role,
            store,
            load_content(),
            log=open_log(
                self.ports.name,
                level=config.log.level,
                path=str(self.home.log_file(self.ports.name)) if self._logs_to_file else "",
                bytes_max=config.log.file_bytes_max,
                files_kept=config.log.files_kept,
            ),
            systems_package="mmo.systems",
            edges_package="mmo.edges",
            passwords=passwords,
            sign=make_sign(config, secrets) if role.signs else None,
        )

        def make_core(incarnation: int, fields: Any) -> NetCore:
            self._incarnation_file().write_text(str(incarnation), encoding="ascii")
            settings: CoreSettings = core_settings(
                config, role, self.ports, secrets, incarnation, fields
            )
            return NetCore(settings)

        return Node(engine, make_core, ROLE_NAMES)

    async def _start(self, node: "Node") -> None:
        """Start; while an earlier process's lease still lives, wait for its end."""
        end = asyncio.get_running_loop().time() + 2 * self.config.node.lease_ms / 1000
        while True:
            try:
                await node.start()
                return
            except OperatorError as error:
                if error.code != LEASE_HELD_CODE or asyncio.get_running_loop().time() > end:
                    raise
            await asyncio.sleep(RETRY_S)

    async def _patiently(self, open_it: Any) -> "Store":
        """Open the store; a database that restarts answers again soon."""
        end = asyncio.get_running_loop().time() + STORE_WAIT_S
        while True:
            try:
                store: Store = await open_it()
                return store
            except StoreUnavailable as error:
                if asyncio.get_running_loop().time() > end:
                    raise OperatorError(
                        "E0214", f"the database does not answer: {error}", "mmo-cluster status"
                    ) from error
            await asyncio.sleep(RETRY_S)

    async def _give_back_lease(self, store: "Store") -> None:
        path = self._incarnation_file()
        if self._replaces and path.exists():
            with contextlib.suppress(ValueError, MmoError):
                await store.leave(self.ports.number, int(path.read_text(encoding="ascii")))

    def _incarnation_file(self) -> Path:
        return self.home.directory / "run" / f"{self.ports.name}.incarnation"


if __name__ == "__main__":
    main()
