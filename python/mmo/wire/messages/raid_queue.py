"""Waiting for a raid, at the center: queue, cancel, explain, party, match, rejoin."""

from typing import Annotated

import msgspec

from mmo.wire.codec import message
from mmo.wire.opcode import Op

PartyCode = Annotated[str, msgspec.Meta(max_length=16)]
PartySize = Annotated[int, msgspec.Meta(ge=0, le=8)]


@message(Op.RAID_QUEUE)
class RaidQueue(msgspec.Struct, array_like=True, frozen=True):
    """Wait for a raid of `kind`. With a `party` code all `party_size` friends who named it are kept
    together; they wait for each other first."""

    kind: int
    party: PartyCode = ""
    party_size: PartySize = 0


@message(Op.RAID_QUEUE_OK)
class RaidQueueOk(msgspec.Struct, array_like=True, frozen=True):
    """In the queue."""

    ticket: int
    group: int  # level group
    estimate_ms: int  # waiting time to expect, -1 unknown


@message(Op.RAID_QUEUE_CARDED)
class RaidQueueCarded(msgspec.Struct, array_like=True, frozen=True):
    """Internal: the edge read the player's card for RAID_QUEUE."""

    kind: int
    party: str
    party_size: int
    name: str
    session_epoch: int
    level: int
    worn: list[tuple[int, int, int]]  # (item code, enhancement, expires_ms) of worn equipment
    raid: int  # an unsettled raid that he is a member of, 0 none
    entries: int  # raids of this kind entered today


@message(Op.RAID_CANCEL)
class RaidCancel(msgspec.Struct, array_like=True, frozen=True):
    """Wait no more."""


@message(Op.RAID_CANCEL_OK)
class RaidCancelOk(msgspec.Struct, array_like=True, frozen=True):
    """Out of the queue."""


@message(Op.RAID_EXPLAIN)
class RaidExplain(msgspec.Struct, array_like=True, frozen=True):
    """Why do I still wait?"""


@message(Op.RAID_EXPLAIN_OK)
class RaidExplainOk(msgspec.Struct, array_like=True, frozen=True):
    """The answer of the matching server for the asker's own ticket."""

    kind: int
    group: int
    group_low: int  # groups he is matched with now
    group_high: int
    rule: str  # what keeps him waiting: "players", "party", "rooms"
    candidates: int  # others who wait within his window
    missing: int  # players that a team still lacks
    waited_ms: int
    widens_in_ms: int  # until his window widens, -1 never
    estimate_ms: int  # -1 unknown


@message(Op.RAID_MATCHED)
class RaidMatched(msgspec.Struct, array_like=True, frozen=True):
    """Push, and the answer to RAID_REJOIN: the seat at a raid server and the token for it."""

    raid: int
    kind: int
    seat: int
    number: int
    host: str
    port: int
    token: str


@message(Op.RAID_UNMATCHED)
class RaidUnmatched(msgspec.Struct, array_like=True, frozen=True):
    """Push: the ticket is gone without a raid; `code` says why. Queue again."""

    code: int


@message(Op.RAID_REJOIN)
class RaidRejoin(msgspec.Struct, array_like=True, frozen=True):
    """A fresh token for the running raid that I am a member of."""


@message(Op.RAID_REJOIN_CARDED)
class RaidRejoinCarded(msgspec.Struct, array_like=True, frozen=True):
    """Internal: the edge read which unsettled raid the sender is a member of; `raid` 0: none."""

    raid: int
    kind: int
    seat: int
    number: int  # server that runs it


@message(Op.RAID_FREED)
class RaidFreed(msgspec.Struct, array_like=True, frozen=True):
    """Push: the raid is over and the player may queue again. `finished` False: it was aborted and
    its entry is refunded."""

    raid: int
    finished: bool


@message(Op.RAID_PARTY)
class RaidParty(msgspec.Struct, array_like=True, frozen=True):
    """A fresh party code, to be told to friends."""


@message(Op.RAID_PARTY_OK)
class RaidPartyOk(msgspec.Struct, array_like=True, frozen=True):
    party: str


@message(Op.RAID_QUEUE_LEFT)
class RaidQueueLeft(msgspec.Struct, array_like=True, frozen=True):
    """Internal: the connection of a player ended; his ticket waits no more."""

    user: int
