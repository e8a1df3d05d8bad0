"""Players of the tiny game, as its node tests meet them.

Owns how one enters. Used by the tests of lanes, faults and corners.
"""

from mmo.testing.world import Client, World


def a_player(game: World, name: str = "Ann") -> Client:
    """A player who is in and has heard his welcome."""
    player = game.player(name)
    player.heard()
    return player
