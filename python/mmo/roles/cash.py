"""The cash server: trusted by payment services, never spoken to by players; answers how it is."""

from mmo.contract import Role

ROLE = Role(
    name="cash",
    systems=("health",),
    dials=("center",),
    has_clients=False,
)
