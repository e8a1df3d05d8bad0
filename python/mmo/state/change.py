"""The currency between game and store: changes, effects and rows.

A `Change` touches one player and is durable; an `Effect` touches a volatile state of one node and
is not; a `Row` is a guarded write of another aggregate, committed alone. All are frozen structs
that the log, the tests and the store read.
"""

from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

if TYPE_CHECKING:
    from mmo.state.player import Player


class Change(msgspec.Struct, frozen=True, tag=True):
    """One durable fact about one player. `apply` must not fail after its rule checked the state."""

    def apply(self, player: "Player") -> None:
        """Make it true in the resident player."""
        raise AssertionError(f"{type(self).__name__} does not apply itself")


class Effect(msgspec.Struct, frozen=True):
    """One volatile fact. `of` names the state in `Role.states` that it changes."""

    of: ClassVar[str] = ""

    def apply(self, state: Any) -> None:
        """Make it true in the volatile state named by `of`."""
        raise AssertionError(f"{type(self).__name__} does not apply itself")


class Row(msgspec.Struct, frozen=True, tag=True):
    """One guarded write of another aggregate; the store knows the statement by the class."""
