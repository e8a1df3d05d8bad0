"""The table of commands.

Owns which modules make the command line and what happens with a wrong usage. Each module registers
its commands and imports what they need only when they run. Called by the rim.
"""

import importlib
import importlib.util
import sys
from typing import Annotated, Any

import typer

MODULES = (
    "lifecycle",
    "rolling",
    "status",
    "reload",
    "new",
    "metrics",
    "trace",
    "logs",
    "doctor",
    "explain",
    "settings",
    "schema",
    "keys",
    "run",
    "bot",
    "play",
    "call",
    "pay",
    "audit",
    "odds",
    "restore",
    "account",
    "purge",
    "chaos",
    "replay",
    "rebuild",
    "bench",
    "prove",
)
"""Command groups, in the order of the help."""


def make_app() -> typer.Typer:
    """All commands on one application."""
    app = typer.Typer(
        name="mmo-cluster",
        help="A game server cluster: start it, look at it, break it, prove it.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback(invoke_without_command=True)
    def root(
        version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    ) -> None:
        if version:
            from importlib.metadata import version as version_of

            print(version_of("mmo"))
            raise typer.Exit(0)

    for name in MODULES:
        # A game that ships without one of the tools simply has no such command.
        if importlib.util.find_spec(f"mmo.cli.{name}") is not None:
            importlib.import_module(f"mmo.cli.{name}").register(app)
    return app


def run_command(arguments: list[str]) -> int:
    """Parse and run. Returns the exit code; usage errors are printed and give 2."""
    command: Any = typer.main.get_command(make_app())
    try:
        result = command.main(args=arguments, prog_name="mmo-cluster", standalone_mode=False)
    except Exception as error:
        # The parser's own errors know how to show themselves; everything else goes to the rim.
        show = getattr(error, "show", None)
        if show is None or not hasattr(error, "exit_code"):
            if type(error).__name__ == "Abort":
                print("aborted", file=sys.stderr)
                return 1
            raise
        show()
        return int(error.exit_code)
    return result if isinstance(result, int) else 0
