"""One process of the cluster: batch, decide, commit, reply.

Owns the machinery between the core's events, the game's rules and the store. Never holds a rule and
never imports one: the role is handed to it. Composed by `cli run` and by `mmo.testing.world`.
"""
