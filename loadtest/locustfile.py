"""A first load: log in, hunt, leave, over `mmo.client` on plain sockets.

Run: `locust -f loadtest/locustfile.py --headless -u 20 -r 5 -t 30s` beside a started cluster. The
home is taken from `MMO_HOME` (default `.mmo`); locust patches Python's sockets, so only the
synchronous shell is used here, never an extension that does its own I/O.
"""

import itertools
import os
import random
import time
from pathlib import Path
from typing import Any

from locust import User, constant, events, task

from mmo.cli.bot import login_addresses
from mmo.client.connection import Shell
from mmo.client.fleet import muster, source_of
from mmo.client.hunting import hunt_while, settle
from mmo.client.meter import Meter
from mmo.client.session import arrive, log_out, register
from mmo.client.steps import Walk
from mmo.errors import MmoError

HUNT_S = 10.0
REQUEST: Any = events.request  # untyped in locust
HOME = Path(os.environ.get("MMO_HOME", ".mmo"))
_numbers = itertools.count()


class LocustMeter(Meter):
    """Tells locust of every action under the name of its message."""

    def action(self, kind: str, took_ms: float) -> None:
        super().action(kind, took_ms)
        REQUEST.fire(
            request_type="mmo", name=kind, response_time=took_ms, response_length=0, exception=None
        )

    def error(self, text: str) -> None:
        super().error(text)
        REQUEST.fire(
            request_type="mmo",
            name="error",
            response_time=0,
            response_length=0,
            exception=MmoError(text),
        )


class Hunter(User):
    """Logs in, hunts, leaves, comes again: the same account, everything kept."""

    wait_time = constant(1)

    def on_start(self) -> None:
        """A new account from an address of its own."""
        number = next(_numbers)
        seed = random.SystemRandom().randrange(2**32)
        self.hero = muster(login_addresses(HOME), 1, seed, LocustMeter())[0]
        self.shell = Shell(source_of(number))
        self.shell.walk(register(self.hero))

    @task
    def hunt(self) -> None:
        """One visit. What ends it early was counted as an error by the meter or is counted here."""
        before = self.hero.meter.errors
        try:
            self.shell.walk(self._visit())
        except MmoError as fault:
            if self.hero.meter.errors == before:
                self.hero.meter.error(str(fault))
            self.shell.cut_all()

    def _visit(self) -> Walk[Any]:
        me = self.hero
        yield from arrive(me)
        yield from settle(me)
        until = time.monotonic() + HUNT_S
        yield from hunt_while(me, lambda: time.monotonic() < until)
        yield from log_out(me)

    def on_stop(self) -> None:
        """Gone without a word, as players go."""
        self.shell.cut_all()
