"""`call`: send any message as a player and print the decoded reply.

Owns turning typed JSON into a message and a reply into JSON. An account that does not exist is
registered first (development). Called by the operator and by scripts.
"""

import json as json_text
import random
import re
import sys
import time
from typing import Annotated, Any

import typer

from mmo.cli import terminal
from mmo.cli.bot import login_addresses
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, load
from mmo.cli.rim import FAILED, OK
from mmo.cli.sources import import_game
from mmo.errors import MmoError, OperatorError

LOGIN_FIRST, CENTER_FIRST, GAME_FIRST = 200, 300, 400
AT_CENTER = (300, 1_000, 1_200)
AT_RAID = 1_100
"""Client opcodes by hundreds: login, then what the center answers; the others go to the server
where the player is. What a raid server answers is only for who has a seat there."""


def register(app: typer.Typer) -> None:
    """Add the command to the table."""
    app.command()(call)


def call(
    op: Annotated[str, typer.Argument(help="Name of the message, such as SERVER_LIST.")],
    body: Annotated[str, typer.Argument(help="Its fields as a JSON object.")] = "{}",
    user: Annotated[str, typer.Option("--as", help="Account name.")] = "",
    password: Annotated[
        str | None, typer.Option("--password", envvar="MMO_CALL_PASSWORD", help="Of the account.")
    ] = None,
    channel: Annotated[
        int,
        typer.Option(
            "--channel", help="Go to a channel server and enter its channel N; 0: as needed."
        ),
    ] = 0,
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Send one message as a player and print the reply."""
    import_game(load(config, home).config)
    message = message_of(op, body)
    if not user:
        raise typer.BadParameter("--as USER names the account that asks")
    from mmo.client.connection import Shell
    from mmo.client.fleet import PASSWORD
    from mmo.client.hero import Hero
    from mmo.client.meter import Meter
    from mmo.wire.messages.session import Refused

    me = Hero(
        user, password or PASSWORD, login_addresses(home), Meter(), random.Random(), time.monotonic
    )
    shell = Shell()
    try:
        reply = shell.walk(_ask_at_its_place(me, message, channel))
    except OperatorError:
        raise
    except MmoError as fault:  # no connection, no answer, or no way in
        raise OperatorError(
            "E0730", f"{op}: {fault}", "mmo-cluster status; --channel N asks a game's channel rules"
        ) from fault
    finally:
        shell.cut_all()
    named = {"message": type(reply).__name__, **named_fields(reply)}
    if json:
        terminal.print_json(named)
    else:
        print(json_text.dumps(named, ensure_ascii=False, indent=2))
    return FAILED if isinstance(reply, Refused) else OK


def message_of(op: str, body: str) -> Any:
    """The message that `op` names with the fields of a JSON object. Raises a usage error that names
    what is wrong."""
    import msgspec

    known = _messages()
    kind = known.get(op.upper())
    if kind is None:
        raise typer.BadParameter(f"no message {op!r}; there are {', '.join(known)}")
    try:
        given = json_text.loads(body)
    except ValueError as fault:
        raise typer.BadParameter(f"not JSON: {fault}") from None
    if not isinstance(given, dict):
        raise typer.BadParameter("the fields of a message are a JSON object")
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    unknown = given.keys() - fields.keys()
    if unknown:
        raise typer.BadParameter(f"{op} has no field {', '.join(unknown)}; {', '.join(fields)}")
    missing = [n for n, f in fields.items() if f.required and n not in given and n != "op"]
    if missing:
        raise typer.BadParameter(f"{op} needs {', '.join(missing)}")
    try:
        values = {name: msgspec.convert(value, fields[name].type) for name, value in given.items()}
    except msgspec.ValidationError as fault:
        raise typer.BadParameter(f"{op}: {fault}") from None
    if "op" in fields and "op" not in values:
        values["op"] = (0, 0)  # replaced by the session's next operation number
    return kind(**values)


def _messages() -> dict[str, type]:
    """Messages by the name of their opcode; those of a game by the name of their class:
    `RollDice` -> `ROLL_DICE`. Without those of a raid server."""
    from mmo.wire import codec, messages
    from mmo.wire.opcode import Op

    assert messages  # importing the package declares every message
    names = {int(op): op.name for op in Op}
    found: dict[str, type] = {}
    for number in codec.opcodes():
        kind = codec.class_of(number)
        assert kind is not None
        if number < LOGIN_FIRST or number // 100 * 100 == AT_RAID:
            continue
        own = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).upper()
        found[names.get(number, own)] = kind
    return found


def named_fields(value: Any) -> Any:
    """A message as objects with field names, all the way down."""
    import msgspec

    if isinstance(value, msgspec.Struct):
        fields = msgspec.structs.fields(value)
        return {field.name: named_fields(getattr(value, field.name)) for field in fields}
    if isinstance(value, list | tuple):
        return [named_fields(one) for one in value]
    return msgspec.to_builtins(value)


def _ask_at_its_place(me: Any, message: Any, channel: int) -> Any:
    """A walk: to the server that answers this message, then ask it there."""
    import msgspec

    from mmo.client.hunting import choose_channel, settle
    from mmo.client.session import arrive, ask, log_in, visit_login
    from mmo.client.session import register as register_account
    from mmo.client.steps import CENTER, GAME, LOGIN
    from mmo.wire.messages.account import LoginOk
    from mmo.wire.messages.hunt import ChannelEnter
    from mmo.wire.opcode import OPCODE_GAME_MIN, Code, Op

    # Every refusal is an answer, those of a game's own too.
    every = tuple(code for code in range(1, 1 << 16) if code != Code.RETRY_LATER)
    opcode = message.opcode
    if opcode < CENTER_FIRST:
        yield from visit_login(me)
        return (yield from ask(me, LOGIN, message, expects=every))
    entry = yield from log_in(me, expects=(int(Code.CREDENTIALS_WRONG),))
    if not isinstance(entry, LoginOk):
        taken = yield from register_account(me, expects=every)
        if type(taken).__name__ == "Refused":
            return entry
        print(f"  registered {me.name}", file=sys.stderr)
    yield from arrive(me)
    lane = CENTER
    is_own = opcode >= OPCODE_GAME_MIN  # of a game: at its center, or in the channel that is named
    if channel if is_own else opcode // 100 * 100 not in AT_CENTER:
        lane = GAME
        yield from settle(me)
        if channel:
            yield from ask(me, GAME, ChannelEnter(channel), expects=every)
        elif opcode not in (Op.CHANNEL_LIST, Op.CHANNEL_ENTER) and opcode < GAME_FIRST + 100:
            yield from choose_channel(me)
    if getattr(message, "op", None) == (0, 0):
        message = msgspec.structs.replace(message, op=me.next_operation())
    return (yield from ask(me, lane, message, expects=every))
