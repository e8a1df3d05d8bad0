"""What the product promises, run: benches beside their limits, proofs with faults.

Owns the measuring and the judging; the measured servers are processes of their own. Never runs
inside a node. Called by the `bench`, `prove` and `chaos` commands.
"""
