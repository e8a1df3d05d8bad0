"""`keys`: the keys of the cluster's tokens, a new one, and the choice of the one that signs.

Owns the print; the files and the choice are those of `secret_files`. Changes nothing in servers
that run: they take it when they are restarted. Called by the operator.
"""

from typing import Annotated

import typer

from mmo.cli import terminal
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, load
from mmo.cli.rim import OK
from mmo.cluster.home import Home


def register(app: typer.Typer) -> None:
    """Add the command to the table."""
    app.command()(keys)


def keys(
    add: Annotated[bool, typer.Option("--add", help="Make one that verifies only.")] = False,
    sign: Annotated[str, typer.Option("--sign", help="The kid of the one that signs.")] = "",
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Token keys of this machine. A rolling restart after each change, `--add` first."""
    from mmo.cluster.secret_files import (
        add_token_key,
        choose_token_key,
        signing_kid,
        token_directory,
        token_kids,
    )

    if add and sign:
        raise typer.BadParameter("--add or --sign: every server must know a key before it signs")
    directory = token_directory(Home(home), load(config, home).config)
    added = add_token_key(directory) if add else ""
    if sign:
        choose_token_key(directory, sign)
    signing, known = signing_kid(directory), token_kids(directory)
    if json:
        terminal.print_json({"signs": signing, "keys": known, "added": added})
        return OK
    rows = [(kid, "signs" if kid == signing else "verifies") for kid in known]
    terminal.print_table(("kid", "does"), rows)
    if add or sign:
        print("next: mmo-cluster restart --rolling")
    return OK
