"""A player as his event log says he was: every recorded change applied again, from nothing.

Owns the reading and replay of one player's log; writes nothing and judges nothing. Called by
`restore`, and by proofs that compare the log with the books.
"""

from typing import Any, Union

import msgspec

from mmo.state.bag import Bag
from mmo.state.change import Change
from mmo.state.growth import Growth
from mmo.state.player import Head, OperationBook, Player
from mmo.state.score import Score
from mmo.state.wallet import Wallet
from mmo.store.connection import Connection, Statement
from mmo.store.ledger import BUILDERS

_EVENTS = Statement("""
    SELECT version, created_ms, changes FROM event_log FORCE INDEX (PRIMARY) WHERE user_id = %s
    ORDER BY version
""")
_any_change: Any = Union[tuple(BUILDERS)]  # noqa: UP007 - the classes are known only here
decode_changes = msgspec.msgpack.Decoder(tuple[_any_change, ...]).decode


class Event(msgspec.Struct, frozen=True):
    """One line of the log."""

    version: int
    created_ms: int  # clock of the node that decided it
    changes: tuple[Change, ...]


class LogIncomplete(Exception):
    """The log does not reach back to the player's beginning, or misses a version."""


async def read_log(connection: Connection, user: int) -> list[Event]:
    """All events of a player by version. Raises `LogIncomplete` when one is missing."""
    events = [
        Event(version, created_ms, decode_changes(bytes(changes)))
        for version, created_ms, changes in await connection.rows(_EVENTS, user)
    ]
    for place, event in enumerate(events, 1):
        if event.version != place:
            raise LogIncomplete(f"the log has version {event.version} where {place} belongs")
    return events


def until(events: list[Event], moment_ms: int) -> list[Event]:
    """The events up to the last one that was decided at `moment_ms` or before. Servers' clocks may
    differ a little; versions do not, so nothing is ever left out in the middle."""
    last = max((e.version for e in events if e.created_ms <= moment_ms), default=0)
    return events[:last]


def replay(user: int, events: list[Event]) -> Player:
    """The player after these events."""
    player = Player(
        Head(user, "", len(events), 0, 0, 0), Growth(), Wallet(), Bag(), Score(), OperationBook()
    )
    for event in events:
        for change in event.changes:
            change.apply(player)
    return player
