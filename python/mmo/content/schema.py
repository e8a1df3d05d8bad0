"""The form of the data files: one frozen struct a table row, with units and bounds.

Owns types and ranges only; relations between tables are checked in `tables`. Unknown keys are
refused, so a misspelt key cannot be ignored. Never reads a file.
"""

from typing import Annotated

import msgspec

Natural = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
Small = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=86_400_000)]
Freshness = Annotated[int, msgspec.Meta(ge=1_000, le=86_400_000)]
"""How long what a server told of itself is believed, in milliseconds; it tells it four times a
second."""
Seconds = Annotated[int, msgspec.Meta(ge=1, le=86_400)]
Permille = Annotated[int, msgspec.Meta(ge=0, le=1000)]
Code = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all rows: immutable, no key that the schema does not know."""


class Levels(Table, frozen=True):
    """`levels.toml`. `exp_need[n]` is what level n asks for the next level; it is subtracted at
    level-up. The highest level is the last index; its need is only shown."""

    exp_need: Annotated[tuple[Natural, ...], msgspec.Meta(min_length=2, max_length=1000)]

    @property
    def level_max(self) -> int:
        """Highest level; experience stays 0 there."""
        return len(self.exp_need) - 1


class Drop(Table, frozen=True):
    """One line of a monster's drops; at most one line falls a kill."""

    kind: str  # "equipment", "consumable" or "material"
    code: Code
    permille: Permille
    count: Small = 1


class Monster(Table, frozen=True):
    """`monsters.toml`, in the order of `kind` from 0."""

    kind: Annotated[int, msgspec.Meta(ge=0, le=9999)]
    name: Name
    exp: Natural
    hp: Positive
    respawn_ms: Milliseconds
    gold: Natural
    drops: tuple[Drop, ...] = ()


class MonsterFile(Table, frozen=True):
    """The whole of `monsters.toml`."""

    monster: Annotated[tuple[Monster, ...], msgspec.Meta(min_length=1)]


class Placed(Table, frozen=True):
    """`count` monsters of one kind in every channel."""

    kind: Annotated[int, msgspec.Meta(ge=0, le=9999)]
    count: Small


class Channels(Table, frozen=True):
    """`channels.toml`: the inside of one channel server."""

    channels: Small  # channels inside a server, numbered from 1
    channel_users_max: Small
    server_users_max: Small  # residents plus seats held for movers
    load_fresh_ms: Freshness  # a server whose load is older counts as away
    monster: Annotated[tuple[Placed, ...], msgspec.Meta(min_length=1)]


class Combat(Table, frozen=True):
    """`combat.toml`. damage = bare + level * per_level + attack power of the weapon in hand."""

    attack_cooldown_ms: Milliseconds
    damage_bare: Natural  # of a blow at level 0 with bare hands
    damage_per_level: Natural
    damage_per_enhance: Natural


class Equipment(Table, frozen=True):
    """One piece of equipment; it never stacks."""

    code: Code
    name: Name
    attack_power: Natural


class Stackable(Table, frozen=True):
    """A consumable or a material. `use_exp` and `use_gold` are what using one gives; one that gives
    nothing cannot be used."""

    code: Code
    name: Name
    stack_max: Positive
    use_exp: Natural = 0
    use_gold: Natural = 0


class Items(Table, frozen=True):
    """`items.toml`: the item master of all three kinds; codes are unique within a kind."""

    equipment: tuple[Equipment, ...] = ()
    consumable: tuple[Stackable, ...] = ()
    material: tuple[Stackable, ...] = ()


class EnhanceStep(Table, frozen=True):
    """The attempt from one level to the next. Chance in parts per million, cost in gold."""

    chance_ppm: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    cost_gold: Natural


class EnhanceTable(Table, frozen=True):
    """`enhance.toml`. `table` names the odds in receipts; the highest level is the number of
    steps."""

    table: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    step: Annotated[tuple[EnhanceStep, ...], msgspec.Meta(min_length=1, max_length=100)]


class Inventory(Table, frozen=True):
    """`inventory.toml`: slots of each kind."""

    equipment_slots: Small
    consumable_slots: Small
    material_slots: Small


class Account(Table, frozen=True):
    """`account.toml`: names, passwords, lockouts. Lengths are in characters after NFC."""

    name_characters_min: Small
    name_characters_max: Annotated[int, msgspec.Meta(ge=1, le=64)]
    password_characters_min: Small
    password_characters_max: Annotated[int, msgspec.Meta(ge=1, le=1024)]
    failures_max: Small  # wrong passwords in a row from one address that lock a name for it
    account_failures_max: Small  # from anywhere, that lock it for all but where it came in last
    address_failures_max: Small  # wrong passwords from one address that lock the address
    lock_ms_min: Milliseconds  # first lock; doubles with each further failure
    lock_ms_max: Milliseconds
    failures_forgotten_ms: Milliseconds  # quiet time after which an address starts from 0
    account_failures_forgotten_ms: Milliseconds  # the same of a name
    registrations_max: Small  # from one address within `registrations_ms`
    registrations_ms: Milliseconds
    addresses_kept_max: Positive  # failing addresses and names remembered by one login server
    homes_kept_max: Positive  # names whose last address is remembered by one login server


class Tokens(Table, frozen=True):
    """`tokens.toml`: how long each token lives."""

    login_s: Seconds
    session_s: Seconds
    move_s: Seconds
    raid_s: Seconds
    seat_hold_ms: Milliseconds  # a held seat outlives the move token
