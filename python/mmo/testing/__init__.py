"""For tests of games: a node without sockets and stores, a clock that obeys, measured servers.

Owns the fakes; each keeps the contract tests of the real thing it stands for. Ships in the wheel;
never imported by a node in service.
"""
