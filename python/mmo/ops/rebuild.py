"""A player as his event log says he was: every recorded change applied again.

Owns the reading and replay of one player's log, which begins with nothing, or with what the purge
kept of the part that it removed; writes nothing and judges nothing. Called by `restore` and
`purge`.
"""

from typing import Any, Union

import msgspec

from mmo.state.bag import Bag
from mmo.state.change import Change
from mmo.state.counters import Counter
from mmo.state.growth import Growth
from mmo.state.player import Head, OperationBook, Player, Snapshot
from mmo.state.score import Score
from mmo.state.wallet import Wallet
from mmo.store.connection import Connection, Statement
from mmo.store.ledger import BUILDERS

_ORIGIN = Statement("SELECT version, last_ms, state FROM event_origin WHERE user_id = %s")
_EVENTS = Statement("""
    SELECT version, created_ms, changes FROM event_log FORCE INDEX (PRIMARY)
    WHERE user_id = %s AND version > %s AND version <= %s ORDER BY version
""")
VERSION_MAX = 2**63 - 1
_any_change: Any = Union[tuple(BUILDERS)]  # noqa: UP007 - the classes are known only here
decode_changes = msgspec.msgpack.Decoder(tuple[_any_change, ...]).decode
_decode_state = msgspec.msgpack.Decoder(Snapshot).decode
_NOTHING = Snapshot(0, 1, 0, 0, 0, 0, 0, [], [], [])


class Event(msgspec.Struct, frozen=True):
    """One line of the log."""

    version: int
    created_ms: int  # clock of the node that decided it
    changes: tuple[Change, ...]


class Log(msgspec.Struct, frozen=True):
    """What is kept of a player's life. `origin`: what he was after the last purged version, nothing
    where nothing was purged; `last_ms`: when that was decided."""

    origin: Snapshot
    last_ms: int
    events: list[Event]


class LogIncomplete(Exception):
    """The log does not reach back to the moment that is asked for, or misses a version."""


async def read_log(connection: Connection, user: int, version_max: int = VERSION_MAX) -> Log:
    """All that is kept of a player, up to a version. Raises `LogIncomplete` when one is missing."""
    row = await connection.row(_ORIGIN, user)
    origin, last_ms = (_NOTHING, 0) if row is None else (_decode_state(bytes(row[2])), int(row[1]))
    events = [
        Event(version, created_ms, decode_changes(bytes(changes)))
        for version, created_ms, changes in await connection.rows(
            _EVENTS, user, origin.version, version_max
        )
    ]
    for place, event in enumerate(events, origin.version + 1):
        if event.version != place:
            raise LogIncomplete(f"the log has version {event.version} where {place} belongs")
    return Log(origin, last_ms, events)


def until(log: Log, moment_ms: int) -> Log:
    """The log up to the last event that was decided at `moment_ms` or before. Servers' clocks may
    differ a little; versions do not, so nothing is ever left out in the middle. Raises
    `LogIncomplete` for a moment of the purged part."""
    if moment_ms < log.last_ms:
        raise LogIncomplete(
            f"the log was purged up to version {log.origin.version}, which is of a later moment"
        )
    first = log.origin.version
    last = max((e.version for e in log.events if e.created_ms <= moment_ms), default=first)
    return msgspec.structs.replace(log, events=log.events[: last - first])


def replay(user: int, log: Log) -> Player:
    """The player after all events of `log`."""
    player = _player_of(user, log.origin)
    for event in log.events:
        for change in event.changes:
            change.apply(player)
    version = log.origin.version + len(log.events)
    player.head = msgspec.structs.replace(player.head, version=version)
    return player


def _player_of(user: int, origin: Snapshot) -> Player:
    player = Player(
        Head(user, "", origin.version, 0, 0, 0),
        Growth(origin.level, origin.exp),
        Wallet(origin.gold, origin.cash, origin.mileage),
        Bag(list(origin.items)),
        Score(origin.score_best),
        OperationBook(),
    )
    player.counters = {
        (kind, key): Counter(window, count) for kind, key, window, count in origin.counters or ()
    }
    player.pass_progress = {progress.pass_id: progress for progress in origin.passes or ()}
    return player
