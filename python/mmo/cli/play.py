"""`play`: a terminal client: log in, look, hunt, by typed words.

Owns the prompt; the words are `mmo.client.words`. Called by a person, or with lines on a pipe.
"""

import getpass
import random
import sys
import time
from typing import Annotated

import typer

from mmo.cli import terminal
from mmo.cli.bot import login_addresses
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption
from mmo.cli.rim import FAILED, OK


def register(app: typer.Typer) -> None:
    """Add the command to the table."""
    app.command()(play)


def play(
    name: Annotated[str, typer.Option("--as", help="Account name; a new one is registered.")] = "",
    password: Annotated[
        str, typer.Option("--password", envvar="MMO_PLAY_PASSWORD", help="Asked for without it.")
    ] = "",
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Play by typed words."""
    from mmo.client.connection import Shell
    from mmo.client.hero import Hero
    from mmo.client.meter import Meter
    from mmo.client.words import come_in, say
    from mmo.errors import MmoError

    asked = sys.stdin.isatty()
    logins = login_addresses(home)
    if not name:
        name = input("name: ") if asked else "traveller"
    if not password:
        password = getpass.getpass() if asked else "a-travellers-password"
    me = Hero(name, password, logins, Meter(), random.Random(), time.monotonic)
    shell = Shell()
    try:
        _print(shell.walk(come_in(me)), json)
        while me.session_token:
            if asked:
                print("> ", end="", flush=True)
            line = sys.stdin.readline()
            if not line or line.strip() == "quit":
                break
            _print(shell.walk(say(me, line)), json)
        return OK if me.user else FAILED
    except MmoError as fault:
        print(f"  {fault}", file=sys.stderr)
        return FAILED
    finally:
        shell.cut_all()


def _print(lines: list[str], json: bool) -> None:
    if json:
        terminal.print_json({"lines": lines})
        return
    for line in lines:
        print(f"  {line}")
