"""Enhancement and the published odds: any player can check any roll."""

from typing import Annotated

import msgspec

from mmo.wire.codec import OperationId, message
from mmo.wire.messages.inventory import Uid
from mmo.wire.opcode import Op

Big = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


@message(Op.ENHANCE)
class Enhance(msgspec.Struct, array_like=True, frozen=True):
    """One attempt. `table` is the odds table that the client saw (`OddsOk`), `cost` what it told of
    this attempt, in gold; 0: not stated. The server's table decides."""

    op: OperationId
    uid: Uid
    table: Big = 0
    cost: Big = 0


@message(Op.ENHANCE_OK)
class EnhanceOk(msgspec.Struct, array_like=True, frozen=True):
    """The receipt of one attempt: with the day's revealed key anyone recomputes `roll_ppm`."""

    uid: int
    enhance: int  # after the attempt
    success: bool
    attempt: int  # number of this attempt on this item, from 1
    chance_ppm: int  # the odds the server used, parts per million
    roll_ppm: int  # 0..999999; success when below the chance
    cost: int  # gold
    gold: int  # left
    day: int  # YYYYMMDD of the key
    table: int  # odds table number


@message(Op.ODDS)
class OddsAsk(msgspec.Struct, array_like=True, frozen=True):
    pass


class OddsRow(msgspec.Struct, array_like=True, frozen=True):
    """What the attempt from one level costs and promises."""

    level: int  # before the attempt
    chance_ppm: int
    cost: int


@message(Op.ODDS_OK)
class OddsOk(msgspec.Struct, array_like=True, frozen=True):
    table: int
    rows: list[OddsRow]


@message(Op.ROLL_KEYS)
class RollKeysAsk(msgspec.Struct, array_like=True, frozen=True):
    """Commitments and revealed keys from `first_day` (YYYYMMDD) on, at most 32 days."""

    first_day: int


class RollKeyRow(msgspec.Struct, array_like=True, frozen=True):
    """The key of one day: its hash before, itself after."""

    day: int
    commitment: bytes  # SHA-256 of the key
    key: bytes = b""  # empty until the day is over


@message(Op.ROLL_KEYS_OK)
class RollKeysOk(msgspec.Struct, array_like=True, frozen=True):
    keys: list[RollKeyRow]


@message(Op.ROLL_KEYS_SEEN)
class RollKeysSeen(msgspec.Struct, array_like=True, frozen=True):
    """Internal: all days that are published, in their order."""

    keys: list[RollKeyRow]
