"""`run ROLE --number N`: one foreground node, for the supervisor, systemd, compose, Kubernetes.

Owns the arguments and what a number means: an entry of the configuration, or a server that the
home knows. `node_runner` composes. As a module (`python -m mmo.cli.run`) it starts without the
parser of the other commands, because seven nodes start at once on a developer's two cores.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from mmo.cli.rim import USAGE, guard
from mmo.cluster.home import Home
from mmo.errors import ConfigError, ContentError, OperatorError

PORT_TAKEN_CODES = ("E0718", "E0732")


def register(app: Any) -> None:
    """Add the command to the application of all commands."""
    from typing import Annotated

    import typer

    from mmo.cli.options import HOME, ConfigOption, HomeOption, config_text

    def run(
        role: Annotated[str, typer.Argument(help="login center channel matching raid cash")],
        number: Annotated[
            int, typer.Option("--number", min=1, max=65_535, help="Unique in the cluster.")
        ],
        home: HomeOption = HOME,
        config: ConfigOption = None,
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
    parser.add_argument("--stands-by", action="store_true")
    arguments = parser.parse_args()
    sys.exit(
        guard(
            lambda: run_node(
                arguments.role,
                arguments.number,
                arguments.home,
                arguments.config,
                replaces=arguments.replaces,
                stands_by=arguments.stands_by,
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
    stands_by: bool = False,
    logs_to_file: bool = True,
) -> int:
    """Compose a node and serve until it ends; returns its exit code. `replaces`: the caller knows
    that the earlier process of this home and number has ended, so its lease may be given back.
    `stands_by`: the earlier process serves still; this one loads, and waits for its end."""
    import uvloop

    from mmo.cli.node_runner import NodeRunner
    from mmo.cli.open_files import raise_limit
    from mmo.cluster.topology import configured_ports, entry_of
    from mmo.config.load import load_config, node_entry

    place = Home(home)
    try:
        loaded = load_config(Path(config) if config else None)
        file = place.read()
        known = [entry for entry in file.nodes if entry.number == number] if file else []
        configured = [entry for entry in loaded.config.nodes if entry.number == number]
        if known and known[0].role == role and not configured:
            # Added by `scale` or `start --channels`: the home knows it, no file does.
            entry = entry_of(known[0])
        else:
            entry = node_entry(loaded.config, role, number)
        ports = known[0] if known else configured_ports(entry)
        effective = loaded.for_node(entry)
        missing = raise_limit(effective)
        if missing:
            print(missing, file=sys.stderr)
        runner = NodeRunner(place, effective, ports, replaces, logs_to_file, stands_by)
        return uvloop.run(runner.run())
    except OperatorError as error:
        # Starting it again changes nothing. But who stands by may meet the ports of one that hangs,
        # which the supervisor ends: a start after that finds them free.
        is_lasting = error.code in PORT_TAKEN_CODES and not stands_by
        if not (is_lasting or isinstance(error, ConfigError | ContentError)):
            raise
        print(error, file=sys.stderr)
        return USAGE


if __name__ == "__main__":
    main()
