"""Best raid score; it only rises."""

import msgspec


class Score(msgspec.Struct, frozen=True, gc=False):
    """The best result of all raids, 0 before the first."""

    best: int = 0
