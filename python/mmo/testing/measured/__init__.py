"""Server processes that benches measure, each started as `python -m mmo.testing.measured.NAME`.

Each owns one process with one loop, prints one JSON line `{"port", "pid"}` when it serves, ends on
SIGTERM and prints one last JSON line with what it counted, so that a bench can check that nothing
was lost under load. They ship no game and are never part of a cluster. Started by `mmo.proof`.
"""
