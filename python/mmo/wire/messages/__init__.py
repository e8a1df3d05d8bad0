"""Every message of the game, one file a system. Importing this package declares them all."""

from mmo.wire.messages import account, hunt, link, presence, session

__all__ = ["account", "hunt", "link", "presence", "session"]
