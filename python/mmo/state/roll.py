"""The keyed roll of the economy: chance as a function, so that a crash or a retry cannot re-roll.

Owns the derivation of the day's key, its commitment and the mapping to parts per million; never
keeps a key. Called by the node (as `env.roll`), by `mmo-cluster odds --verify` and by tests.

Source: HMAC is RFC 2104, SHA-256 FIPS 180-4; the mapping without bias is rejection sampling over
64-bit words (Knuth, The Art of Computer Programming, volume 2, section 3.4.1).
"""

import hashlib
import hmac
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import NamedTuple

PARTS = 1_000_000
"""A roll is 0..999,999; an attempt succeeds when it is below the chance in parts per million."""

_WORD_LIMIT = 2**64 - 2**64 % PARTS
_BLOCK_BYTES, _INNER_PAD, _OUTER_PAD = 64, 0x36, 0x5C  # of HMAC over SHA-256
_pack = struct.Struct(">qqqI").pack
_words = struct.Struct(">4Q").unpack
_first_word = struct.Struct(">Q24x").unpack


def day_of(moment_ms: int) -> int:
    """The day of a unix time in milliseconds, as `YYYYMMDD` in UTC."""
    moment = datetime.fromtimestamp(moment_ms / 1000, UTC)
    return moment.year * 10_000 + moment.month * 100 + moment.day


def day_key(master: bytes, day: int) -> bytes:
    """The 32-byte key of a day (`YYYYMMDD`, UTC) from the cluster's roll secret (32 bytes or
    more)."""
    return hmac.digest(master, b"mmo roll key %d" % day, "sha256")


def commitment(key: bytes) -> bytes:
    """What is published before the day: SHA-256 of the key, 32 bytes."""
    return hashlib.sha256(key).digest()


def roller(key: bytes) -> Callable[[int, int, int], int]:
    """`roll` under one key, its two padded blocks hashed once: a third of the time, for who makes
    many. The key lives as long as the function that is returned."""
    block = (key if len(key) <= _BLOCK_BYTES else hashlib.sha256(key).digest()).ljust(
        _BLOCK_BYTES, b"\0"
    )
    inner, outer = (
        hashlib.sha256(bytes(byte ^ pad for byte in block)) for pad in (_INNER_PAD, _OUTER_PAD)
    )

    def rolled(uid: int, attempt: int, table: int) -> int:
        for round_number in count():
            inside, outside = inner.copy(), outer.copy()
            inside.update(_pack(uid, attempt, table, round_number))
            outside.update(inside.digest())
            digest = outside.digest()
            (word,) = _first_word(digest)  # nearly always it will do
            if word < _WORD_LIMIT:
                return int(word % PARTS)
            for word in _words(digest):
                if word < _WORD_LIMIT:
                    return int(word % PARTS)
        raise AssertionError("unreachable: the rounds have no end")

    return rolled


def roll(key: bytes, uid: int, attempt: int, table: int) -> int:
    """The one outcome of the `attempt`-th try (from 1) on item `uid` under odds table `table`:
    HMAC-SHA-256(key, uid ‖ attempt ‖ table ‖ round) as 64-bit words, the first below the largest
    multiple of 1,000,000, modulo it. Returns 0..999,999."""
    return roller(key)(uid, attempt, table)


DAY_MS = 86_400_000
REVEAL_AFTER_MS = 600_000
"""How long after the last possible roll of a day its key is revealed: far more than clocks of
servers differ and than a commit may take."""


def rolls_until_ms(day: int) -> int:
    """Unix time in milliseconds until which a session that began on `day` may roll: the end of the
    following day. Later it must log in again, so that the key of a day can be revealed."""
    begun = datetime(day // 10_000, day // 100 % 100, day % 100, tzinfo=UTC)
    return int(begun.timestamp()) * 1_000 + 2 * DAY_MS


class DayKey(NamedTuple):
    """What is public of one day's key; `key` is empty until nobody can roll with it."""

    day: int
    commitment: bytes
    key: bytes = b""
