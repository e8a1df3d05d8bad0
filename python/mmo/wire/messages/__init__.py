"""Every message of the game, one file a system. Importing this package declares them all."""

from mmo.wire.messages import (
    account,
    cash,
    enhance,
    hunt,
    inventory,
    link,
    presence,
    raid,
    raid_link,
    raid_queue,
    ranking,
    season_pass,
    session,
    shop,
)

__all__ = [
    "account",
    "cash",
    "enhance",
    "hunt",
    "inventory",
    "link",
    "presence",
    "raid",
    "raid_link",
    "raid_queue",
    "ranking",
    "season_pass",
    "session",
    "shop",
]
