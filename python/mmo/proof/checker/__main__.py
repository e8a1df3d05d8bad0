"""`python -m mmo.proof.checker --history DIR --mysql SOCKET …`: judge and print.

Owns the arguments and the form of the answer. Exits 1 when anything does not hold or nothing was
there to be judged. Started by `chaos` and by whoever keeps a history.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from mmo.proof.checker import arrivals, cache, operations, raids
from mmo.proof.checker import books as money
from mmo.proof.checker.findings import Findings
from mmo.proof.checker.history import Claim, History
from mmo.proof.checker.operations import Owned
from mmo.proof.checker.truth import PlayerBooks, RaidTruth, Truth, boards, snapshots
from mmo.proof.checker.waiting import Due, check_waiting

QUIET_LOOK_S = 0.25
DUPLICATED = ("duplicated", "answered-twice", "never-sent", "token", "payment", "never-earned")
"""Names of findings that say of something that it was done, or given, more often than once or
without cause."""


def arguments() -> argparse.Namespace:
    """What it is told."""
    parser = argparse.ArgumentParser(prog="python -m mmo.proof.checker")
    parser.add_argument("--history", type=Path, required=True, help="directory of .jsonl files")
    parser.add_argument("--mysql", required=True, help="Unix socket of the database")
    parser.add_argument("--mysql-user", default="mmo")
    parser.add_argument("--mysql-database", default="mmo")
    parser.add_argument("--mysql-password-file", type=Path, required=True)
    parser.add_argument("--redis", default="", help="host:port, comma separated; empty: not looked")
    parser.add_argument("--redis-password-file", type=Path)
    parser.add_argument("--roll-secret-file", type=Path, help="recomputes rolls of hidden keys too")
    parser.add_argument("--bound-s", type=float, default=8.0, help="how long Redis may be behind")
    parser.add_argument("--recovery-s", type=float, default=60.0)
    return parser.parse_args()


class Judge:
    """All checks over one history."""

    def __init__(self, told: argparse.Namespace) -> None:
        self._told = told
        self.found = Findings()
        self.history = History(told.history)
        self.rolls = 0
        self.arrivals = 0
        self.snapshots = self.places = self.generations = 0
        self.raids = RaidTruth()
        self.counted: dict[str, int] = {}

    def judge(self) -> dict[str, Any]:
        """Run all checks; the answer that is printed."""
        told, history, found = self._told, self.history, self.found
        players, users, orders, published = self._read()
        master = told.roll_secret_file.read_bytes().strip() if told.roll_secret_file else b""
        keys = money.keys_of(published, master, found)
        mine: dict[str, Owned] = {}
        for number, operation in history.operations.items():
            mine.setdefault(number[0], []).append((number, operation))
        claims: dict[str, list[Claim]] = {}
        for claim in history.claims.values():
            claims.setdefault(claim.name, []).append(claim)
        due = Due(history.heard, history.payments.values(), history.faults, users)
        for name, user in users.items():
            his = mine.get(name, []), claims.get(name, [])
            self._player(players[user], *his, keys)
            check_waiting(name, players[user], *his, due, found)
        for name in mine.keys() - users.keys():
            if any(operation.answer for _, operation in mine[name]):
                found.add("acknowledged", "lost", f"the account {name} is not in the database")
        grants = {user: books.grants for user, books in players.items()}
        money.check_payments(history.payments, users, orders, grants, found)
        self.counted = raids.check_raids(history.heard, users, players, self.raids, found)
        samples = cache.check_samples(history, int(told.bound_s * 1e9), found)
        self._cache(players)
        recovery = cache.check_recovery(history.faults, told.recovery_s, found)
        return self._answer(len(players), samples, recovery)

    def _read(self) -> Any:
        told = self._told
        password = told.mysql_password_file.read_text().strip()
        truth = Truth(told.mysql, told.mysql_user, password, told.mysql_database)
        try:
            names = {number[0] for number in self.history.operations}
            names |= set(self.history.users)
            names |= {payment.account for payment in self.history.payments.values()}
            users = truth.users(sorted(names))
            numbers = sorted(users.values())
            self.raids = truth.raids(numbers)
            rows = list(truth.generations(numbers))
            self.generations = raids.check_generations(rows, self.found)
            players = {books.user: books for books in truth.players(numbers)}
            return players, users, truth.orders(numbers), truth.keys()
        finally:
            truth.close()

    def _player(
        self, books: PlayerBooks, mine: Owned, claims: list[Claim], keys: dict[int, bytes]
    ) -> None:
        found = self.found
        operations.check_operations(books, mine, found)
        operations.check_versions(books, found)
        operations.check_order(books, mine, found)
        operations.check_owner(mine, claims, found)
        money.check_books(books, mine, found)
        money.check_grants(books, found)
        money.check_tokens(claims, found)
        self.arrivals += arrivals.check_arrivals(books, mine, claims, found)
        self.rolls += money.check_rolls(books, keys, found)

    def _cache(self, players: dict[int, PlayerBooks]) -> None:
        """Redis gets what is left of the bound since all went quiet, which is when the bots were
        gone and their raids settled and so some time after the last answer, and is judged then.
        Meanwhile a board that is being filled is waited for, too."""
        told = self._told
        if not told.redis:
            return
        password = told.redis_password_file.read_text().strip()
        nodes, users = told.redis.split(","), sorted(players)
        until = self.history.quiet_at / 1e9 + told.bound_s
        while True:
            held = snapshots(nodes, password, users)
            late = Findings()
            self.snapshots = sum(
                cache.check_cache(players[user], held.get(user), late) for user in users
            )
            shown = boards(nodes, password, self.raids.boards)
            self.places = raids.check_boards(self.raids, users, shown, late)
            is_behind = late.count("stale") and not late.count("ahead", "content")
            is_bare = bool(self.raids.ranking) and not self.places
            if not (is_behind or is_bare) or time.monotonic() > until:
                break
            time.sleep(QUIET_LOOK_S)
        for check, name, text in late.texts:
            self.found.add(check, name, text)

    def _answer(
        self, players: int, samples: tuple[int, int], recovery: dict[str, dict[str, float]]
    ) -> dict[str, Any]:
        found, history = self.found, self.history
        acknowledged = sum(bool(one.answer) for one in history.operations.values())
        refused = sum(one.was_refused for one in history.operations.values())
        unknown = len(history.operations) - acknowledged - refused
        if not acknowledged:
            found.add("acknowledged", "nothing", "the history acknowledges nothing")
        return {
            "operations": len(history.operations),
            "acknowledged": acknowledged,
            "refused": refused,
            "unknown": unknown,
            "answers": sum(len(one.answers) for one in history.operations.values()),
            "players": players,
            "payments": len(history.payments),
            "rolls_recomputed": self.rolls,
            "arrivals_compared": self.arrivals,
            "samples_compared": samples[0],
            "samples_due": samples[1],
            "snapshots_compared": self.snapshots,
            **self.counted,
            "places_compared": self.places,
            "generations": self.generations,
            "faults": sum(not fault.uncertain for fault in history.faults),
            "lost": found.count("lost", "payment-lost"),
            "duplicated": found.count(*DUPLICATED),
            "stale": found.count("stale", "behind", "ahead"),
            "counts": found.counts,
            "findings": [f"{check}/{name}: {text}" for check, name, text in found.texts],
            "recovery": recovery,
        }


def main() -> int:
    """Judge and print; 0 when everything holds."""
    answer = Judge(arguments()).judge()
    json.dump(answer, sys.stdout)
    print()
    return 1 if answer["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
