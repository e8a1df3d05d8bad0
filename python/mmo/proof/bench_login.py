"""Logins a second, as a share of what the password function alone allows on this machine.

Owns a cluster of its own with real accounts, the clients that log in over and over, and the limit:
argon2id with the cluster's parameters and threads, verified and nothing else, in rotating rounds.
Beside it stands what the core pays to check a token. Called through `mmo.proof.bench`.
"""

import asyncio
import json
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import uvloop
from argon2 import PasswordHasher

from mmo.client.aio import Connection
from mmo.client.protocol import hello
from mmo.config import Config
from mmo.config.load import load_config
from mmo.errors import OperatorError
from mmo.proof.arena import Arena
from mmo.proof.bench_process import (
    binary,
    measured,
    pinned,
    process_cpu_ns,
    processors,
    server,
)
from mmo.proof.bench_result import BenchResult, Check, at_least, same
from mmo.proof.bench_rounds import ROUNDS, Report
from mmo.proof.bench_tokens import Tokens
from mmo.proof.percentiles import percentile
from mmo.wire.messages.account import Login, LoginOk, Register, RegisterOk

ACCOUNTS = 16  # each logs in again and again, one at a time
PASSWORD = "measured-Pa55word"
TOKENS = 2_000
SHARE_AIM = 0.8


def login(seconds: float, home: Path, report: Report) -> BenchResult:
    """Logins a second as a share of what argon2 alone allows; token checks a second beside it."""
    window_s = max(0.5, seconds / (2 * ROUNDS))
    report("token checks")
    checks_per_s, check_us = token_checks()
    config = load_config(None).config
    return uvloop.run(measure(window_s, config, checks_per_s, check_us, report))


async def measure(
    window_s: float, config: Config, checks_per_s: float, check_us: float, report: Report
) -> BenchResult:
    """Both in rotating rounds against one cluster."""
    report("starting a cluster")
    async with Arena(None) as arena:
        crowd = LoginCrowd(arena.addresses("login")[0])
        await crowd.register()
        limits: list[float] = []
        ours: list[float] = []
        for at in range(ROUNDS):
            for contender in ("argon2", "login") if at % 2 else ("login", "argon2"):
                report(f"round {at + 1} of {ROUNDS}, {contender}")
                if contender == "login":
                    ours.append(await crowd.log_in_for(window_s))
                else:
                    limits.append(await asyncio.to_thread(argon2_alone, window_s, config))
    shares = [one / limit for one, limit in zip(ours, limits, strict=True)]
    return BenchResult(
        name="login",
        ours=round(median(ours), 1),
        limit="argon2id alone, same parameters and threads",
        limit_absolute=round(median(limits), 1),
        ratio=round(median(shares), 3),
        unit="logins a second",
        p50_ms=percentile(crowd.latencies_ms, 0.5),
        p99_ms=percentile(crowd.latencies_ms, 0.99),
        checks=(
            same("accounts were registered", ACCOUNTS, crowd.registered),
            Check("every login was answered with a token", not crowd.faults, str(crowd.faults[:3])),
        ),
        more={
            "share_least": round(min(shares), 3),
            "share_most": round(max(shares), 3),
            "clients": ACCOUNTS,
            "token_checks_per_core_s": round(1e6 / check_us, 1),
            "token_check_us": round(check_us, 2),
            "entries_per_s_one_after_another": round(checks_per_s, 1),
        },
        aims=(at_least("share of argon2 alone", SHARE_AIM, median(shares)),),
    )


class LoginCrowd:
    """Clients that make the short visit of a login: dial, hello, password, token, leave."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.latencies_ms: list[float] = []
        self.faults: list[str] = []
        self.registered = 0

    async def register(self) -> None:
        """Make the accounts."""
        for number in range(ACCOUNTS):
            connection = await Connection.open(*self.address)
            await connection.ask(hello())
            answer = await connection.ask(Register(name_of(number), PASSWORD))
            self.registered += isinstance(answer, RegisterOk)
            await connection.close()

    async def log_in_for(self, window_s: float) -> float:
        """All clients log in as fast as they are answered; logins a second."""
        begun_s = time.monotonic()
        until_s = begun_s + window_s
        counts = await asyncio.gather(*(self.client(number, until_s) for number in range(ACCOUNTS)))
        # The last visit of each client ends after the window: it counts with its time.
        return sum(counts) / (time.monotonic() - begun_s)

    async def client(self, number: int, until_s: float) -> int:
        """One client's visits; how many ended with a token."""
        count = 0
        while time.monotonic() < until_s:
            begun_s = time.monotonic()
            connection = await Connection.open(*self.address)
            await connection.ask(hello())
            answer = await connection.ask(Login(name_of(number), PASSWORD), wait_s=30)
            await connection.close()
            if isinstance(answer, LoginOk):
                count += 1
                self.latencies_ms.append((time.monotonic() - begun_s) * 1e3)
            else:
                self.faults.append(str(answer))
        return count


def name_of(number: int) -> str:
    """The account of a client."""
    return f"measured{number}"


def argon2_alone(window_s: float, config: Config) -> float:
    """Verifications a second of the password function, in as many threads as the login server."""
    hasher = PasswordHasher(
        time_cost=config.login.password_passes,
        memory_cost=config.login.password_memory_kib,
        parallelism=1,
    )
    known = hasher.hash(PASSWORD)
    begun_s = time.monotonic()

    def verify_for() -> int:
        count = 0
        while time.monotonic() < begun_s + window_s:
            hasher.verify(known, PASSWORD)
            count += 1
        return count

    threads = config.login.password_threads
    with ThreadPoolExecutor(threads) as pool:
        counts = list(pool.map(lambda _: verify_for(), range(threads)))
    return sum(counts) / (time.monotonic() - begun_s)


def token_checks() -> tuple[float, float]:
    """(players let in a second, one after another; microseconds of the core for each), the socket's
    own cost included: accept, frame, signature, welcome."""
    with tempfile.TemporaryDirectory(prefix="mmo-bench-") as directory:
        tokens = Tokens(Path(directory))
        command = measured("core_server", *tokens.server_arguments())
        with server([*command, "--connections-max", str(TOKENS + 16)]) as target:
            before_ns = process_cpu_ns(target.pid)
            visit = [str(binary()), "connect", "--address", target.address, "--hold", "0"]
            visit += ["--connections", str(TOKENS), "--enter", str(tokens.write(TOKENS))]
            done = subprocess.run(
                pinned(processors()[1], visit), capture_output=True, text=True, timeout=60
            )
            if done.returncode != 0:
                raise OperatorError("E0903", f"the tokens were refused: {done.stderr.strip()}")
            spent_us = (process_cpu_ns(target.pid) - before_ns) / 1e3
    per_s = json.loads(done.stdout.splitlines()[0])["connections_per_s"]
    return float(per_s), spent_us / TOKENS
