"""What is true: aggregates and the changes that move them. Imports nothing of ours.

Parts of a player are frozen values; a change replaces a part. Only the node applies changes, after
the commit that made them durable.
"""
