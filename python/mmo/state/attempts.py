"""Wrong passwords and registrations that one login server remembers, and who came in from where.

Volatile companion of the account's own durable count: it makes limits strict while several guesses
are checked at once, and counts what has no row: addresses, names from one address, names that
nobody has. Bounded: the longest unused entry is forgotten first. Changes only through the effects
of this file.
"""

from collections import OrderedDict
from typing import Any, ClassVar

import msgspec

from mmo.state.change import Effect


class Attempt(msgspec.Struct, frozen=True):
    """What was counted of one key: failures in a row, or registrations of a while."""

    failures: int
    locked_until_ms: int
    failed_ms: int  # the last failure; the first registration of the while
    address: str = ""  # of a name: where the last failure came from


NO_ATTEMPT = Attempt(0, 0, 0)


class Attempts:
    """What fails, the longest unused first: an address (`address:A`), a name from one address
    (`pair:A NAME`), a name from anywhere (`name:NAME`), registrations of an address (`register:A`);
    and the address from which a name came in last."""

    __slots__ = ("home_of", "of_key")

    def __init__(self) -> None:
        self.of_key: OrderedDict[str, Attempt] = OrderedDict()
        self.home_of: OrderedDict[str, str] = OrderedDict()

    def get(self, key: str) -> Attempt:
        """What is known of a key; nothing known reads as no failure."""
        return self.of_key.get(key, NO_ATTEMPT)


class AttemptsEffect(Effect, frozen=True):
    """Base of the effects on `attempts`."""

    of: ClassVar[str] = "attempts"


class AttemptFailed(AttemptsEffect, frozen=True):
    """The new count of a key; at most `kept_max` keys are remembered."""

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


class CameIn(AttemptsEffect, frozen=True):
    """The right password from an address: guesses of others do not lock it out. At most `kept_max`
    names are remembered."""

    name: str
    address: str
    kept_max: int

    def apply(self, state: Any) -> None:
        state.home_of[self.name] = self.address
        state.home_of.move_to_end(self.name)
        while len(state.home_of) > self.kept_max:
            state.home_of.popitem(last=False)
