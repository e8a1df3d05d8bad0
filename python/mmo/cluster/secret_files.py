"""The secrets of a cluster: read from the files that the configuration names, or generated.

Owns generation (once, 0600, development only), reading, the check of file modes and the choice of
the key that signs tokens. Never prints a secret. Called by the command line when it composes a
node, and by the supervisor.
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
SIGNING_FILE = "token-signing"
"""Beside the token keys: the id of the one that signs. A file among them and no configuration, for
it is copied, kept and brought back with them, and a rolling restart takes it."""


class Secrets(msgspec.Struct, frozen=True):
    """All secrets of a cluster. `token_keys`: (key id, Ed25519 private key as PEM), all verify,
    that of `signing_kid` signs. `roll`: of the economy's keyed rolls. `payment`: signs payment
    notices."""

    link: bytes
    token_keys: tuple[tuple[str, bytes], ...]
    signing_kid: str
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
    if not config.token.key_directory and not token_kids(home.secrets):
        _write_key(home.secrets)


def read_secrets(home: Home, config: Config) -> Secrets:
    """Read all. Raises `ConfigError` E0109 for a missing, open or short one, E0111 when no token
    key is chosen to sign."""
    external_mysql = config.mysql.is_external and not config.mysql.password_file
    external_redis = config.redis.is_external and not config.redis.password_file
    directory = token_directory(home, config)
    signing = signing_kid(directory)
    return Secrets(
        link=_long("link", _path(config.links.secret_file, home.secrets / "link")),
        token_keys=tuple((kid, _read(_key(directory, kid))) for kid in token_kids(directory)),
        signing_kid=signing,
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


def token_directory(home: Home, config: Config) -> Path:
    """Where the token keys are."""
    return _path(config.token.key_directory, home.secrets)


def token_kids(directory: Path) -> list[str]:
    """The ids of all token keys, by name."""
    return sorted(path.stem.removeprefix("token-") for path in directory.glob("token-*.pem"))


def signing_kid(directory: Path) -> str:
    """The id of the key that signs: the chosen one, or the only one. Raises `ConfigError` E0109
    when there is none at all, E0111 when the chosen one is missing or none of several is chosen."""
    kids = token_kids(directory)
    if not kids:
        raise ConfigError(
            "E0109",
            f"no token-<kid>.pem in {directory}",
            f"openssl genpkey -algorithm ed25519 -out {directory}/token-1.pem",
        )
    choice = directory / SIGNING_FILE
    if not choice.exists() and len(kids) == 1:
        return kids[0]
    fix = f"mmo-cluster keys --sign KID with one of {', '.join(kids)}"
    if not choice.exists():
        cause = (
            f"{directory} has {len(kids)} token keys and no file {SIGNING_FILE} says which signs"
        )
        raise ConfigError("E0111", cause, fix)
    kid = _read(choice).decode(errors="replace")
    if kid not in kids:
        cause = f"{choice} names {kid!r}, and there is no token-{kid}.pem"
        raise ConfigError("E0111", cause, f"bring that file back, or {fix}")
    return kid


def choose_token_key(directory: Path, kid: str) -> None:
    """From its next start on a server signs with this key. Raises `ConfigError` E0111 when there
    is no such key."""
    if kid not in token_kids(directory):
        raise ConfigError(
            "E0111", f"there is no token-{kid}.pem in {directory}", "mmo-cluster keys lists them"
        )
    _write(directory / SIGNING_FILE, kid.encode(), replaces=True)


def add_token_key(directory: Path) -> str:
    """A new key, which verifies and does not sign: the one that signs now is chosen first. Returns
    its id."""
    if not (directory / SIGNING_FILE).exists():
        choose_token_key(directory, signing_kid(directory))
    return _write_key(directory)


def too_open(home: Home) -> list[Path]:
    """Secret files of the home that others than their owner may read."""
    return [path for path in sorted(home.secrets.glob("*")) if _is_open(path)]


def _key(directory: Path, kid: str) -> Path:
    return directory / f"token-{kid}.pem"


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


def _write_key(directory: Path) -> str:
    kid = secrets.token_hex(4)
    _write(_key(directory, kid), _new_key())
    return kid


def _write(path: Path, data: bytes, replaces: bool = False) -> None:
    """All of it under its name, or nothing: whoever is killed in between leaves no half secret."""
    begun = path.with_name(f".{path.name}.{os.getpid()}")
    begun.unlink(missing_ok=True)
    descriptor = os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replaces:
            begun.replace(path)
        else:
            os.link(begun, path)  # refused where another process was faster, unlike a rename
    finally:
        begun.unlink(missing_ok=True)


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
