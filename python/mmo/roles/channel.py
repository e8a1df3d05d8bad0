"""The channel server: channels, monsters, hunting; owns the players in it."""

from mmo.contract import Role
from mmo.systems import volatile

ROLE = Role(
    name="channel",
    systems=(
        *("seats", "leaving_channel", "channels", "hunt"),
        *("growth", "grants", "items", "shop", "enhance", "season_pass", "roll_keys", "ranking"),
        "health",
    ),
    edges=("ranking",),
    states={"world": volatile.world, "roll_days": volatile.roll_days},
    placed=volatile.placed,
    dials=("center",),
    owns_players=True,
    token_types=("move+jwt", "session+jwt"),
)
