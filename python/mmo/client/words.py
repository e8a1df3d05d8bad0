"""The game by typed words: `look`, `hunt 5`, `move 12`, `bag`, … as walks that return lines of
text.

Owns the words and what they print. Called by `play` and by tests; never touches a terminal.
"""

from collections.abc import Callable

from mmo.client.coming_back import come_back
from mmo.client.hero import Hero
from mmo.client.hunting import choose_channel, hunt_while, look, settle
from mmo.client.session import (
    Unwelcome,
    arrive,
    ask,
    code_name,
    lobby,
    log_in,
    log_out,
    move,
    register,
    servers,
)
from mmo.client.steps import CENTER, GAME, Lost, Walk
from mmo.wire.messages.account import LoginOk
from mmo.wire.messages.hunt import ChannelEnter, ChannelEnterOk, ChannelListAsk
from mmo.wire.messages.ranking import RankingPage
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

Lines = list[str]
KINDS = ("equipment", "consumable", "material")
KILLS_MAX = 1000
PAGE_ROWS = 10
PLACES_MAX = 1_000_000_000


def come_in(me: Hero) -> Walk[Lines]:
    """Log in, registering a name that nobody has, and stand in the lobby."""
    expects = (Code.CREDENTIALS_WRONG, Code.LOCKED_OUT, Code.BANNED)
    entry = yield from log_in(me, expects=tuple(map(int, expects)))
    lines: Lines = []
    if not isinstance(entry, LoginOk):
        if entry.code == Code.LOCKED_OUT:
            return [f"too many wrong passwords: wait {entry.detail} s"]
        if entry.code == Code.BANNED:
            return [f"this account is shut for {entry.detail} s more"]
        expected = [Code.NAME_TAKEN, Code.NAME_INVALID, Code.PASSWORD_INVALID, Code.LOCKED_OUT]
        made = yield from register(me, expects=tuple(map(int, expected)))
        if isinstance(made, Refused):
            if made.code == Code.LOCKED_OUT:
                return [f"too many registrations from here: wait {made.detail} s"]
            known = made.code == Code.NAME_TAKEN
            return ["wrong password" if known else f"{code_name(made.code)} {made.detail}"]
        lines.append(f"registered {made.name}")
    told = yield from arrive(me)
    return [*lines, f"welcome, {told.name}; you are in the lobby. `help` lists the words", *who(me)]


def who(me: Hero) -> Lines:
    """Level, exp, gold and place."""
    record = me.record
    place = f"server {me.game_number}, channel {me.channel or '-'}" if me.game else "the lobby"
    return [f"{me.name}: level {record.level}, exp {record.exp}, gold {record.gold}, in {place}"]


def bag(me: Hero) -> Lines:
    """All items."""
    items = sorted(me.record.items.values(), key=lambda item: (item.kind, item.slot))
    return [
        f"{KINDS[item.kind]:<10} slot {item.slot}: code {item.code} x{item.count}"
        + (f" +{item.enhance}" if item.enhance else "")
        for item in items
    ] or ["the bag is empty"]


def _servers(me: Hero, _: int) -> Walk[Lines]:
    rows = yield from servers(me)
    return [
        f"{row.number}: {row.name}, {row.users} of {row.users_max}{'' if row.open else ', closed'}"
        for row in rows
    ]


def _move(me: Hero, number: int) -> Walk[Lines]:
    if number:
        there = yield from move(me, number)
        return who(me) if there else ["that server has no seat for you"]
    yield from settle(me)
    return who(me)


def _channels(me: Hero, _: int) -> Walk[Lines]:
    yield from settle(me)
    rows = (yield from ask(me, GAME, ChannelListAsk())).channels
    me.channel = 0
    return [f"{row.number}: {row.users} of {row.users_max}" for row in rows]


