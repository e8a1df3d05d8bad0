"""The cash server: trusted by payment services, never spoken to by players."""

from mmo.contract import Role

ROLE = Role(
    name="cash",
    systems=("cash", "health"),
    dials=("center",),
    has_clients=False,
    takes_payments=True,
)
