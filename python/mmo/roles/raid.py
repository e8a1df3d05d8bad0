"""The raid server: links to the centers and to matching and answers how it is."""

from mmo.contract import Role

ROLE = Role(
    name="raid",
    systems=("health",),
    dials=("center", "matching"),
    has_clients=False,
)
