"""The keys of the rolls: their hashes before the day, themselves when nobody can roll any more.

Installed wherever players roll. With a revealed key and the receipt of an attempt anyone recomputes
what was rolled; with the hash, published before, anyone sees that the key was not chosen after.
"""

from mmo.contract import Env, Outcome, handles
from mmo.state.roll import DayKey
from mmo.state.roll_days import RollDays, RollDaysSeen
from mmo.wire.messages.enhance import RollKeyRow, RollKeysAsk, RollKeysOk, RollKeysSeen
from mmo.wire.opcode import Op

DAYS_TOLD_MAX = 32


@handles(Op.ROLL_KEYS, needs=("roll_days",), rate="list")
def roll_keys(message: RollKeysAsk, *, roll_days: RollDays, env: Env) -> Outcome:
    """The published days from one on."""
    rows = [row for row in roll_days.rows if row.day >= message.first_day][:DAYS_TOLD_MAX]
    return Outcome(replies=(RollKeysOk([RollKeyRow(*row) for row in rows]),))


@handles(Op.ROLL_KEYS_SEEN, by="node")
def roll_keys_seen(message: RollKeysSeen, *, env: Env) -> Outcome:
    """What the node read from the store is what players are told from now on."""
    rows = tuple(DayKey(row.day, row.commitment, row.key) for row in message.keys)
    return Outcome(effects=(RollDaysSeen(rows),))
