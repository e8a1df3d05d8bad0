"""Durable changes a second through the node, beside the bare database doing the same rows.

Owns the comparison: (a) the database alone, one player's rows a transaction; (b) the database alone
in groups of 64 on four connections; and the whole node with clients, operation numbers, lanes,
group commit and the relay to Redis. Fresh players every round, real MariaDB, durable settings.
Called through `mmo.proof.bench`.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from mmo.errors import OperatorError
from mmo.proof.bench_process import binary, generate, measured, server
from mmo.proof.bench_result import BenchResult, Check, at_least, same
from mmo.proof.bench_rounds import ROUNDS, Report
from mmo.proof.bench_stores import BenchStores, stores
from mmo.proof.bench_tokens import Tokens

PLAYERS = 1_024  # clients, each with one request in flight; also the players of a floor's run
GROUP = 64
LANES = 4
GROW, GROW_OK = 9_000, 9_001  # the measured rule's own opcodes
GROW_BODY = bytes([0x91, 0x92, 1, 0xCE, 0, 0, 0, 0])  # [[epoch 1, counter u32]]
COUNTER_AT = 4
SERIAL, SERIAL_FOUR, GROUPED, NODE = "one at a time", "one each on four", "groups of 64", "node"
FLOORS = {SERIAL: (1, 1), SERIAL_FOUR: (1, LANES), GROUPED: (GROUP, LANES)}
WARM_S = 0.5
SERIAL_AIM, GROUPED_AIM = 5.0, 0.5


class Run:
    """Everything one bench run shares; hands out fresh players."""

    def __init__(self, directory: Path, running: BenchStores, report: Report) -> None:
        self.directory = directory
        self.stores = running
        self.report = report
        self.tokens = Tokens(directory)
        self.next_first = 1
        self.checks: list[Check] = []
        self.latencies: list[tuple[float, float]] = []
        self.node_busy: list[float] = []
        self.generator_busy: list[float] = []
        self.group_sizes: list[float] = []

    def fresh_players(self) -> int:
        """The first of `PLAYERS` players that no run used before."""
        first = self.next_first
        self.next_first += PLAYERS
        return first

    def books(self, act: str, *arguments: object) -> Any:
        """Ask the preparing process for something."""
        command = [sys.executable, "-m", "mmo.testing.measured.commit_books", act]
        command += ["--store", str(self.stores.settings_file), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise OperatorError("E0902", f"{act} failed: {done.stderr.strip()[-400:]}")
        return json.loads(done.stdout)

    def bare(self, name: str, window_s: float) -> float:
        """Players a second that the database alone takes in."""
        group, lanes = FLOORS[name]
        first = self.fresh_players()
        shape = ("--first", first, "--players", PLAYERS, "--group", group, "--lanes", lanes)
        file = self.directory / "transactions.json"
        file.write_text(json.dumps(self.books("script", *shape)))
        mysql = self.stores.mysql
        command = [str(binary()), "database-floor", "--socket", str(mysql.socket_path)]
        command += ["--user", mysql.user, "--database", mysql.database]
        command += ["--password-file", str(self.stores.password_file)]
        command += ["--transactions", str(file), "--connections", str(lanes)]
        command += ["--for", str(window_s), "--warm", str(WARM_S)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise OperatorError("E0903", f"the replay failed: {done.stderr.strip()}")
        return float(json.loads(done.stdout)["transactions_per_s"]) * group

    def node(self, window_s: float) -> float:
        """Acknowledged durable changes a second of the whole node."""
        first = self.fresh_players()
        options = [*self.tokens.server_arguments(), "--store", str(self.stores.settings_file)]
        options += ["--connections-max", str(2 * PLAYERS)]
        with server(measured("node_server", *options, cpu=-1)) as target:
            load = generate(
                target,
                connections=PLAYERS,
                depth=1,
                body=GROW_BODY.hex(),
                count_at=COUNTER_AT,
                opcode=GROW,
                reply_opcode=GROW_OK,
                warm=WARM_S,
                for_=window_s,
                enter=self.tokens.write(PLAYERS, first),
            )
            last = target.end()
        found = self.books("books", "--first", first, "--players", PLAYERS)
        wanted = {"exp": load.received_total, "versions": load.received_total}
        wanted["events"] = load.received_total
        self.checks.append(Check("acknowledged is written, once", found == wanted, f"{found}"))
        self.latencies.append((load.p50_ms, load.p99_ms))
        self.node_busy.append(load.server_busy or 0.0)
        self.generator_busy.append(load.generator_busy)
        counted = last["store"]
        self.group_sizes.append(counted["commit_members"] / max(1, counted["commit_groups"]))
        return load.messages_per_s


def commit(seconds: float, home: Path, report: Report) -> BenchResult:
    """Durable growth changes a second through the node, beside the bare database, real MariaDB."""
    names = [SERIAL, SERIAL_FOUR, GROUPED, NODE]
    window_s = max(0.5, seconds / (ROUNDS * len(names)))
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="mmo-bench-") as name:
        report("starting MariaDB and Redis Cluster")
        with stores(Path(name)) as running:
            run = Run(Path(name), running, report)
            players = ROUNDS * len(names) * PLAYERS
            prepared = run.books("prepare", "--players", players)["players"]
            for at in range(ROUNDS):
                first = at % len(names)
                figures: dict[str, float] = {}
                for contender in [*names[first:], *names[:first]]:
                    report(f"round {at + 1} of {ROUNDS}, {contender}")
                    if contender == NODE:
                        figures[contender] = run.node(window_s)
                    else:
                        figures[contender] = run.bare(contender, window_s)
                rounds.append(figures)
    return result(run, rounds, same("players were prepared", players, prepared))


def result(run: Run, rounds: list[dict[str, float]], prepared: Check) -> BenchResult:
    """Medians of the rounds' ratios."""
    of = {name: median(one[name] for one in rounds) for name in rounds[0]}
    ratios = {
        floor: [one[NODE] / one[floor] for one in rounds]
        for floor in (SERIAL, SERIAL_FOUR, GROUPED)
    }
    middle = {floor: median(found) for floor, found in ratios.items()}
    more: dict[str, Any] = {
        "per_s": {name: round(figure, 1) for name, figure in of.items()},
        "ratios": {floor: round(found, 3) for floor, found in middle.items()},
        "ratios_least": {floor: round(min(found), 3) for floor, found in ratios.items()},
        "ratios_most": {floor: round(max(found), 3) for floor, found in ratios.items()},
        "node_busy": round(median(run.node_busy), 3),
        "generator_busy": round(median(run.generator_busy), 3),
        "group_members": round(median(run.group_sizes), 1),
    }
    return BenchResult(
        name="commit",
        ours=round(of[NODE], 1),
        limit="the bare database, one transaction at a time",
        limit_absolute=round(of[SERIAL], 1),
        ratio=round(middle[SERIAL], 3),
        unit="durable changes a second",
        p50_ms=median(p50 for p50, _ in run.latencies),
        p99_ms=median(p99 for _, p99 in run.latencies),
        checks=(prepared, *run.checks),
        more=more,
        aims=(
            at_least("of the bare database, one at a time", SERIAL_AIM, middle[SERIAL]),
            at_least("of the bare database in groups of 64", GROUPED_AIM, middle[GROUPED]),
        ),
    )
