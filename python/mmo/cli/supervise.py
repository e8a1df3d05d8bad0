"""`python -m mmo.cli.supervise`: the process that `start` leaves behind.

Owns the composition of the supervisor with what needs the store: schema and code. Called by `start`
and, in the foreground, by nobody else.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from mmo.cli.rim import guard
from mmo.cluster.home import Home
from mmo.cluster.secret_files import Secrets
from mmo.cluster.supervisor import Supervisor
from mmo.cluster.topology import with_channels
from mmo.config import Config
from mmo.config.kept import kept_text
from mmo.config.load import load_config
from mmo.errors import OperatorError, StoreError


def main() -> None:
    """Parse the arguments and supervise until stopped."""
    parser = argparse.ArgumentParser(prog="mmo-cluster supervise")
    parser.add_argument("--home", required=True, type=Path)
    parser.add_argument("--config", default="")
    parser.add_argument("--channels", type=int, default=None)
    parser.add_argument("--follow", type=int, default=0)
    arguments = parser.parse_args()
    sys.exit(guard(lambda: asyncio.run(supervise(arguments)), as_json=False))


async def supervise(arguments: argparse.Namespace) -> int:
    """Compose and run. Returns the exit code."""
    loaded = load_config(Path(arguments.config) if arguments.config else None)
    config = loaded.config
    nodes = config.nodes
    if arguments.channels is not None:
        nodes = with_channels(nodes, arguments.channels)

    async def prepare(secrets: Secrets, socket: str) -> str:
        from mmo.cli.publishing import publish

        schema = await apply_schema(config, secrets, socket)
        assert supervisor.file is not None, "it has its file before it starts anything"
        numbers = [node.number for node in supervisor.file.nodes]
        return f"{schema}, {await publish(config, secrets, socket, numbers)}"

    supervisor = Supervisor(
        Home(arguments.home), config, nodes, arguments.config, prepare, arguments.follow,
        () if arguments.channels is None else ("channel",), kept_text(loaded, arguments.config),
    )  # fmt: skip
    return await supervisor.run()


async def apply_schema(config: Config, secrets: Secrets, socket: str) -> str:
    """Bring the schema up to date; returns what to print."""
    from mmo.cli.compose import store_settings
    from mmo.store import migrate

    try:
        count = await migrate.apply(store_settings(config, secrets, socket, []))
    except StoreError as error:
        raise OperatorError(
            "E0214", f"the database does not take the schema: {error}", "see [mysql]"
        ) from error
    return f"{count} statements applied" if count else "up to date"


if __name__ == "__main__":
    main()
