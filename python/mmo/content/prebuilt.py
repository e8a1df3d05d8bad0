"""Catalogue answers, encoded once per content load and sent as shared bytes.

Owns the cut into pages below a size; never decides what is in them. Called while content is loaded;
rules hand the pages out as replies.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mmo.wire.codec import Encoded, encode

_encoder = msgspec.msgpack.Encoder()

PAGE_FRAME_BYTES = 64
"""Room left in a page for the numbers around its rows."""


def catalogue_number(rows: Sequence[Any]) -> int:
    """31 bits over the encoded rows: the same rows have the same number on every node and after
    every reload, other rows another."""
    digest = hashlib.blake2b(_encoder.encode(list(rows)), digest_size=4).digest()
    return int.from_bytes(digest, "little") >> 1


def pages_of(
    rows: Sequence[Any], page_bytes_max: int, make: Callable[[int, int, list[Any]], Any]
) -> tuple[Encoded, ...]:
    """`rows` in order, cut into pages whose body stays below `page_bytes_max` bytes (a single
    longer row has a page of its own), each `make(page, pages, rows)` encoded. No rows: one empty
    page."""
    parts: list[list[Any]] = [[]]
    left = page_bytes_max - PAGE_FRAME_BYTES
    for row in rows:
        size = len(_encoder.encode(row))
        if size > left and parts[-1]:
            parts.append([])
            left = page_bytes_max - PAGE_FRAME_BYTES
        parts[-1].append(row)
        left -= size
    messages = [make(page, len(parts), part) for page, part in enumerate(parts)]
    return tuple(Encoded(message.opcode, encode(message)) for message in messages)
