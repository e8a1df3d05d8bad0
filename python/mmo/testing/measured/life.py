"""The life of a measured server process: ready line, stop signal, last line.

Owns the processor pinning, the loop choice and the two lines on standard output. Never measures.
Called by the servers of this package.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop


def pin(cpu: int) -> None:
    """Keep this process on one processor; -1 leaves it free."""
    if cpu >= 0:
        os.sched_setaffinity(0, {cpu})


def announce(port: int) -> None:
    """Say that the server answers on `port`."""
    print(json.dumps({"port": port, "pid": os.getpid()}), flush=True)


async def until_stopped() -> None:
    """Return on SIGTERM, SIGINT or when the parent closes standard input (it ended)."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    with contextlib.suppress(OSError, ValueError):  # a closed standard input: signals only
        loop.add_reader(sys.stdin.fileno(), stopped.set)
    await stopped.wait()
    with contextlib.suppress(OSError, ValueError):
        loop.remove_reader(sys.stdin.fileno())


def serve(main: Callable[[], Coroutine[Any, Any, dict[str, Any]]]) -> None:
    """Run a server to its end on uvloop, as a node does; its answer is the last line."""
    found = uvloop.run(main())
    print(json.dumps(found), flush=True)
