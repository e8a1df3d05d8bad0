"""From configuration, secrets and role to the settings of one Rust core, signatures and rolls.

Owns the joining of `CoreSettings`: what follows from the role comes from the node, the rest from
the sections that name their keys as the core does. Called by `run`.
"""

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mmo.cluster.home import NodePorts
from mmo.cluster.secret_files import Secrets
from mmo.config import Config, CoreSettings
from mmo.contract import Role
from mmo.errors import ConfigError
from mmo.node.handlers import RATES
from mmo.state.roll import day_key, roll

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NO_LISTENER = -1
DAYS_KEPT = 64  # keys of days in memory; sessions rarely span more


def core_settings(
    config: Config,
    role: Role,
    ports: NodePorts,
    secrets: Secrets,
    incarnation: int,
    fields: Mapping[str, Any],
) -> CoreSettings:
    """Settings of a core. `fields`: what follows from the role (`node.core_table`)."""
    values: dict[str, Any] = {
        name: getattr(section, name)
        for section in (config.net, config.links, config.datagram, config.token)
        for name in CoreSettings.__struct_fields__
        if hasattr(section, name)
    }
    rates = [getattr(config.rate, name) for name in RATES]
    values |= {
        "incarnation": incarnation,
        "host": config.cluster.host,
        "link_host": config.cluster.link_host,
        "client_port": ports.client_port if role.has_clients else NO_LISTENER,
        "link_port": ports.link_port,
        "datagram_port": ports.datagram_port if role.datagrams else NO_LISTENER,
        "rate_classes": [
            (name, rate.per_s, rate.burst) for name, rate in zip(RATES, rates, strict=True)
        ],
        "token_keys": believed_keys(secrets),
        "token_issuer": config.token.issuer,
        "link_secret": secrets.link,
        **fields,
    }
    return CoreSettings(**values)


def believed_keys(secrets: Secrets) -> list[tuple[str, bytes]]:
    """Ids and public keys of all token keys: whichever of them signs, the core verifies."""
    return [(kid, public_key(kid, pem)) for kid, pem in secrets.token_keys]


def public_key(kid: str, pem: bytes) -> bytes:
    """The 32 bytes that verify what the key in `pem` signs. Raises `ConfigError` E0109."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return private_key(kid, pem).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def private_key(kid: str, pem: bytes) -> "Ed25519PrivateKey":
    """The signing key in `pem`. Raises `ConfigError` E0109 when it is none."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            "E0109", f"token key {kid} is no PEM key: {error}", "openssl genpkey -algorithm ed25519"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(
            "E0109", f"token key {kid} is not Ed25519", "openssl genpkey -algorithm ed25519"
        )
    return key


def make_sign(config: Config, secrets: Secrets) -> Callable[[Mapping[str, object], str], str]:
    """`sign(claims, typ) -> JWT` with the chosen key; adds `iss`. Same claims, same token."""
    import jwt

    kid = secrets.signing_kid
    key = private_key(kid, dict(secrets.token_keys)[kid])
    issuer = config.token.issuer

    def sign(claims: Mapping[str, object], typ: str) -> str:
        payload = {"iss": issuer, **claims}
        return jwt.encode(payload, key, algorithm="EdDSA", headers={"kid": kid, "typ": typ})

    return sign


class KeyedRoll:
    """`roll(uid, attempt, table, day) -> 0..999,999` under the keys of the cluster's secret."""

    def __init__(self, master: bytes) -> None:
        self.key_of = functools.lru_cache(maxsize=DAYS_KEPT)(lambda day: day_key(master, day))

    def __call__(self, uid: int, attempt: int, table: int, day: int) -> int:
        return roll(self.key_of(day), uid, attempt, table)
