"""`bot`: real clients over the network walk a journey of `mmo.client.journeys`.

Owns the options and the print; the bots are `mmo.client.fleet`. Called by the operator and by
scripts, which rely on the form of `--json` and on the exit code.
"""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mmo.cli import terminal
from mmo.cli.durations import seconds_of
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, open_home
from mmo.cli.rim import FAILED, OK

if TYPE_CHECKING:
    from pathlib import Path

    from mmo.client.fleet import Fleet
    from mmo.client.hero import Address
    from mmo.client.journeys import Journey


def register(app: typer.Typer) -> None:
    """Add the command to the table."""
    app.command()(bot)


def bot(
    journey: Annotated[str, typer.Option("--journey", help="Its name, or all.")] = "tour",
    count: Annotated[int, typer.Option("--count", min=1, max=10_000, help="Players.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Decides all chance but the names.")] = 0,
    length: Annotated[
        str, typer.Option("--for", help="How long journeys with a length go on.")
    ] = "30s",
    names: Annotated[bool, typer.Option("--list", help="List the journeys.")] = False,
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Real clients walk a journey; fails on any error or on too few actions."""
    from mmo.client.fleet import journeys_named
    from mmo.client.journeys import JOURNEYS

    if names:
        rows = [(known.name, known.about) for known in JOURNEYS.values()]
        if json:
            terminal.print_json(dict(rows))
        else:
            terminal.print_table(("journey", "what it does"), rows)
        return OK
    try:
        chosen = journeys_named(journey)
    except KeyError:
        raise typer.BadParameter(
            f"no journey {journey!r}; there are {', '.join(JOURNEYS)} and all"
        ) from None
    seconds = seconds_of(length)
    fleet = _run(login_addresses(home), journey, chosen, count, seed, seconds)
    if json:
        import msgspec

        terminal.print_json(msgspec.to_builtins(fleet.summary))
    else:
        _show(fleet)
    for text in (*fleet.meter.findings, *fleet.below_floor):
        print(f"  {text}", file=sys.stderr)
    return OK if fleet.passed else FAILED


def login_addresses(home: "Path") -> "list[Address]":
    """Client addresses of the login servers of a home. Raises `OperatorError` E0701 without one."""
    _, file = open_home(home)
    return [("127.0.0.1", node.client_port) for node in file.nodes if node.role == "login"]


def _run(
    logins: "list[Address]",
    name: str,
    chosen: "list[Journey]",
    count: int,
    seed: int,
    seconds: float,
) -> "Fleet":
    import asyncio

    import uvloop

    from mmo.client.fleet import muster, sail
    from mmo.client.meter import Meter

    heroes = muster(logins, count, seed, Meter())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(sail(heroes, chosen, seconds, name=name))


def _show(fleet: "Fleet") -> None:
    summary = fleet.summary
    terminal.print_table(
        ("journey", "players", "actions", "errors", "refusals", "p50 ms", "p99 ms", "p99.9 ms"),
        [
            (
                summary.journey,
                summary.players,
                summary.actions,
                summary.errors,
                summary.refusals,
                summary.p50_ms,
                summary.p99_ms,
                summary.p999_ms,
            )
        ],
    )
    kinds = sorted(fleet.meter.by_kind.items(), key=lambda row: -len(row[1]))
    print("  " + "  ".join(f"{name} {len(took_ms)}" for name, took_ms in kinds))
    if fleet.meter.lost or fleet.meter.retries:
        print(f"  connections lost {fleet.meter.lost}, asked again {fleet.meter.retries}")
