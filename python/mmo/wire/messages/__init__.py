"""Every message of the game, one file a system. Importing this package declares them all."""

from mmo.wire.messages import (
    account,
    cash,
    enhance,
    hunt,
    inventory,
    link,
    presence,
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
    "season_pass",
    "session",
    "shop",
]
