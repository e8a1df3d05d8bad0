"""The secrets of a cluster: read from the files that the configuration names, or generated.

Owns generation (once, 0600, development only), reading and the check of file modes. Never prints
a secret. Called by the command line when it composes a node, and by the supervisor.
"""

import os
import secrets
import stat
from pathlib import Path

import msgspec

from mmo.cluster.home import Home
from mmo.config import Config
from mmo.errors import ConfigError

SECRET_BYTES_MIN = 32


class Secrets(msgspec.Struct, frozen=True):
    """All secrets of a cluster. `token_keys`: (key id, Ed25519 private key as PEM), the last one
    signs, all verify. `roll`: of the economy's keyed rolls. `payment`: signs payment notices."""

    link: bytes
    token_keys: tuple[tuple[str, bytes], ...]
    mysql: str
    redis: str
    pepper: bytes
    roll: bytes
    payment: bytes

    def __repr__(self) -> str:
        return "Secrets(redacted)"


def ensure_secrets(home: Home, config: Config) -> None:
    """Generate in the home what the configuration does not name; what exists is kept."""
    home.create()
    for path, given, text in (
        (home.secrets / "link", config.links.secret_file, secrets.token_hex(32)),
        (home.secrets / "mysql", config.mysql.password_file, secrets.token_hex(24)),
        (home.secrets / "redis", config.redis.password_file, secrets.token_hex(24)),
        (home.secrets / "password-pepper", config.login.pepper_file, secrets.token_hex(32)),
        (home.secrets / "roll", config.economy.roll_secret_file, secrets.token_hex(32)),
        (home.secrets / "payment", config.cash.payment_secret_file, secrets.token_hex(32)),
    ):
        if not given and not path.exists():
            _write(path, text.encode())
    if not config.token.key_directory and not list(home.secrets.glob("token-*.pem")):
        _write(home.secrets / f"token-{secrets.token_hex(4)}.pem", _new_key())


def read_secrets(home: Home, config: Config) -> Secrets:
    """Read all. Raises `ConfigError` E0109 for a missing, open or short one."""
    external_mysql = config.mysql.is_external and not config.mysql.password_file
    external_redis = config.redis.is_external and not config.redis.password_file
    directory = _path(config.token.key_directory, home.secrets)
    keys = tuple(
        (path.stem.removeprefix("token-"), _read(path))
        for path in sorted(directory.glob("token-*.pem"), key=_age)
    )
    if not keys:
        raise ConfigError(
            "E0109",
            f"no token-<kid>.pem in {directory}",
            f"openssl genpkey -algorithm ed25519 -out {directory}/token-1.pem",
        )
    return Secrets(
        link=_long("link", _path(config.links.secret_file, home.secrets / "link")),
        token_keys=keys,
        mysql=""
        if external_mysql
        else _read(_path(config.mysql.password_file, home.secrets / "mysql")).decode(),
        redis=""
        if external_redis
        else _read(_path(config.redis.password_file, home.secrets / "redis")).decode(),
        pepper=_read(_path(config.login.pepper_file, home.secrets / "password-pepper")),
        roll=_long("roll", _path(config.economy.roll_secret_file, home.secrets / "roll")),
        payment=_long("payment", _path(config.cash.payment_secret_file, home.secrets / "payment")),
    )


def too_open(home: Home) -> list[Path]:
    """Secret files of the home that others than their owner may read."""
    return [path for path in sorted(home.secrets.glob("*")) if _is_open(path)]


def _path(given: str, generated: Path) -> Path:
    return Path(given) if given else generated


def _long(name: str, path: Path) -> bytes:
    """A secret that others compute with: too short ones are refused."""
    secret = _read(path)
    if len(secret) < SECRET_BYTES_MIN:
        raise ConfigError(
            "E0109",
            f"the {name} secret has {len(secret)} bytes, fewer than {SECRET_BYTES_MIN}",
            "openssl rand -hex 32",
        )
    return secret


def _age(path: Path) -> tuple[float, str]:
    return (path.stat().st_mtime, path.name)


def _is_open(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _read(path: Path) -> bytes:
    """A secret file, which is neither open to others nor empty: nobody meant to have no secret."""
    try:
        if _is_open(path):
            raise ConfigError(
                "E0109", f"the secret {path} can be read by others", f"chmod 600 {path}"
            )
        secret = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(
            "E0109",
            f"cannot read the secret {path}: {error.strerror}",
            "mmo-cluster start generates it in development; elsewhere name its file",
        ) from error
    if not secret:
        raise ConfigError(
            "E0109",
            f"the secret {path} is empty",
            "bring it back from a backup; if this home has no data yet, remove the file and start",
        )
    return secret


def _write(path: Path, data: bytes) -> None:
    """All of it under its name, or nothing: whoever is killed in between leaves no half secret."""
    begun = path.with_name(f".{path.name}.{os.getpid()}")
    begun.unlink(missing_ok=True)
    descriptor = os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(begun, path)  # refused where another process was faster, unlike a rename
    finally:
        begun.unlink()


def _new_key() -> bytes:
    # Imported here: only the very first start of a home makes a key.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    return Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
