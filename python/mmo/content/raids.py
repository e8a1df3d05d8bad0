"""Raids: the kinds with their teams.

Owns `raids.toml` in its checked form. Read by rules as `env.content.raids`, never changed.
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from mmo.content.schema import Name, Natural, Table


class RaidKind(Table, frozen=True):
    """One kind of raid. 0 `entries_daily_max`: no limit."""

    kind: Annotated[int, msgspec.Meta(ge=1, le=255)]
    name: Name
    team_size: Annotated[int, msgspec.Meta(ge=2, le=8)]
    level_min: Natural
    entries_daily_max: Natural


class RaidFile(Table, frozen=True):
    """The whole of `raids.toml`."""

    kind: Annotated[tuple[RaidKind, ...], msgspec.Meta(min_length=1, max_length=255)]


class Raids(msgspec.Struct, frozen=True):
    """Kinds by number."""

    kinds: Mapping[int, RaidKind]

    def kind(self, number: int) -> RaidKind | None:
        """The kind of a number, None for any number that is none."""
        return self.kinds.get(number)
