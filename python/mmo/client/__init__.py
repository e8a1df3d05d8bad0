"""The client: a protocol without I/O, two thin shells around it, and journeys that walk the game.

Never imports anything of the servers but `wire`. Bots, tests, locust, `play` and a game's own
scripts use the same code.
"""
