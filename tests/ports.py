"""Ports of this test process alone.

Far from where other homes of this machine look first, and from those of a second test process, so
that a block that is let go stays free. Used by tests that let one go and count on it.
"""

import os

PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORT_FIRST = 24_100 + 3_000 * PROCESS
PORTS = {"MMO__CLUSTER__PORT_FIRST": str(PORT_FIRST)}
"""For the environment of a configuration."""
