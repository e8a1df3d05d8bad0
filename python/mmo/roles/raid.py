"""The raid server: rooms, battles, results. Owns no player; admits members by their raid tokens."""

from mmo.contract import Role
from mmo.systems import volatile

ROLE = Role(
    name="raid",
    systems=("raid_seats", "raid", "health"),
    states={"raids": volatile.raids},
    dials=("center", "matching"),
    runs_raids=True,
    token_types=("raid+jwt",),
    datagrams=True,
)
