"""`metrics`: what one node tells Prometheus, asked over its control socket.

Owns the print; the node renders. Works where the HTTP listener of a node is switched off. Called by
the operator.
"""

from typing import Annotated

import typer

from mmo.cli import terminal
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, open_home
from mmo.cli.rim import OK
from mmo.cli.status import silence_told
from mmo.cluster.control import NotRunning, ask
from mmo.cluster.home import ClusterFile, Home
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
    text = _text(place, file, node)
    lines = [line for line in text.splitlines() if not only or only in line.partition("{")[0]]
    if json:
        figures = [line.rpartition(" ") for line in lines if line and not line.startswith("#")]
        terminal.print_json({name: float(value) for name, _, value in figures})
    else:
        print("\n".join(lines))
    return OK


def _text(place: Home, file: ClusterFile, node: str) -> str:
    """What a node says. Raises `OperatorError` E0708 when only the node is away, E0701 or E0733
    when nobody watches it, E0728 when its supervisor is silent too."""
    try:
        text: str = ask(place.socket(node, file), {"ask": "metrics"}, ANSWER_S)["text"]
    except NotRunning as gone:
        with silence_told(place):
            ask(place.socket("supervisor", file), {"ask": "ping"}, ANSWER_S)
        raise OperatorError(
            "E0708", f"{node} does not answer now", "mmo-cluster status shows its state"
        ) from gone
    return text
