"""The shop's catalogue to many logins: prebuilt pages beside the bare loopback.

Owns two workloads: 10,000 lines to 1,000 players (`catalogue`), and the sizes of the reference
game's own load test, 500 to 2,000 lines for 300 to 1,000 users (`shop`). A player reads every page
in order, as after a login. The limit answers each request with as many bytes and does nothing else.
Called through `mmo.proof.bench`.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from mmo.errors import OperatorError
from mmo.proof.bench_process import Load, binary, generate, measured, pinned, processors, server
from mmo.proof.bench_result import BenchResult, Check, at_least, same
from mmo.proof.bench_rounds import ROUNDS, Report
from mmo.proof.bench_stores import BenchStores, stores
from mmo.proof.bench_tokens import Tokens
from mmo.wire.codec import encode
from mmo.wire.messages.shop import ShopPageAsk
from mmo.wire.opcode import Op

LINES, USERS = 10_000, 1_000
SIZES = ((500, 300), (1_000, 500), (2_000, 1_000))  # lines, users
DEPTH = 2  # pages a client asks for ahead
HEADER_BYTES = 10
PAGE_AT = 2  # in the body of SHOP_PAGE: [page u32]
SHARE_AIM = 0.7


class Shop:
    """One catalogue: its tables, its pages, and both servers of one round."""

    def __init__(
        self, directory: Path, running: BenchStores, tokens: Tokens, lines: int, users: int
    ) -> None:
        self.running = running
        self.tokens = tokens
        self.users = users
        self.content = directory / f"content-{lines}"
        made = books("content", "--content", self.content, "--lines", lines)
        self.pages: list[int] = made["pages"]
        self.bytes: int = sum(self.pages) + HEADER_BYTES * len(self.pages)
        self.checks: list[Check] = []

    def ask(self, address: Any, window_s: float, enter: Path | None) -> Load:
        """All users read the catalogue again and again."""
        body = encode(ShopPageAsk(2**32 - 1))
        assert body[1:] == b"\xce\xff\xff\xff\xff", "the page is not where it was"
        load = generate(
            address,
            connections=self.users,
            depth=DEPTH,
            body=body.hex(),
            count_at=PAGE_AT,
            count_to=len(self.pages),
            opcode=int(Op.SHOP_PAGE),
            reply_opcode=int(Op.SHOP_PAGE_OK),
            warm=0.3,
            for_=window_s,
            enter=enter,
        )
        self.checks.append(same("every page was answered", load.sent_total, load.received_total))
        return load

    def bare(self, window_s: float) -> Load:
        """The limit: the mean page, again and again, out of one buffer."""
        mean = self.bytes // len(self.pages)
        command = [str(binary()), "echo-floor", "--port", "0", "--answer-bytes", str(mean)]
        command += ["--answer-opcode", str(int(Op.SHOP_PAGE_OK))]
        with server(pinned(processors()[0], command)) as floor:
            return self.ask(floor, window_s, None)

    def node(self, window_s: float) -> Load:
        """The channel server with its rule."""
        options = [*self.tokens.server_arguments(), "--content", str(self.content)]
        options += ["--store", str(self.running.settings_file)]
        with server(measured("shop_server", *options)) as target:
            return self.ask(target, window_s, self.tokens.write(self.users))

    def bytes_per_s(self, load: Load) -> float:
        """Of pages with their headers."""
        return load.messages_per_s * self.bytes / len(self.pages)


def books(act: str, *arguments: object) -> Any:
    """Ask the preparing process for something."""
    command = [sys.executable, "-m", "mmo.testing.measured.shop_books", act, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise OperatorError("E0902", f"{act} failed: {done.stderr.strip()[-400:]}")
    return json.loads(done.stdout)


def catalogue(seconds: float, home: Path, report: Report) -> BenchResult:
    """10,000 shop lines to 1,000 players: bytes a second as a share of what loopback gives."""
    window_s = max(0.5, seconds / (2 * ROUNDS))
    return compare("catalogue", [(LINES, USERS)], ROUNDS, window_s, report)


def shop(seconds: float, home: Path, report: Report) -> BenchResult:
    """500 to 2,000 shop lines to 300 to 1,000 players: the reference game's own load test."""
    window_s = max(0.5, seconds / (2 * len(SIZES)))
    return compare("shop", SIZES, 1, window_s, report)


def compare(name: str, sizes: Any, rounds: int, window_s: float, report: Report) -> BenchResult:
    """Every size in rotating rounds; the figure is that of the last size."""
    more: dict[str, Any] = {"load_average_begin": list(os.getloadavg())}
    checks: list[Check] = []
    with tempfile.TemporaryDirectory(prefix="mmo-bench-") as place:
        directory = Path(place)
        report("starting MariaDB and Redis Cluster")
        with stores(directory) as running:
            tokens = Tokens(directory)
            for lines, users in sizes:
                sized = Shop(directory, running, tokens, lines, users)
                if not checks:
                    store = ("--store", running.settings_file, "--content", sized.content)
                    most = max(count for _, count in sizes)
                    found = books("prepare", *store, "--players", most)["players"]
                    checks.append(same("players were prepared", most, found))
                bare: list[Load] = []
                ours: list[Load] = []
                for at in range(rounds):
                    for contender in ("node", "bare") if at % 2 else ("bare", "node"):
                        report(f"{lines} lines, {users} users: round {at + 1}, {contender}")
                        if contender == "bare":
                            bare.append(sized.bare(window_s))
                        else:
                            ours.append(sized.node(window_s))
                row = figures(sized, bare, ours)
                more[f"{lines}_lines_{users}_users"] = row
                checks += sized.checks
    more["load_average_end"] = list(os.getloadavg())
    return BenchResult(
        name=name,
        ours=row["node_mb_per_s"],
        limit="bare loopback answering the same bytes",
        limit_absolute=row["bare_mb_per_s"],
        ratio=row["ratio"],
        unit="megabytes of catalogue a second",
        p50_ms=row["page_p50_ms"],
        p99_ms=row["page_p99_ms"],
        checks=tuple(checks),
        more=more,
        aims=(at_least("of the loopback limit in bytes a second", SHARE_AIM, row["ratio"]),),
    )


def figures(sized: Shop, bare: list[Load], ours: list[Load]) -> dict[str, Any]:
    """Medians; ratios are taken within a round."""
    ratios = [
        one.messages_per_s / limit.messages_per_s for one, limit in zip(ours, bare, strict=True)
    ]
    reached = median(one.messages_per_s for one in ours)
    return {
        "ratio": round(median(ratios), 3),
        "ratio_least": round(min(ratios), 3),
        "ratio_most": round(max(ratios), 3),
        "node_mb_per_s": round(median(sized.bytes_per_s(one) for one in ours) / 1e6, 1),
        "bare_mb_per_s": round(median(sized.bytes_per_s(one) for one in bare) / 1e6, 1),
        "pages": len(sized.pages),
        "catalogue_bytes": sized.bytes,
        "catalogues_per_s": round(reached / len(sized.pages), 1),
        "server_us_a_page": median(one.server_us_per_message or 0.0 for one in ours),
        "bare_us_a_page": median(one.server_us_per_message or 0.0 for one in bare),
        "generator_busy": [round(median(o.generator_busy for o in two), 3) for two in (ours, bare)],
        "page_p50_ms": median(one.p50_ms for one in ours),
        "page_p99_ms": median(one.p99_ms for one in ours),
    }
