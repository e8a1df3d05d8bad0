"""Durable purchases a second, client to answer, beside the bare database writing the same rows.

Owns the comparison: (a) the database alone, the same rows through the same statements in groups of
64 on four connections; (b) the same node with groups of one; and the node as it ships. 2,000
players; who buys next is drawn uniformly, and once more by Zipf's law with exponent 1.5, where
every third purchase is one player's. Real MariaDB, durable settings, the product's audit after it.
Called through `mmo.proof.bench`.
"""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from mmo.errors import OperatorError
from mmo.proof.bench_process import Load, Server, binary, generate, measured, server
from mmo.proof.bench_result import BenchResult, Check, at_least, at_most, same
from mmo.proof.bench_rounds import Report
from mmo.proof.bench_stores import BenchStores, stores
from mmo.proof.bench_tokens import Tokens
from mmo.wire.codec import encode
from mmo.wire.messages.shop import Buy
from mmo.wire.opcode import Op

PLAYERS = 2_000
ROUNDS = 3
IN_FLIGHT = 768  # requests without an answer, over all players
DEPTH = 4  # of one player; his next ones wait at his client
GROUP, LANES = 64, 4
LINE, PRICE = 5, 2  # a Small Potion for two gold, as `shop_books` prepares it
COUNTER_AT = 4  # in the body of BUY: [[epoch 1, counter u32], …]
BARE, UNGROUPED, NODE = "bare database in groups of 64", "node with groups of one", "node"
ZIPF = "zipf:1.5"
LOAD_SHARE = 0.7  # of the maximum, for the latency at an honest load
WARM_S = 0.5
UNGROUPED_AIM, PER_S_AIM, BARE_AIM, P99_AIM_MS = 8.0, 10_000.0, 0.5, 50.0


def buy_body(catalogue: int) -> bytes:
    """BUY of one potion whose operation counter is a u32 at `COUNTER_AT`."""
    body = encode(Buy((1, 2**32 - 1), catalogue, LINE, 1, PRICE))
    assert body[3:8] == b"\xce\xff\xff\xff\xff", "the counter is not where it was"
    return body


