"""The core starts in order: nothing is bound and no thread runs until all of it is made.

Owns the questions about the moments before and after `start`; asked of the real core alone.
"""

import contextlib
import os
import socket
import time
from pathlib import Path

import msgspec
import pytest
from tests.contract.core_sides import core_settings

from mmo._core import CoreError, NetCore


def threads() -> int:
    """Threads of the core in this process as the kernel counts them."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it ended meanwhile
            names.append((task / "comm").read_text().strip())
    return names.count("mmo-network")


def becomes(count: int) -> bool:
    """Whether there are so many soon: the kernel shows one that was joined for a moment still, and
    one that is new under the name of its parent."""
    until_s = time.monotonic() + 10.0
    while threads() != count and time.monotonic() < until_s:
        os.sched_yield()
    return threads() == count


def listens(port: int) -> bool:
    """Whether a connection to a loopback port is taken."""
    with socket.socket() as probe:
        probe.settimeout(2.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_core_when_made_then_runs_and_binds_nothing_until_started() -> None:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    settings = msgspec.structs.replace(core_settings(11, "channel"), client_port=port)
    assert becomes(0)  # of the tests before
    core = NetCore(settings)
    assert not threads() and not listens(port)
    assert core.start()["client"] == port
    assert becomes(1) and listens(port)
    core.begin_shutdown(0)
    core.finish_shutdown()
    assert becomes(0) and not listens(port)


def test_core_when_a_limit_is_wrong_then_is_refused_before_anything_starts() -> None:
    settings = core_settings(11, "channel")
    assert becomes(0)  # of the tests before
    for field, value in (("ring_bytes", 8), ("connections_max", 0), ("link_secret", b"short")):
        with pytest.raises(CoreError, match=field):
            NetCore(msgspec.structs.replace(settings, **{field: value}))
    assert not threads()


def test_core_when_started_twice_then_says_so() -> None:
    core = NetCore(core_settings(12, "channel"))
    core.start()
    try:
        with pytest.raises(CoreError):
            core.start()
    finally:
        core.begin_shutdown(0)
        core.finish_shutdown()
