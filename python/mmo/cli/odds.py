"""`odds`: check the receipt of an enhancement, or compare published odds with observed ones.

Owns the print and the exit code: 1 for a receipt that does not hold or a drift. The law is in
`ops.odds`. Called by the operator; a player checks with the revealed key alone.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmo.cli import terminal
from mmo.cli.books import answered
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, load
from mmo.cli.rim import FAILED, OK
from mmo.cluster.home import Home

if TYPE_CHECKING:
    from mmo.ops.odds import Judgement, Receipt, Row
    from mmo.store.settings import StoreSettings


def register(app: typer.Typer) -> None:
    """Add the command to the table."""
    app.command()(odds)


def odds(
    verify: Annotated[
        str, typer.Option("--verify", help="A receipt: the reply of ENHANCE as JSON, or @FILE.")
    ] = "",
    report: Annotated[bool, typer.Option("--report", help="Published against observed.")] = False,
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Prove that enhancement rolls are those that were promised."""
    import msgspec

    from mmo.cli.compose import home_store_settings
    from mmo.cluster.secret_files import read_secrets
    from mmo.ops.odds import receipt_of

    if bool(verify) == report:
        raise typer.BadParameter("one of --verify RECEIPT and --report")
    receipt = None
    if verify:
        try:
            text = Path(verify[1:]).read_text(encoding="utf-8") if verify[0] == "@" else verify
            receipt = receipt_of(text)
        except OSError as error:
            raise typer.BadParameter(f"cannot read {verify[1:]}: {error.strerror}") from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"not a receipt: {error}") from error
    effective = load(config, home).config
    settings = home_store_settings(home, effective)
    secret = read_secrets(Home(home), effective).roll

    rows, judgement = answered(_asked(settings, receipt, secret))
    if judgement is not None:
        if json:
            terminal.print_json(msgspec.to_builtins(judgement))
        else:
            _print_judgement(judgement)
        return OK if judgement.holds else FAILED
    alarms = [row for row in rows if row.alarm]
    if json:
        terminal.print_json({"alarms": len(alarms), "rows": msgspec.to_builtins(rows)})
    else:
        _print_rows(rows)
    return FAILED if alarms else OK


async def _asked(
    settings: "StoreSettings", receipt: "Receipt | None", secret: bytes
) -> "tuple[list[Row], Judgement | None]":
    from mmo.cli.books import open_books
    from mmo.ops import odds as ask

    async with open_books(settings, connections_max=1) as pool, pool.take() as connection:
        if receipt is None:
            return await ask.report(connection), None
        return [], await ask.verify(connection, receipt, secret)


def _print_judgement(judgement: "Judgement") -> None:
    for text in judgement.findings:
        print(f"  {text}")
    public = "public" if judgement.revealed else "not public yet"
    if judgement.holds:
        print(f"holds: roll {judgement.recomputed_ppm}, promised {judgement.commitment} ({public})")
    else:
        print("does NOT hold")


def _print_rows(rows: "list[Row]") -> None:
    terminal.print_table(
        ("table", "level", "published", "observed", "attempts", "band", ""),
        [
            (
                *(row.table, f"+{row.level}", _percent(row.published_ppm)),
                *(_percent(row.observed_ppm), row.attempts),
                f"{_percent(row.low_ppm)} to {_percent(row.high_ppm)}",
                "DRIFT" if row.alarm else "",
            )
            for row in rows
        ],
    )
    if not rows:
        print("no attempt yet")


def _percent(parts_per_million: int) -> str:
    return f"{parts_per_million / 10_000:.3f} %"
