"""Tokens for a load: one signed JWT a connection, in a file.

Owns a key pair of one bench run; it is never a cluster's key. Called by the benches.
"""

import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_ID = "measured"
ISSUER = "mmo"
TYPE = "session+jwt"
AUDIENCE = "session"
LIFE_S = 3_600


class Tokens:
    """A key pair and the tokens signed with it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = Ed25519PrivateKey.generate()
        raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
        self.public_key = self.key.public_key().public_bytes(*raw)

    def server_arguments(self) -> list[str]:
        """Options that tell a measured server whom to believe."""
        return ["--public-key", self.public_key.hex(), "--key-id", KEY_ID]

    def write(self, count: int, first_user: int = 1) -> Path:
        """A file of `count` tokens, one a line, for the users from `first_user` upwards."""
        path = self.directory / f"tokens-{first_user}-{count}"
        now = int(time.time())
        lines = [self.sign(user, now) for user in range(first_user, first_user + count)]
        path.write_text("\n".join(lines) + "\n")
        return path

    def sign(self, user: int, now: int) -> str:
        """One session token."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user),
            "iat": now,
            "nbf": now,
            "exp": now + LIFE_S,
            "jti": f"measured-{user}",
            "epoch": 1,
        }
        headers = {"kid": KEY_ID, "typ": TYPE}
        return jwt.encode(claims, self.key, algorithm="EdDSA", headers=headers)
