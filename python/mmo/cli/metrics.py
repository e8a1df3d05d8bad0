"""`metrics`: what one node tells Prometheus, asked over its control socket.

Owns the print; the node renders. Works where the HTTP listener of a node is switched off. Called by
the operator.
"""

from typing import Annotated

import typer

from mmo.cli import terminal
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, open_home
from mmo.cli.rim import OK
from mmo.cluster.control import ask
from mmo.errors import OperatorError

ANSWER_S = 2.0


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(metrics)


def metrics(
    node: Annotated[str, typer.Argument(help="A node.")],
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
    only: Annotated[str, typer.Option("--only", help="Only names that hold this text.")] = "",
) -> int:
    """The figures of a node, as Prometheus reads them."""
    place, file = open_home(home)
    if node not in [entry.name for entry in file.nodes]:
        known = ", ".join(entry.name for entry in file.nodes)
        raise OperatorError("E0708", f"no node {node} in this cluster", f"one of: {known}")
    text: str = ask(place.socket(node, file), {"ask": "metrics"}, ANSWER_S)["text"]
    lines = [line for line in text.splitlines() if not only or only in line.partition("{")[0]]
    if json:
        figures = [line.rpartition(" ") for line in lines if line and not line.startswith("#")]
        terminal.print_json({name: float(value) for name, _, value in figures})
    else:
        print("\n".join(lines))
    return OK
