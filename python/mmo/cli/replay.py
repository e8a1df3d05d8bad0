"""`replay RAID`: a raid fought again from its record, bit for bit, beside what the books say.

Owns the arguments, the print and the exit code: 1 when anything differs. The comparison is
`ops.replay`'s. Called by the operator and by proofs.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from mmo.cli import terminal
from mmo.cli.books import answered
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, load
from mmo.cli.rim import FAILED, OK
from mmo.errors import OperatorError

if TYPE_CHECKING:
    from mmo.ops.replay import Replayed
    from mmo.store.settings import StoreSettings


def register(app: typer.Typer) -> None:
    """Add the command to the table."""
    app.command()(replay)


def replay(
    raid: Annotated[int, typer.Argument(help="Number of the raid.")] = 0,
    every: Annotated[bool, typer.Option("--all", help="Every finished raid instead.")] = False,
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Fight a raid again from its seed and inputs and compare the result with the books."""
    import msgspec

    from mmo.cli.compose import home_store_settings

    if every == bool(raid):
        raise typer.BadParameter("one of RAID and --all")
    settings = home_store_settings(home, load(config, home).config)
    count, found = answered(_asked(settings, raid))
    if raid and not found:
        raise OperatorError("E0727", f"there is no raid {raid}", "mmo-cluster replay --all")
    wrong = [one for one in found if not one.holds]
    if json:
        plain = {"replayed": count, "wrong": msgspec.to_builtins(wrong)}
        terminal.print_json(msgspec.to_builtins(found[0]) if raid else plain)
    else:
        for one in found if raid else wrong:
            _print(one)
        if not raid:
            print(f"{count} raids replayed, {len(wrong)} differ from the books")
    return FAILED if wrong else OK


async def _asked(settings: "StoreSettings", raid: int) -> "tuple[int, list[Replayed]]":
    """How many were fought again; with the one that was asked for, or those that differ."""
    from mmo.cli.books import open_books
    from mmo.ops import replay as ask

    async with open_books(settings, connections_max=1) as pool, pool.take() as connection:
        if raid:
            one = await ask.replayed(connection, raid)
            return 1, [] if one is None else [one]
        numbers = [number async for number in ask.finished(connection)]
        found = [await ask.replayed(connection, number) for number in numbers]
    return len(numbers), [one for one in found if one is not None and not one.holds]


def _print(one: "Replayed") -> None:
    print(
        f"raid {one.raid}: kind {one.kind}, map {one.map}, {one.state}, reason {one.reason},"
        f" {one.ticks} ticks, {one.inputs} inputs, {one.hp} hit points left"
    )
    terminal.print_table(
        ("seat", "user", "name", "books", "replayed"),
        [(seat.seat, seat.user, seat.name, seat.score, seat.replayed) for seat in one.seats],
    )
    for text in one.findings:
        print(f"  {text}")
    if one.ticks or one.findings:
        print("the same bit for bit" if one.holds else "NOT the same")
    else:
        print(f"{one.state}: no battle to repeat")
