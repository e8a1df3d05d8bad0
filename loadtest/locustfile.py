"""The generator: locust with the users and the shape of a profile.

Owns what locust is told: options, weights, the shape, the exit code by the gates that the generator
itself can judge. Run: `locust -f loadtest/locustfile.py --headless --profile smoke --home .mmo`
beside a running cluster; `loadtest.run` does that and everything around it. locust patches Python's
sockets, so users walk on the blocking shell, never on an extension that does its own I/O.
"""

import json
import logging
import time
from pathlib import Path
from typing import Any

import gevent  # type: ignore[import-untyped]
from locust import LoadTestShape, events

from loadtest.gates import judge_play, lacking
from loadtest.meter import BEGUN, LAG_EVERY_S
from loadtest.profiles import profile_named
from loadtest.shapes import users_at
from loadtest.users import (
    BOOK,
    Attacker,
    Hunter,
    LoginBurst,
    PassClaimer,
    Raider,
    Reconnector,
    Shopper,
    Wanderer,
)


class ProfileShape(LoadTestShape):
    """The shape of the profile that the run was asked for."""

    def tick(self) -> tuple[int, float] | None:
        """What locust asks: number of users and how many a second may come or go."""
        assert self.runner is not None
        options: Any = self.runner.environment.parsed_options
        profile = profile_named(options.profile)
        at_s = time.perf_counter() - self.start_time
        users = users_at(profile, at_s, lambda: lacking(profile, BOOK.figures()))
        return None if users is None else (users, profile.spawn_per_s)


PLAYERS = (LoginBurst, Wanderer, Hunter, Shopper, PassClaimer, Raider, Reconnector, Attacker)
"""What locust finds here: it looks for classes among the names of this module."""
EVENTS: Any = events  # untyped in locust

LAGS_A_SECOND = round(1 / LAG_EVERY_S)


def add_options(parser: Any, **_: Any) -> None:
    """Where the cluster is and where the figures go."""
    parser.set_defaults(profile="plateau")
    parser.add_argument("--home", env_var="MMO_HOME", default=".mmo", help="The cluster's home")
    parser.add_argument("--figures", default="", help="Write all figures here, as JSON")


def mix(environment: Any, **_: Any) -> None:
    """Weights and the time to end by the profile; classes that it does not name do not play."""
    profile = profile_named(environment.parsed_options.profile)
    environment.stop_timeout = 2 * profile.stop_s  # to end, and to leave
    for kind in environment.user_classes:
        kind.weight = profile.mix.get(kind.__name__, 0)
    environment.user_classes[:] = [kind for kind in environment.user_classes if kind.weight]


def begin(environment: Any, **_: Any) -> None:
    """The clock of the figures starts, and whoever started the generator is told."""
    BOOK.begin()
    print(BEGUN, flush=True)
    gevent.spawn(_watch_itself, environment.runner)


def _watch_itself(runner: Any) -> None:
    """How late the generator wakes up: its own part of every latency; and how many play."""
    while BOOK.open:
        for _ in range(LAGS_A_SECOND):
            began_s = time.monotonic()
            gevent.sleep(LAG_EVERY_S)
            BOOK.lag((time.monotonic() - began_s - LAG_EVERY_S) * 1000)
        BOOK.users[BOOK.second] = runner.user_count
        BOOK.users_max = max(BOOK.users_max, runner.user_count)
        BOOK.cpu_percent_max = max(BOOK.cpu_percent_max, runner.current_cpu_usage)


def close(**_: Any) -> None:
    """Users leave from now on; nothing that is due then is speed."""
    BOOK.close()


def fell(user_instance: Any, exception: BaseException, **_: Any) -> None:
    """A user that raised what no player may."""
    BOOK.error(f"{type(user_instance).__name__} fell: {exception!r}")


def judge(environment: Any, **_: Any) -> None:
    """The exit code by what the generator saw."""
    options, figures = environment.parsed_options, BOOK.figures()
    rows = judge_play(profile_named(options.profile), figures)
    if options.figures:
        Path(options.figures).write_text(json.dumps(figures), encoding="utf-8")
    else:
        for row in rows:
            logging.info("gate %-32s %12s  limit %12s  %s", *row.row())
    environment.process_exit_code = 0 if all(row.held for row in rows) else 1


EVENTS.init_command_line_parser.add_listener(add_options)
EVENTS.init.add_listener(mix)
EVENTS.test_start.add_listener(begin)
EVENTS.test_stopping.add_listener(close)
EVENTS.user_error.add_listener(fell)
EVENTS.quitting.add_listener(judge)
