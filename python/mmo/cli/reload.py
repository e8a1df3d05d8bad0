"""`reload`, `dev`, `generation`: new rules and tables while the game goes on.

Owns the options and the print; the check is `checker`, the switch is `switching`. Called by the
operator, by scripts and by whoever writes rules.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmo.cli import terminal
from mmo.cli.durations import seconds_of
from mmo.cli.options import (
    HOME,
    ConfigOption,
    HomeOption,
    JsonOption,
    YesOption,
    load,
    open_home,
)
from mmo.cli.rim import FAILED, OK, PARTIAL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mmo.cli.desk import Desk, Done


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(reload)
    app.command()(dev)
    app.command()(generation)


def reload(
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
    check: Annotated[bool, typer.Option("--check", help="Only check, change nothing.")] = False,
    back: Annotated[bool, typer.Option("--back", help="To the code before this one.")] = False,
    canary: Annotated[str, typer.Option("--canary", help="On this node first.")] = "",
    length: Annotated[str, typer.Option("--for", help="How long the canary tries.")] = "30s",
    note: Annotated[str, typer.Option("--note", help="Kept with the generation.")] = "",
) -> int:
    """Take rules and tables from the disk: all nodes switch, or none does."""
    if check + back + bool(canary) > 1:
        raise typer.BadParameter("--check, --back and --canary exclude each other")
    seconds = seconds_of(length)

    async def work(desk: "Desk") -> int:
        if back:
            done = await desk.back()
        elif canary:
            done = await desk.canary(canary, seconds, note)
        else:
            done = await desk.reload(note, only_check=check)
        if json:
            terminal.print_json(done.as_json())
        else:
            _print(done)
        if done.went_back:
            return FAILED
        return PARTIAL if done.late else OK

    return at_desk(home, config, work)


def dev(
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
    yes: YesOption = False,
) -> int:
    """Start what does not run, then reload at every save until interrupted."""
    from mmo.cli.lifecycle import start

    start(home=home, config=config, json=json, channels=None, follow=0, yes=yes)
    return at_desk(home, config, lambda desk: _dev(desk, json))


def generation(
    number: Annotated[int, typer.Argument(help="0: the one that decides.")] = 0,
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
    last: Annotated[int, typer.Option("--last", help="So many generations.", min=1)] = 1,
    operation: Annotated[
        str, typer.Option("--operation", help="USER:EPOCH:COUNTER; the one that decided it.")
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", help="Write its sources here.")] = None,
) -> int:
    """Which code a generation is, or decided an operation: hash, when, by whom, its sources."""
    if operation and not re.fullmatch(r"-?\d+:-?\d+:\d+", operation):
        raise typer.BadParameter(f"{operation!r} is not USER:EPOCH:COUNTER")
    return at_desk(home, config, lambda desk: _generation(desk, number, operation, last, out, json))


def at_desk(home: Path, config: Path | None, work: "Callable[[Desk], Awaitable[int]]") -> int:
    """Open the desk of a home, do one thing at it, close it."""
    import asyncio

    from mmo.cli.desk import Desk

    place, file = open_home(home)
    desk = Desk(place, file, load(config, home).config)

    async def run() -> int:
        async with desk:
            code: int = await work(desk)
            return code

    return asyncio.run(run())


def _print_frozen(done: "Done") -> None:
    for path in done.frozen:
        print(f"  frozen   {path} changed: needs mmo-cluster restart --rolling", flush=True)


def _print(done: "Done") -> None:
    _print_frozen(done)
    if not done.changed:
        print(f"  generation {done.generation} is what lies on the disk; nothing to do")
        return
    for path in done.changed:
        print(f"  changed  {path}")
    for text in done.differences:
        print(f"  differs  {text}")
    if done.went_back:
        print(f"  went back after {done.canary['seconds']} s: {done.went_back}")
        print(f"  generation {done.generation} goes on everywhere")
        return
    if done.only_checked:
        print(f"  checked in {done.took_ms:.0f} ms; generation {done.generation} goes on")
        return
    print(
        f"  generation {done.generation} on {len(done.nodes)} nodes: "
        f"{done.took_ms:.0f} ms, paused {done.switch_ms:.0f} ms"
    )
    if done.late:
        print(f"  not heard of since: {' '.join(done.late)}; they find out by themselves")


async def _dev(desk: Any, json: bool) -> int:
    from mmo.errors import OperatorError

    if not json:
        print("  reload at every save in")
        for folder in desk.folders():
            print(f"    {folder}")
    await desk.warm()
    async for _ in desk.saves():
        try:
            done = await desk.reload("saved")
        except OperatorError as fault:
            _print_fault(fault, await desk.number(), json)
            continue
        if json:
            terminal.print_json(done.as_json())
            continue
        _print_frozen(done)
        if done.changed:
            names = ", ".join(path.rpartition("/")[2] for path in done.changed)
            print(f"  generation {done.generation} · {names} · {done.took_ms:.0f} ms", flush=True)
            for text in done.differences:
                print(f"    differs  {text}")
    return OK


def _print_fault(fault: Any, number: int, json: bool) -> None:
    if json:
        place = {"file": getattr(fault, "file", ""), "line": getattr(fault, "line", 0)}
        said = {"code": fault.code, "cause": fault.cause, "fix": fault.fix, **place}
        terminal.print_json({"error": said, "generation": number})
    else:
        print(fault)
        print(
            f"       state      generation {number} keeps running; nothing was changed", flush=True
        )


async def _generation(
    desk: "Desk", number: int, operation: str, last: int, out: Path | None, json: bool
) -> int:
    if operation:
        user, epoch, counter = map(int, operation.split(":"))
        number = await desk.decided(user, epoch, counter)
    records = await desk.records(number, last)
    if out is not None:
        await desk.write_sources(records[0].bundle, out)
    if json:
        from msgspec import to_builtins

        terminal.print_json({"generations": [to_builtins(record) for record in records]})
        return OK
    rows = [
        (
            *(record.generation, record.bundle[:12], record.state, record.replaced),
            *(terminal.told_time(record.switched_ms), record.who, record.note),
        )
        for record in records
    ]
    terminal.print_table(("gen", "code", "state", "before", "since", "by", "note"), rows)
    return OK
