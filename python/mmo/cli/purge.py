"""`purge --older-than 90d`: the old part of the players' event logs goes; the books stay whole.

Owns the options, the yes and the print; what may go and in which order is `ops.purge`'s. Works on
a cluster that runs. Called by the operator and by a proof. Exit code 4: some players committed all
the time and are left to the next run; 1: a log that does not agree with the books was left alone.
"""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mmo.cli import terminal
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, YesOption, load
from mmo.cli.rim import FAILED, OK, PARTIAL
from mmo.errors import OperatorError, StoreUnavailable

if TYPE_CHECKING:
    from mmo.ops.purge import Purged
    from mmo.store.settings import StoreSettings


def register(app: typer.Typer) -> None:
    """Add the command to the table."""
    app.command()(purge)


def purge(
    older_than: Annotated[str, typer.Option("--older-than", help="Such as 90d; needs its unit.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    yes: YesOption = False,
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Remove old lines of the event log; the operations they recorded are refused from then on."""
    import asyncio

    import msgspec

    from mmo.cli.compose import home_store_settings
    from mmo.cli.durations import seconds_of

    older_ms = round(seconds_of(older_than, unit_needed=True) * 1_000)
    settings = home_store_settings(home, load(config, home).config)
    question = f"remove what is older than {older_than} from the event log?"
    if not dry_run and not terminal.confirm(question, yes):
        raise OperatorError(
            "E0710", "purge removes what a restore could go back to", "add --yes to say so"
        )
    try:
        told = asyncio.run(_asked(settings, older_ms, dry_run))
    except StoreUnavailable as error:
        raise OperatorError(
            "E0214", f"the purge stopped: {error}", "mmo-cluster status; then run it again"
        ) from error
    if json:
        terminal.print_json(msgspec.to_builtins(told))
    else:
        _print(told)
    if told.findings:
        return FAILED
    return PARTIAL if told.busy else OK


async def _asked(settings: "StoreSettings", older_ms: int, dry_run: bool) -> "Purged":
    from mmo.cli.books import open_books
    from mmo.ops.purge import purge as ask

    async with open_books(settings, connections_max=1) as pool:
        return await ask(pool, older_ms, dry_run=dry_run, say=_say)


def _say(text: str) -> None:
    """One line of progress that the next one overwrites; only for a person."""
    if sys.stderr.isatty():
        print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)


def _print(told: "Purged") -> None:
    _say("")
    word = "would go" if told.dry_run else "went"
    print(f"{told.lines} lines of {told.purged} players {word}; {told.players} players looked at")
    if told.busy:
        print(f"{told.busy} players committed all the time: run it again")
    for text in told.findings:
        print(f"  left as it is: {text}")
