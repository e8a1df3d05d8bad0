"""`account ID`: what is known of an account, and what an operator may change of it.

Owns the arguments, the question for a password and the print; what is changed is `ops.accounts`'s.
The player may be online: a ban and a new password end his session within a second.
"""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from mmo.cli import terminal
from mmo.cli.books import answered, is_text
from mmo.cli.durations import seconds_of
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, load
from mmo.cli.rim import OK
from mmo.errors import OperatorError

if TYPE_CHECKING:
    from pathlib import Path

    from mmo.config import Config
    from mmo.ops.accounts import AccountSeen, Changed, What
    from mmo.store.settings import StoreSettings

FOR_EVER = "forever"
BAN_S_MAX = 100 * 365 * 86_400.0


def register(app: typer.Typer) -> None:
    """Add the command to the table."""
    app.command()(account)


def account(
    identity: Annotated[
        str,
        typer.Argument(help="User id or account name; id=7 and name=7 say which.", metavar="ID"),
    ],
    ban: Annotated[
        str | None, typer.Option("--ban", help="Shut it for so long, such as 7d, or forever.")
    ] = None,
    lift: Annotated[bool, typer.Option("--lift", help="Open it again.")] = False,
    unlock: Annotated[
        bool, typer.Option("--unlock", help="Forget wrong passwords, in the row of the account.")
    ] = False,
    password: Annotated[
        bool, typer.Option("--password", help="Ask for a new one, or read a line of input.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Kept with the change.")] = "",
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Show an account, shut or open it, set a new password."""
    import msgspec

    from mmo.cli.compose import home_store_settings

    done = _change(ban, lift, unlock, password, reason)
    effective = load(config, home).config
    settings = home_store_settings(home, effective)
    secret = new_password(effective) if password else ""
    found = answered(_asked(settings, identity, done, effective, home, secret))
    if json:
        terminal.print_json(msgspec.to_builtins(found))
    else:
        _print(found, time.time())
    return OK


def _change(
    ban: str | None, lift: bool, unlock: bool, password: bool, reason: str
) -> "Changed | None":
    """The change that was asked for, None for a look. Raises a usage error."""
    from mmo.cli.publishing import who
    from mmo.ops.accounts import FOR_EVER_MS, REASON_CHARACTERS_MAX, Changed

    asked: dict[What, bool] = {
        "ban": ban is not None,
        "lift": lift,
        "unlock": unlock,
        "password": password,
    }
    chosen = [what for what, wanted in asked.items() if wanted]
    if len(chosen) > 1:
        raise typer.BadParameter("one of --ban, --lift, --unlock and --password at a time")
    if not chosen:
        if reason:
            raise typer.BadParameter("--reason is for a change")
        return None
    if len(reason) > REASON_CHARACTERS_MAX or not is_text(reason):
        raise typer.BadParameter(f"a reason is text of {REASON_CHARACTERS_MAX} characters at most")
    now_ms, until_ms = int(time.time() * 1_000), 0
    if ban == FOR_EVER:
        until_ms = FOR_EVER_MS
    elif ban is not None:
        for_s = seconds_of(ban, unit_needed=True)
        if not 0 < for_s <= BAN_S_MAX:
            raise typer.BadParameter(f"--ban {ban}: up to 36500d, or {FOR_EVER}")
        until_ms = now_ms + int(for_s * 1_000)
    return Changed(chosen[0], until_ms, reason, who(), now_ms)


def new_password(config: "Config") -> str:
    """Asked for twice at a terminal, else the first line of standard input. Raises
    `OperatorError` E0736 for one that the game does not take."""
    from mmo.cli.sources import read_tables

    if not terminal.is_script():
        typed: str = typer.prompt(
            "new password", hide_input=True, confirmation_prompt=True, err=True
        )
    else:
        typed = sys.stdin.readline().rstrip("\r\n") if sys.stdin is not None else ""
    limits = read_tables(config).account
    low, high = limits.password_characters_min, limits.password_characters_max
    if not is_text(typed):
        raise OperatorError("E0736", "the password is not UTF-8", "another one")
    if not low <= len(typed) <= high:
        raise OperatorError(
            "E0736", f"a password has {low} to {high} characters, not {len(typed)}", "another one"
        )
    return typed


async def _asked(
    settings: "StoreSettings",
    identity: str,
    done: "Changed | None",
    config: "Config",
    home: "Path",
    password: str,
) -> "AccountSeen":
    from mmo.cli.books import no_player, one_player, open_books
    from mmo.ops import accounts

    password_hash = await _hashed(config, home, password) if password else ""
    async with open_books(settings, connections_max=2) as pool:
        user = await one_player(pool, identity)
        if done is not None and not await accounts.change(pool, user, done, password_hash):
            raise no_player(identity)
        async with pool.take() as connection:
            found = await accounts.read(connection, user)
    if found is None:
        raise no_player(identity)
    return found


async def _hashed(config: "Config", home: "Path", password: str) -> str:
    """As a login server makes it."""
    from mmo.cli.compose import password_pool
    from mmo.cluster.home import Home
    from mmo.cluster.secret_files import read_secrets

    pool = password_pool(config, read_secrets(Home(home), config))
    try:
        return await pool.hash(password)
    finally:
        pool.close()


def _print(found: "AccountSeen", now_s: float) -> None:
    is_locked = found.locked_until_ms > now_s * 1_000
    rows = [
        ("registered", _told(found.created_ms)),
        ("last login", _told(found.login_ms)),
        ("owned by", f"server {found.place_number}" if found.place_number else "no server"),
        ("shut", _until(found.banned_until_ms, now_s)),
        ("locked", f"until {_told(found.locked_until_ms)}" if is_locked else "no"),
        ("wrong passwords", str(found.failures)),
    ]
    terminal.print_table((f"user {found.user}, {found.name}", ""), rows)
    if found.changes:
        print()
        lines = [
            (_told(one.at_ms), one.what, _ban_until(one), one.who, one.reason)
            for one in found.changes
        ]
        terminal.print_table(("when", "what", "until", "by", "reason"), lines)


def _until(until_ms: int, now_s: float) -> str:
    from mmo.ops.accounts import FOR_EVER_MS

    if until_ms <= now_s * 1_000:
        return "no"
    return "for ever" if until_ms >= FOR_EVER_MS else f"until {_told(until_ms)}"


def _ban_until(one: "Changed") -> str:
    return _until(one.until_ms, one.at_ms / 1_000).removeprefix("until ") if one.until_ms else ""


def _told(unix_ms: int) -> str:
    return terminal.told_time(unix_ms) if unix_ms else "never"
