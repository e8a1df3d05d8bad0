"""`restore player ID --at TIME`: a player as he was at a moment, brought back by a correction.

Owns the arguments, the print and the booking of the grant; the difference is `ops.restore`'s. The
player may be online: his owner claims the correction within a second.
"""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mmo.cli import terminal
from mmo.cli.books import answered
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, load
from mmo.cli.rim import OK
from mmo.errors import OperatorError

if TYPE_CHECKING:
    from mmo.content.tables import Content
    from mmo.ops.restore import Restoration
    from mmo.state.grant import Bundle
    from mmo.store.settings import StoreSettings

_DATE_DIGITS, _UNIX_DIGITS = 8, 10


def register(app: typer.Typer) -> None:
    """Add the command to the table."""
    app.command()(restore)


def restore(
    what: Annotated[Literal["player"], typer.Argument(help="What is brought back: player.")],
    identity: Annotated[
        str,
        typer.Argument(help="User id or account name; id=7 and name=7 say which.", metavar="ID"),
    ],
    at: Annotated[
        str, typer.Option("--at", help="Such as 2026-01-31T23:59:59 (UTC), or ten digits: unix s.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the correction.")] = False,
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Rebuild a player from his event log and book the difference as a correction."""
    import msgspec

    from mmo.cli.compose import home_store_settings
    from mmo.cli.sources import read_tables
    from mmo.ops.rebuild import LogIncomplete

    at_ms = moment_ms(at, time.time())
    effective = load(config, home).config
    settings = home_store_settings(home, effective)
    content = read_tables(effective)
    try:
        found = answered(_asked(settings, content, identity, at_ms, dry_run))
    except LogIncomplete as error:
        raise OperatorError("E0721", str(error), "mmo-cluster audit") from error
    if json:
        plain = msgspec.to_builtins(found)
        plain["grant"] = None if found.grant is None else found.grant.source_id
        plain["correction"] = _named(found.correction)
        terminal.print_json({**plain, "dry_run": dry_run})
    else:
        _print(found, dry_run)
    return OK


def moment_ms(text: str, now_s: float) -> int:
    """Unix milliseconds of a moment in ISO 8601 (UTC unless it says otherwise) or unix seconds,
    its whole second included. Raises `OperatorError` E0734 for anything else and for a moment that
    is not yet: a correction is booked at once, so nothing is guessed."""
    digits = len(text) if text.isascii() and text.isdigit() else 0
    # Ten digits are unix seconds from 2001 to 2286. Of other lengths only a date (20260131) is
    # read: 13 digits are milliseconds, and some of them would pass for a date of 1701.
    if digits not in (0, _DATE_DIGITS, _UNIX_DIGITS):
        raise _no_moment(f"--at {text} is neither a date nor unix seconds, which have ten digits")
    try:
        if digits == _UNIX_DIGITS:
            seconds = int(text)
        else:
            moment = datetime.fromisoformat(text)
            seconds = int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())
    except ValueError as error:
        raise _no_moment(f"--at {text}: {error}") from error
    if seconds > now_s:
        raise _no_moment(f"--at {text} is not yet: that is {seconds - now_s:.0f} s from now")
    return seconds * 1_000 + 999


def _no_moment(cause: str) -> OperatorError:
    return OperatorError("E0734", cause, "a moment that is over, such as 2026-01-31T23:59:59 (UTC)")


async def _asked(
    settings: "StoreSettings", content: "Content", identity: str, at_ms: int, dry_run: bool
) -> "Restoration":
    from mmo.cli.books import no_player, one_player, open_books
    from mmo.ops import restore as ask

    async with open_books(settings, connections_max=2) as pool:
        user = await one_player(pool, identity)
        found = await ask.restoration(pool, content, user, at_ms, book=not dry_run)
    if found is None:
        raise no_player(identity)
    return found


def _named(bundle: "Bundle") -> dict[str, Any]:
    """A bundle by names; on the wire it is an array."""
    named = {name: getattr(bundle, name) for name in bundle.__struct_fields__}
    items = [{name: getattr(i, name) for name in i.__struct_fields__} for i in bundle.items]
    return {**named, "items": items}


def _print(found: "Restoration", dry_run: bool) -> None:
    rows = [
        (name, getattr(found.then, name), getattr(found.now, name))
        for name in ("version", "level", "exp", "gold", "cash", "mileage")
    ]
    names = sorted(set(found.then.items) | set(found.now.items))
    rows += [
        (f"item {name}", found.then.items.get(name, 0), found.now.items.get(name, 0))
        for name in names
    ]
    terminal.print_table((f"user {found.user}, {found.name}", "then", "now"), rows)
    for text in found.kept:
        print(f"  {text}")
    if found.grant is None:
        print("nothing to correct")
    elif dry_run:
        print("not booked: --dry-run")
    else:
        print("correction booked" if found.booked else "this correction was booked before")
