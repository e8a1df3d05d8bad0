"""Passwords: hashed and checked outside the loop, before a pure rule decides.

Owns the form of names on the way in (NFC) and nothing else. Runs at the login server for clients
that proved nothing yet; the node gives it deadlines, a bounded pool and a waiting line.
"""

import unicodedata

from mmo.contract import Outside, Sender, edge
from mmo.wire.messages.account import Login, LoginVerified, Register, RegisterHashed
from mmo.wire.opcode import Op


@edge(Op.REGISTER, deadline_ms=10_000)
async def register(message: Register, outside: Outside, sender: Sender) -> RegisterHashed:
    """Hash the password; whether name and password have the form is decided by the rule."""
    return RegisterHashed(
        name=unicodedata.normalize("NFC", message.name),
        password_hash=await outside.hash_password(message.password),
        password_length=len(message.password),
    )


@edge(Op.LOGIN, deadline_ms=10_000)
async def login(message: Login, outside: Outside, sender: Sender) -> LoginVerified:
    """Check the password. An unknown name takes as long as a wrong password."""
    name = unicodedata.normalize("NFC", message.name)
    known = await outside.credentials(name)
    if known is None:
        await outside.verify_password(None, message.password)
        return LoginVerified(0, name, False, 0, 0, 0)
    matches = await outside.verify_password(known.password_hash, message.password)
    return LoginVerified(
        known.user,
        known.name,
        matches,
        known.session_epoch,
        known.locked_until_ms,
        known.failures,
        known.banned_until_ms,
    )
