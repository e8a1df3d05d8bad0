"""The matching server: raids link to it; it answers how it is."""

from mmo.contract import Role

ROLE = Role(
    name="matching",
    systems=("health",),
    dials=("center",),
    has_clients=False,
)
