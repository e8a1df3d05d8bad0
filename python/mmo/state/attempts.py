"""Wrong passwords that one login server remembers, by account and by address.

Volatile companion of the account's own durable count: it makes the limit strict while several
guesses are checked at once, and counts addresses, which have no row. Bounded: the longest unused
entry is forgotten first. Changes only through the effects of this file.
"""

from collections import OrderedDict
from typing import Any, ClassVar

import msgspec

from mmo.state.change import Effect


class Attempt(msgspec.Struct, frozen=True):
    """Failures in a row of one account or address."""

    failures: int
    locked_until_ms: int
    failed_ms: int  # the last one


NO_ATTEMPT = Attempt(0, 0, 0)


class Attempts:
    """Failing accounts (`user:ID`) and addresses (`address:A`), the longest unused first."""

    __slots__ = ("of_key",)

    def __init__(self) -> None:
        self.of_key: OrderedDict[str, Attempt] = OrderedDict()

    def get(self, key: str) -> Attempt:
        """What is known of a key; nothing known reads as no failure."""
        return self.of_key.get(key, NO_ATTEMPT)


class AttemptsEffect(Effect, frozen=True):
    """Base of the effects on `attempts`."""

    of: ClassVar[str] = "attempts"


class AttemptFailed(AttemptsEffect, frozen=True):
    """One more failure of a key; at most `kept_max` keys are remembered."""

    key: str
    attempt: Attempt
    kept_max: int

    def apply(self, state: Any) -> None:
        state.of_key[self.key] = self.attempt
        state.of_key.move_to_end(self.key)
        while len(state.of_key) > self.kept_max:
            state.of_key.popitem(last=False)


class AttemptsForgotten(AttemptsEffect, frozen=True):
    """The right password: the key starts from 0."""

    key: str

    def apply(self, state: Any) -> None:
        state.of_key.pop(self.key, None)
