"""`chaos`: faults under load, then the history checked.

Owns the options and the print; the run is `mmo.proof.chaos`. Called by the operator and by scripts,
which rely on the form of `--json` and on the exit code.
"""

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmo.cli import terminal
from mmo.cli.durations import seconds_of
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, open_home
from mmo.cli.rim import FAILED, OK

if TYPE_CHECKING:
    from mmo.proof.chaos import Order


def register(app: typer.Typer) -> None:
    """Add the command to the table."""
    app.command()(chaos)


def chaos(
    length: Annotated[str, typer.Option("--for", help="How long faults strike.")] = "60s",
    seed: Annotated[int, typer.Option("--seed", help="Decides which faults, and when.")] = 1,
    faults: Annotated[
        str, typer.Option("--faults", help="Names and groups, comma separated; see --list.")
    ] = "all",
    bots: Annotated[int, typer.Option("--bots", min=1, max=500, help="Shoppers.")] = 12,
    raiders: Annotated[int, typer.Option("--raiders", min=0, max=100, help="Raiders.")] = 4,
    every: Annotated[str, typer.Option("--every", help="Least time between faults.")] = "3s",
    history: Annotated[
        Path | None, typer.Option("--history", help="Keep the history in this directory.")
    ] = None,
    names: Annotated[bool, typer.Option("--list", help="List the faults.")] = False,
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Break the running cluster under load, then prove that nothing was lost or doubled."""
    from mmo.proof.chaos import Order
    from mmo.proof.nemesis import chosen

    if names:
        _list(json)
        return OK
    try:
        picked = chosen(faults)
    except KeyError as unknown:
        raise typer.BadParameter(f"no fault {unknown}; see chaos --list") from None
    open_home(home)
    order = Order(seed, seconds_of(length), tuple(picked), bots, raiders, seconds_of(every))
    answer = _run(home, order, history, json)
    if json:
        terminal.print_json(answer)
    else:
        _show(answer)
    for text in answer["findings"]:
        print(f"  {text}", file=sys.stderr)
    return FAILED if answer["findings"] else OK


def _list(json: bool) -> None:
    """The menu, its groups, and what the menu of a laboratory would have beside it."""
    from mmo.proof.nemesis import GROUPS, MENU, NOT_HERE

    told = {name: (fault.__doc__ or "").partition("\n")[0] for name, fault in MENU.items()}
    if json:
        terminal.print_json({"faults": told, "groups": GROUPS, "not_in_the_menu": list(NOT_HERE)})
        return
    rows = [*told.items(), *((name, ", ".join(words)) for name, words in GROUPS.items())]
    terminal.print_table(("fault or group", "what it does"), rows)
    print("\nnot in the menu of this machine:")
    for text in NOT_HERE:
        print(f"  {text}")


def _run(home: Path, order: "Order", history: Path | None, json: bool) -> dict[str, Any]:
    import asyncio

    import uvloop

    from mmo.proof.arena import Arena
    from mmo.proof.chaos import Chaos

    def say(text: str) -> None:
        print(f"  {text}", file=sys.stderr if json else sys.stdout, flush=True)

    with (
        tempfile.TemporaryDirectory(prefix="mmo-history-") as directory,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        place = history if history is not None else Path(directory)
        return runner.run(Chaos(Arena(home), order, place, say).run())


def _show(answer: dict[str, Any]) -> None:
    terminal.print_table(
        ("fault", "times", "recovery p50 ms", "p99 ms", "longest ms"),
        [
            (name, row["count"], row["p50_ms"], row["p99_ms"], row["max_ms"])
            for name, row in answer["recovery"].items()
        ],
    )
    told = "  ".join(
        f"{key} {answer[key]}"
        for key in ("seed", "faults", "operations", "acknowledged", "lost", "duplicated", "stale")
    )
    print(f"  {told}")
    for name, why in answer["not_done"].items():
        print(f"  {name} could not be done here: {why}")
