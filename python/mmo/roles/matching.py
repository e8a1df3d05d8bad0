"""The matching server: who waits for a raid, teams, rooms. Raids and matching tell each other."""

from mmo.contract import Role
from mmo.systems import volatile

ROLE = Role(
    name="matching",
    systems=("matching", "matching_rooms", "health"),
    states={"matching": volatile.matching},
    dials=("center",),
    has_clients=False,
)
