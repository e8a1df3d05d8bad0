"""What the store knows of a player who wants a raid: level, worn equipment, the raid he is in.

Owns the reading and nothing else: the same for a player whom another server owns. Runs at the
center; the rules are `systems.raid_entry` and `systems.raid_tokens`.
"""

from datetime import UTC, datetime

from mmo.contract import Outside, PlayerCard, Refuse, Sender, edge
from mmo.wire.messages.raid_queue import (
    RaidQueue,
    RaidQueueCarded,
    RaidRejoin,
    RaidRejoinCarded,
)
from mmo.wire.opcode import Code, Op


@edge(Op.RAID_QUEUE, by="user", deadline_ms=3_000, rate="action")
async def queue(message: RaidQueue, outside: Outside, sender: Sender) -> RaidQueueCarded | Refuse:
    """The wish to wait, with the card of who wishes it."""
    card = await _card(outside, sender)
    if card is None:
        return Refuse(Code.NOT_ENTERED)
    return RaidQueueCarded(
        kind=message.kind,
        party=message.party,
        party_size=message.party_size,
        name=card.name,
        session_epoch=card.session_epoch,
        level=card.level,
        worn=list(card.worn),
        raid=card.raid,
        entries=card.entries.count(message.kind),
    )


@edge(Op.RAID_REJOIN, by="user", deadline_ms=3_000, rate="action")
async def rejoin(
    message: RaidRejoin, outside: Outside, sender: Sender
) -> RaidRejoinCarded | Refuse:
    """The wish to come back, with the seat in the unsettled raid."""
    card = await _card(outside, sender)
    if card is None:
        return Refuse(Code.NOT_ENTERED)
    return RaidRejoinCarded(card.raid, card.raid_kind, card.raid_seat, card.raid_number)


async def _card(outside: Outside, sender: Sender) -> PlayerCard | None:
    today = datetime.fromtimestamp(outside.now_ms() / 1000, UTC)
    return await outside.card(sender.user, int(today.strftime("%Y%m%d")))
