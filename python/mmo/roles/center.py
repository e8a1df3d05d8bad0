"""The center: the player's long connection, server list, moves; the lobby owns players."""

from mmo.contract import Role
from mmo.systems import volatile

ROLE = Role(
    name="center",
    systems=(
        *("presence", "session_notices", "leaving_center"),
        *("growth", "grants", "items", "shop", "enhance", "season_pass", "roll_keys", "ranking"),
        *("health", "raid_entry", "raid_tokens", "raid_tickets"),
    ),
    edges=("raid_card", "ranking"),
    states={
        "sessions": volatile.sessions,
        "roll_days": volatile.roll_days,
        "servers": volatile.servers,
        "tickets": volatile.tickets,
    },
    dials=("center",),
    owns_players=True,
    token_types=("login+jwt", "session+jwt"),
    signs=True,
)