class Run:
    """Everything one bench run shares; hands out fresh players."""

    def __init__(self, directory: Path, running: BenchStores, report: Report) -> None:
        self.directory = directory
        self.stores = running
        self.report = report
        self.tokens = Tokens(directory)
        self.content = directory / "content"
        self.next_first = 1
        self.checks: list[Check] = []
        self.catalogue = int(self.books("content")["catalogue"])

    def fresh_players(self) -> int:
        """The first of `PLAYERS` players that no load used before."""
        first = self.next_first
        self.next_first += PLAYERS
        return first

    def books(self, act: str, *arguments: object) -> Any:
        """Ask the preparing process for something."""
        command = [sys.executable, "-m", "mmo.testing.measured.shop_books", act]
        command += ["--store", str(self.stores.settings_file), "--content", str(self.content)]
        done = subprocess.run(
            [*command, *map(str, arguments)], capture_output=True, text=True, timeout=300
        )
        if done.returncode != 0:
            raise OperatorError("E0902", f"{act} failed: {done.stderr.strip()[-400:]}")
        return json.loads(done.stdout)

    def bare(self, window_s: float) -> float:
        """Purchases a second that the database alone takes in."""
        shape = ("--first", self.fresh_players(), "--players", PLAYERS)
        made = self.books("script", *shape, "--group", GROUP, "--lanes", LANES)
        file = self.directory / "transactions.json"
        file.write_text(json.dumps(made))
        mysql = self.stores.mysql
        command = [str(binary()), "database-floor", "--socket", str(mysql.socket_path)]
        command += ["--user", mysql.user, "--database", mysql.database]
        command += ["--password-file", str(self.stores.password_file)]
        command += ["--transactions", str(file), "--connections", str(LANES)]
        command += ["--for", str(window_s), "--warm", str(WARM_S)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise OperatorError("E0903", f"the replay failed: {done.stderr.strip()}")
        transactions = sum(len(lane) for lane in made["lanes"])
        return float(json.loads(done.stdout)["transactions_per_s"]) * PLAYERS / transactions

    def node(
        self, window_s: float, group: int = GROUP, sample: bool = False, **pace: object
    ) -> tuple[Load, dict[str, Any]]:
        """One load on a node of its own: what the generator saw, what the server counted."""
        first = self.fresh_players()
        options = [*self.tokens.server_arguments(), "--store", str(self.stores.settings_file)]
        options += ["--content", str(self.content), "--group-max", str(group)]
        options += ["--sample"] if sample else []
        with ExitStack() as ending:
            target: Server = ending.enter_context(server(measured("shop_server", *options, cpu=-1)))
            load = generate(
                target,
                connections=PLAYERS,
                depth=DEPTH,
                body=buy_body(self.catalogue).hex(),
                count_at=COUNTER_AT,
                opcode=int(Op.BUY),
                reply_opcode=int(Op.BUY_OK),
                warm=WARM_S,
                for_=window_s,
                enter=self.tokens.write(PLAYERS, first),
                watch=",".join(map(str, self.stores.pids())),
                **pace,
            )
            last = target.end()
        self.check(first, load)
        return load, last

    def check(self, first: int, load: Load) -> None:
        """Every acknowledged purchase is in the books of its players, once."""
        found = self.books("books", "--first", first, "--players", PLAYERS)
        bought = load.received_total
        wanted = {"commits": bought, "spent": bought * PRICE, "bought": bought}
        text = f"{found}, acknowledged {bought}"
        self.checks.append(Check("acknowledged is written, once", found == wanted, text))

    def closed(self, window_s: float, group: int = GROUP, choice: str = "uniform") -> Load:
        """As fast as it answers."""
        load, _ = self.node(window_s, group, choice=choice, in_flight=IN_FLIGHT)
        return load


def economy(seconds: float, home: Path, report: Report) -> BenchResult:
    """Durable purchases a second of 2,000 players through a node, beside the bare database."""
    loads = ROUNDS * 3 + 3
    window_s = max(0.5, seconds / loads)
    contenders = [BARE, UNGROUPED, NODE]
    rounds: list[dict[str, float]] = []
    more: dict[str, Any] = {"load_average_begin": list(os.getloadavg())}
    with tempfile.TemporaryDirectory(prefix="mmo-bench-") as name:
        report("starting MariaDB and Redis Cluster")
        with stores(Path(name)) as running:
            run = Run(Path(name), running, report)
            players = (loads + 1) * PLAYERS
            prepared = run.books("prepare", "--players", players)["players"]
            run.checks.append(same("players were prepared", players, prepared))
            for at in range(ROUNDS):
                first = at % len(contenders)
                figures: dict[str, float] = {}
                for contender in [*contenders[first:], *contenders[:first]]:
                    report(f"round {at + 1} of {ROUNDS}, {contender}")
                    figures[contender] = measure(run, contender, window_s)
                rounds.append(figures)
            more |= zipf(run, window_s, report)
            maximum = median(one[NODE] for one in rounds)
            rate = max(50.0, maximum * LOAD_SHARE)
            report(f"latency at {rate:,.0f} purchases a second")
            latency, _ = run.node(max(1.0, window_s), choice="uniform", rate=rate)
            more["latency"] = {
                "purchases_per_s": round(rate, 1),
                **{key: getattr(latency, key) for key in ("p50_ms", "p99_ms", "p999_ms")},
                "longest_ms": latency.longest_ms,
                "generator": latency.generator(),
            }
            report("where the processor time goes")
            more["shares"] = shares(run, max(1.0, window_s))
            report("auditing the books")
            audit = run.books("audit")
            run.checks.append(Check("the books balance", audit["balanced"], str(audit)))
    more["load_average_end"] = list(os.getloadavg())
    return result(run, rounds, latency, more)


def measure(run: Run, contender: str, window_s: float) -> float:
    """Purchases a second of one contender."""
    if contender == BARE:
        return run.bare(window_s)
    return run.closed(window_s, 1 if contender == UNGROUPED else GROUP).messages_per_s


def zipf(run: Run, window_s: float, report: Report) -> dict[str, Any]:
    """The node under Zipf's law: the hottest player's own order is the limit, not the machine."""
    report("Zipf 1.5")
    load = run.closed(window_s, choice=ZIPF)
    weights = [place**-1.5 for place in range(1, PLAYERS + 1)]
    return {
        "zipf_1_5": {
            "purchases_per_s": round(load.messages_per_s, 1),
            "hottest_player_per_s": round(load.messages_per_s / sum(weights), 1),
            "p50_ms": load.p50_ms,
            "p99_ms": load.p99_ms,
        }
    }


def shares(run: Run, window_s: float) -> dict[str, Any]:
    """Microseconds of processor time a purchase, by who spends them; from a load of its own whose
    Python thread is sampled."""
    load, last = run.node(window_s, sample=True, choice="uniform", in_flight=IN_FLIGHT)
    scale = 1e6 / max(1, load.messages)
    main_us = (load.server_main_cpu_s or 0.0) * scale
    spent = {"core": (load.server_cpu_s or 0.0) * scale - main_us}
    samples: dict[str, int] = last["samples"]
    counted = max(1, sum(samples.values()))
    spent |= {part: main_us * count / counted for part, count in sorted(samples.items())}
    database, *caches = [cpu_s * scale for cpu_s in load.watched_cpu_s]
    spent |= {"database": database, "redis": sum(caches)}
    spent["generator"] = load.generator_busy * load.seconds * scale
    total = sum(spent.values())
    store = last["store"]
    return {
        "us_a_purchase": {part: round(found, 1) for part, found in spent.items()},
        "share": {part: round(found / total, 3) for part, found in spent.items()},
        "purchases_per_s": round(load.messages_per_s, 1),
        "group_members": round(store["commit_members"] / max(1, store["commit_groups"]), 1),
        "samples": counted,
    }


def result(
    run: Run, rounds: list[dict[str, float]], latency: Load, more: dict[str, Any]
) -> BenchResult:
    """Medians of the rounds; ratios are taken within a round."""
    of = {name: median(one[name] for one in rounds) for name in rounds[0]}
    ratios = {name: [one[NODE] / one[name] for one in rounds] for name in (BARE, UNGROUPED)}
    more |= {
        "per_s": {name: round(figure, 1) for name, figure in of.items()},
        "ratios": {name: round(median(found), 3) for name, found in ratios.items()},
        "ratios_least": {name: round(min(found), 3) for name, found in ratios.items()},
        "ratios_most": {name: round(max(found), 3) for name, found in ratios.items()},
        "players": PLAYERS,
        "in_flight": IN_FLIGHT,
    }
    of_ungrouped = median(ratios[UNGROUPED])
    return BenchResult(
        name="economy",
        ours=round(of[NODE], 1),
        limit=f"the same {UNGROUPED}",
        limit_absolute=round(of[UNGROUPED], 1),
        ratio=round(of_ungrouped, 3),
        unit="durable purchases a second",
        p50_ms=latency.p50_ms,
        p99_ms=latency.p99_ms,
        times_of=f"a purchase at {LOAD_SHARE * 100:g} % of the maximum",
        checks=tuple(run.checks),
        more=more,
        aims=(
            at_least("of the same node with groups of one", UNGROUPED_AIM, of_ungrouped),
            at_least("purchases a second", PER_S_AIM, of[NODE]),
            at_least("of the bare database in groups of 64", BARE_AIM, median(ratios[BARE])),
            at_most("p99 in ms at 70 % of the maximum", P99_AIM_MS, latency.p99_ms),
        ),
    )
