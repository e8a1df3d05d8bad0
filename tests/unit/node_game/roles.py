"""Roles of the tiny game."""

from tests.unit.node_game.rules import Board

from mmo.contract import Role

CHANNEL = Role(
    name="channel",
    systems=("rules",),
    states={"board": lambda content, node: Board()},
    dials=("center",),
    owns_players=True,
    token_types=("move+jwt", "session+jwt"),
)
CENTER = Role(
    name="center",
    systems=("rules",),
    states={"board": lambda content, node: Board()},
    dials=("center",),
    owns_players=True,
    token_types=("login+jwt", "session+jwt"),
)
LOGIN = Role(
    name="login",
    systems=("rules", "porch"),
    edges=("door",),
    states={"board": lambda content, node: Board()},
    dials=("center",),
)
