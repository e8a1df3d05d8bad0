"""The sources of one generation as one value: rules, roles and tables, named by their hash.

Owns the form, the hash and the packing; never reads a disk and never runs anything. Packed by the
command that changes code, kept by the store, unpacked by every node.
"""

import hashlib
import zlib
from functools import cached_property

import msgspec

from mmo.errors import OperatorError

UNPACKED_BYTES_MAX = 64 << 20
PACK_LEVEL = 3  # of zlib: half the time of 6, an eighth more bytes
SYSTEMS, ROLES, TABLES = "systems", "roles", "content"
EXTRA_ROLES = "roles.toml"
"""What a game adds to roles: `[systems]` with a list of modules by role."""

_encoder = msgspec.msgpack.Encoder(order="deterministic")


class _Files(msgspec.Struct, frozen=True, array_like=True):
    packages: dict[str, str]
    files: dict[str, str]


class Bundle:
    """`files`: text by path, such as `systems/hunt.py` and `content/levels.toml`. `packages`: which
    import names mean which folder of it, such as `game.systems` -> `systems`."""

    def __init__(self, files: dict[str, str], packages: dict[str, str]) -> None:
        self.files = files
        self.packages = packages

    @cached_property
    def digest(self) -> str:
        """64 hexadecimal characters over all of it."""
        return hashlib.sha256(self._encoded()).hexdigest()

    @cached_property
    def packed(self) -> bytes:
        """As it is stored."""
        return zlib.compress(self._encoded(), PACK_LEVEL)

    @classmethod
    def unpacked(cls, packed: bytes, digest: str) -> "Bundle":
        """The bundle of `packed`. Raises `OperatorError` E0421 when it is not what `digest`
        names."""
        inflate = zlib.decompressobj()
        try:
            raw = inflate.decompress(packed, UNPACKED_BYTES_MAX)
            whole = msgspec.msgpack.decode(raw, type=_Files)
        except (zlib.error, msgspec.MsgspecError) as fault:
            raise OperatorError("E0421", f"stored code {digest[:8]} is damaged: {fault}") from None
        bundle = cls(whole.files, whole.packages)
        if bundle.digest != digest:
            raise OperatorError("E0421", f"stored code {digest[:8]} is not what its name says")
        return bundle

    def folder(self, name: str) -> dict[str, str]:
        """Texts of one folder by file name."""
        start = f"{name}/"
        return {
            path.removeprefix(start): text
            for path, text in self.files.items()
            if path.startswith(start)
        }

    def changed_from(self, other: "Bundle | None") -> list[str]:
        """Paths that differ from another bundle, those that one of both lacks included."""
        before = other.files if other is not None else {}
        paths = self.files.keys() | before.keys()
        return sorted(path for path in paths if self.files.get(path) != before.get(path))

    def _encoded(self) -> bytes:
        return _encoder.encode(_Files(self.packages, self.files))
