"""Best raid score; it only rises."""

import msgspec


class Score(msgspec.Struct, frozen=True):
    best: int = 0
