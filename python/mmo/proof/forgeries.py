"""Tokens that must not be believed: forged, altered, expired, for elsewhere, or spent.

Owns the making of at least 200 of them from one genuine token and, as only the cluster itself
could, with its own key and wrong claims. Shows none. Called by `hostile`.
"""

import base64
import hashlib
import hmac
import json
import random
import time
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

Forgery = tuple[str, str]
"""What is wrong with it, and the token."""

CLAIMS = ("iss", "aud", "sub", "exp", "nbf", "jti")


def part(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Header, claims and signature of a genuine token."""
    header, claims, signature = (
        base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) for text in token.split(".")
    )
    return json.loads(header), json.loads(claims), signature


class Forger:
    """Makes forgeries of `token`; `pem` is the cluster's own private key."""

    def __init__(self, token: str, pem: bytes, seed: int) -> None:
        self._token = token
        self._header, self._claims, self._signature = opened(token)
        key = load_pem_private_key(pem, None)
        assert isinstance(key, Ed25519PrivateKey)
        self._key = key
        self._rng = random.Random(seed)

    def sign(
        self, header: Any = None, claims: Any = None, key: Ed25519PrivateKey | None = None
    ) -> str:
        """A token over any header and claims (objects, or raw bytes), signed as the cluster
        would."""
        texts = []
        for given, genuine in ((header, self._header), (claims, self._claims)):
            value = genuine if given is None else given
            raw = value if isinstance(value, bytes) else json.dumps(value).encode()
            texts.append(part(raw))
        signed = ".".join(texts)
        return f"{signed}.{part((key or self._key).sign(signed.encode()))}"

    def all(self) -> list[Forgery]:
        """Every forgery, at least 200."""
        made = [
            *self._altered(),
            *self._other_keys(),
            *self._headers(),
            *self._claims_missing(),
            *self._claims_wrong(),
            *self._shapes(),
        ]
        assert len(made) >= 200, len(made)
        return made

    def _altered(self) -> Iterator[Forgery]:
        """One bit or one character changed anywhere."""
        head, body, signature = self._token.split(".")
        raw = {"header": head, "claims": body, "signature": signature}
        for place, text in raw.items():
            data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            for turn in range(36):
                changed = bytearray(data)
                at = self._rng.randrange(len(changed))
                changed[at] ^= 1 << self._rng.randrange(8)
                texts = {**raw, place: part(bytes(changed))}
                yield f"{place} with a bit flipped ({turn})", ".".join(texts.values())
        for cut in range(1, 11):
            yield f"cut short by {cut}", self._token[:-cut]

    def _other_keys(self) -> Iterator[Forgery]:
        for turn in range(10):
            yield f"signed by a stranger ({turn})", self.sign(key=Ed25519PrivateKey.generate())
        public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        for name in ("HS256", "HS512"):
            header = {**self._header, "alg": name}
            signed = f"{part(json.dumps(header).encode())}.{self._token.split('.')[1]}"
            digest = hashlib.sha256 if name == "HS256" else hashlib.sha512
            mac = hmac.new(public, signed.encode(), digest).digest()
            yield f"{name} keyed with the public key", f"{signed}.{part(mac)}"
        zeros = ".".join(self._token.split(".")[:2]) + "." + part(bytes(64))
        yield "a signature of zeros", zeros
        # The identity point and zero: accepted by verifiers that do not check for small order.
        small = ".".join(self._token.split(".")[:2]) + "." + part(b"\x01" + bytes(63))
        yield "a signature of small order", small

    def _headers(self) -> Iterator[Forgery]:
        for alg in (
            "none",
            "None",
            "NONE",
            "nOnE",
            "",
            "ES256",
            "RS256",
            "HS256",
            "EDDSA",
            "Ed448",
        ):
            header = {**self._header, "alg": alg}
            yield f"alg {alg!r}", self.sign(header)
            unsigned = f"{part(json.dumps(header).encode())}.{self._token.split('.')[1]}."
            yield f"alg {alg!r} without a signature", unsigned
        for kid in ("", "other", "../../etc/passwd", "' OR 1=1 --", "x" * 200, 7, None, ["a"]):
            yield f"kid {str(kid)[:20]!r}", self.sign({**self._header, "kid": kid})
        for typ in ("JWT", "", "raid+jwt", "session", "LOGIN+JWT", 1, None):
            yield f"typ {typ!r}", self.sign({**self._header, "typ": typ})
        for name in ("alg", "typ", "kid"):
            without = {key: value for key, value in self._header.items() if key != name}
            yield f"no {name} in the header", self.sign(without)
        yield "an unknown critical header", self.sign({**self._header, "crit": ["exp"]})
        for raw in (b"{}", b"[]", b"null", b'"text"', b"{", b"", b"\xff\xfe", b'{"alg":"EdDSA"}'):
            yield f"a header of {raw!r}", self.sign(raw)

    def _claims_missing(self) -> Iterator[Forgery]:
        for name in CLAIMS:
            without = {key: value for key, value in self._claims.items() if key != name}
            yield f"no {name}", self.sign(claims=without)
            yield f"{name} null", self.sign(claims={**self._claims, name: None})
        doubled = json.dumps(self._claims)[:-1] + ', "sub": "1"}'
        yield "sub given twice", self.sign(claims=doubled.encode())
        for raw in (b"{}", b"[]", b"null", b"1", b"{", b"", b"\xff\xfe", b"[" * 600):
            yield f"claims of {raw[:8]!r}", self.sign(claims=raw)

    def _claims_wrong(self) -> Iterator[Forgery]:
        now = int(time.time())
        wrong: dict[str, tuple[Any, ...]] = {
            "aud": (
                "login", "matching", "raid", "cash", "31", "0", "", "centre", ["x"], 2, {}, "*",
            ),
            "iss": ("", "nmo", "MMO", None, 1, "mmo "),
            "sub": (
                "0", "-1", "", "abc", "1.0", "0x1", " 1", "9" * 30, str(2**63), 1, None, "１",
            ),
            "exp": (0, -1, now - 60, now - 86_400, "tomorrow", None, [], str(now + 60)),
            "nbf": (now + 3600, now + 86_400, "now", [], 2**70),
            "jti": ("", "another", 7, None, "x" * 500),
        }  # fmt: skip
        for name, values in wrong.items():
            for value in values:
                claims = {**self._claims, name: value}
                yield f"{name} {str(value)[:24]!r}", self.sign(claims=claims)
        for epoch in (
            0,
            -1,
            self._claims["epoch"] + 1,
            self._claims["epoch"] - 1,
            2**63,
            "1",
            None,
        ):
            yield f"epoch {epoch!r}", self.sign(claims={**self._claims, "epoch": epoch})

    def _shapes(self) -> Iterator[Forgery]:
        head, body, signature = self._token.split(".")
        for name, text in {
            "empty": "",
            "two dots": "..",
            "one part": head,
            "two parts": f"{head}.{body}",
            "four parts": f"{self._token}.{signature}",
            "padded": f"{head}==.{body}==.{signature}==",
            "a space before": f" {self._token}",
            "a line after": f"{self._token}\n",
            "not base64": "$$$.###.@@@",
            "parts in another order": f"{body}.{head}.{signature}",
            "the token twice": self._token * 2,
            "only NUL": "\0" * 40,
            "four thousand letters": "A" * 4000,
        }.items():
            yield f"shape: {name}", text
