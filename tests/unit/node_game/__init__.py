"""A tiny game for tests of the node: every kind of rule once, none of them of the real game."""