def _channel(me: Hero, number: int) -> Walk[Lines]:
    yield from settle(me)
    if not number:
        yield from choose_channel(me)
        return who(me)
    refusals = (int(Code.CHANNEL_FULL), int(Code.CHANNEL_UNKNOWN), int(Code.ALREADY_IN_CHANNEL))
    reply = yield from ask(me, GAME, ChannelEnter(number), expects=refusals)
    if not isinstance(reply, ChannelEnterOk):
        return [code_name(reply.code)]
    me.channel = number
    me.monsters = {monster.number: monster for monster in reply.monsters}
    return who(me)


def _in_channel(me: Hero) -> Walk[None]:
    yield from settle(me)
    if not me.channel:
        yield from choose_channel(me)


def _look(me: Hero, _: int) -> Walk[Lines]:
    yield from _in_channel(me)
    yield from look(me)
    return [
        f"{row.number}: kind {row.kind}, "
        + (f"hp {row.hp} of {row.hp_max}" if row.hp else f"rises in {row.respawn_ms} ms")
        for row in me.monsters.values()
    ]


def _hunt(me: Hero, kills: int) -> Walk[Lines]:
    yield from _in_channel(me)
    record = me.record
    until = record.kills + min(kills or 1, KILLS_MAX)
    before = (record.gold, len(record.items))
    yield from hunt_while(me, lambda: record.kills < until)
    found = len(record.items) - before[1]
    return [f"{kills or 1} killed, {record.gold - before[0]} gold, {found} new items", *who(me)]


def _lobby(me: Hero, _: int) -> Walk[Lines]:
    yield from lobby(me)
    return who(me)


def _ranking(me: Hero, place: int) -> Walk[Lines]:
    board = yield from ask(me, CENTER, RankingPage(max(1, min(place, PLACES_MAX)), PAGE_ROWS))
    rows = [f"{row.rank:>6}  {row.name:<20} {row.score}" for row in board.rows]
    own = f"you are {board.own_rank} of {board.size}" if board.own_rank else "you have no score yet"
    return [*rows, f"season {board.season}: {own}"]


def _out(me: Hero, _: int) -> Walk[Lines]:
    yield from log_out(me)
    return ["logged out"]


def _ping(me: Hero, _: int) -> Walk[Lines]:
    from mmo.client.protocol import Ping

    began = me.clock()
    yield from ask(me, CENTER, Ping(b"play"))
    return [f"the center answered in {(me.clock() - began) * 1000:.1f} ms"]


WORDS: dict[str, tuple[str, Callable[[Hero, int], Walk[Lines]]]] = {
    "servers": ("list the channel servers", _servers),
    "move": ("move [SERVER]: to that server, or to any with a seat", _move),
    "channels": ("list the channels of this server (leaves the one you are in)", _channels),
    "channel": ("channel [NUMBER]: enter a channel", _channel),
    "look": ("the monsters around you", _look),
    "hunt": ("hunt [KILLS]: until so many are down", _hunt),
    "lobby": ("back to the lobby", _lobby),
    "ranking": ("ranking [PLACE]: the best raiders, from a place on", _ranking),
    "ping": ("how far away the center is", _ping),
    "out": ("log out", _out),
}


def say(me: Hero, line: str) -> Walk[Lines]:
    """One typed line. Refusals become text; a lost connection is resumed and the word said
    again."""
    word, _, rest = line.strip().partition(" ")
    if word in ("", "help"):
        texts = [f"{name:<9} {about}" for name, (about, _) in WORDS.items()]
        return [*texts, f"{'who':<9} you", f"{'bag':<9} what you carry", f"{'quit':<9} leave"]
    if word == "who":
        return who(me)
    if word == "bag":
        return bag(me)
    if word not in WORDS:
        return [f"no word {word!r}; `help` lists them"]
    if rest and not rest.strip().isdecimal():
        return [f"{word} takes a number, not {rest.strip()!r}"]
    number = int(rest.strip()[:18]) if rest.strip() else 0
    while True:
        try:
            return (yield from WORDS[word][1](me, number))
        except Unwelcome as refusal:
            return [str(refusal)]
        except Lost as lost:
            yield from come_back(me, lost)
