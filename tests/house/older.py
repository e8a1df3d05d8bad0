"""What is true of kept results that are older than the bench, proof or load test they are of.

Owns the sentences; `figures` puts them under its tables, and a house test wants each gone when the
result was made again.
"""

OLDER: dict[str, tuple[str, str]] = {}
"""A figure that the newer form of a bench, proof or load test has (a dot leads into a table), and
what is true of a result without it. The documents tell it as long as the kept result has no such
figure; a house test wants the entry gone when it has."""
SAID_LATER = {
    "economy": {"times_of": "a purchase at 70 % of the maximum"},
    "handler": {"times_of": "a message at half of what depth 1 reaches"},
    "loopback": {"times_of": "a message at half of what depth 1 reaches"},
    "seam": {"times_of": "a message at half of what depth 1 reaches"},
}
"""What benches say by themselves now, of kept results that do not: what their percentiles are of,
the unit of their limit. A house test wants an entry gone when the result says it."""
