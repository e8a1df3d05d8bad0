"""`migrate`: what the schema lacks, bringing it up to date, and whether it is.

Owns the print; `store.migrate` does the work. Called by the operator; `start` applies by itself.
"""

from collections.abc import Coroutine
from typing import Annotated, Any, Literal, TypeVar

import typer

from mmo.cli import terminal
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, load
from mmo.cli.rim import FAILED, OK
from mmo.errors import OperatorError, StoreError

T = TypeVar("T")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(migrate)


def migrate(
    act: Annotated[Literal["plan", "apply", "check"], typer.Argument(help="What to do.")],
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Plan, apply or check the schema of a database that runs."""
    from mmo.cli.compose import home_store_settings
    from mmo.store import migrate as migrations

    settings = home_store_settings(home, load(config, home).config)
    if act == "apply":
        told: list[str] = []
        count = _answered(migrations.apply(settings, lambda step: told.append(_name(step))))
        if json:
            terminal.print_json({"applied": count, "statements": told})
        else:
            for name in told:
                print(f"  applied {name}")
            print(f"  {count} statements applied" if count else "  up to date")
        return OK
    left = _answered(migrations.plan(settings))
    if json:
        terminal.print_json({"pending": [_name(step) for step in left]})
    elif act == "plan":
        for step in left:
            print(f"-- {_name(step)}\n{step.text.strip()};\n")
    if not json:
        print(f"  {len(left)} statements pending" if left else "  up to date")
    return FAILED if left and act == "check" else OK


def _answered(work: Coroutine[Any, Any, T]) -> T:
    """Raises `OperatorError` E0214 when the database does not answer, or not so."""
    import asyncio

    try:
        return asyncio.run(work)
    except StoreError as error:
        raise OperatorError(
            "E0214",
            f"the database does not answer: {error}",
            "mmo-cluster status; mmo-cluster doctor",
        ) from error


def _name(step: Any) -> str:
    return f"{step.version:04}_{step.name} statement {step.number}"
