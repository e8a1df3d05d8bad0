"""The judge of a history: compares what bots were told with what both stores hold.

Owns its own statements, its own decoding and its own idea of what must hold; imports nothing of the
product, so that a fault there cannot excuse itself here. Runs as a process of its own
(`python -m mmo.proof.checker`) that is told addresses and files, never how the cluster was built.
"""
