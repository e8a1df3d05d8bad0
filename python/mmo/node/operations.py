"""Operation ids: whether a request is new, a repeat, or a fault.

Owns the judgement over one player's operation book. Never reads the store: an id that the book
cannot settle is `LOOK_UP`, and the caller asks. Called by the router before a mutating rule.
"""

import hashlib
from enum import Enum

from mmo.state.player import OperationRecord, Player
from mmo.wire.opcode import Code


class Judged(Enum):
    """What an operation id means, besides a record or a refusal."""

    NEW = 1
    LOOK_UP = 2  # below the highest counter and not among the kept records


def request_hash(opcode: int, body: bytes) -> bytes:
    """8 bytes over what was asked, the operation id included."""
    return hashlib.blake2b(body, digest_size=8, salt=opcode.to_bytes(8, "little")).digest()


def judge(
    player: Player, operation: tuple[int, int], asked: bytes
) -> Judged | OperationRecord | Code:
    """NEW or LOOK_UP, the record of the finished operation, or why it is refused."""
    epoch, counter = operation
    if epoch < 1 or counter < 1 or epoch > player.head.session_epoch or counter >= 2**63:
        return Code.OPERATION_MISSING
    if epoch < player.head.operation_floor_epoch:
        return Code.OPERATION_EXPIRED
    record = player.operations.records.get((epoch, counter))
    if record is not None:
        return judge_record(record, asked)
    if counter > player.operations.highest.get(epoch, 0):
        return Judged.NEW
    return Judged.LOOK_UP


def judge_record(record: OperationRecord, asked: bytes) -> OperationRecord | Code:
    """The record itself, or OPERATION_MISMATCH when something else was asked under its id."""
    return record if record.request_hash == asked else Code.OPERATION_MISMATCH
