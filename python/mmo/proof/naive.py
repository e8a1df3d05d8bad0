"""`python -m mmo.proof.naive`: one server process of a game that keeps its coins naively.

Owns two ways that many games are built: Redis is the truth (`redis`), or every change is written to
MySQL and then, without a fence, to Redis (`dual`). Each player belongs to one thread of one
process, so without a fault nobody overtakes anybody. It adds coins to players as fast as it can,
says each success on its standard output after the store took it, and ends in order, with what it
has begun, when its standard input does. Exists to be broken beside the product by `contrast`;
nothing of the product uses it.
"""

import argparse
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

import mysql.connector
import redis

THREADS = 8
PLAYERS = 3_200
"""So many that nobody is written again soon: what was left stale stays so, as in a game."""

PAUSE_S, AGAIN_S = 0.002, 0.05
OF_REDIS = (redis.RedisError, redis.exceptions.RedisClusterException)
"""The second is none of the first: raised when no server of a cluster can be reached."""


def coin_key(player: int) -> str:
    """Where Redis keeps the coins of a player."""
    return f"naive:{{{player}}}"


def players_of(number: int, thread: int, workers: int) -> range:
    """Players of a thread (from 0) of the process `number` (from 0) of `workers`."""
    return range(number * THREADS + thread, PLAYERS, workers * THREADS)


class Naive:
    """One thread of a process, with connections of its own; ends soon after `over` is set."""

    def __init__(self, told: argparse.Namespace, thread: int, over: threading.Event) -> None:
        self._told = told
        self._over = over
        self._players = players_of(told.number, thread, told.workers)
        self._rng = random.Random(f"{told.seed}/{told.number}/{thread}")
        self._mysql: Any = None
        self._redis: Any = None

    def run(self) -> None:
        """Until it is over or killed; what was begun is brought to its end."""
        while not self._over.is_set():
            player = self._rng.choice(self._players)
            try:
                self._add_redis(player) if self._told.kind == "redis" else self._add_dual(player)
            except (*OF_REDIS, mysql.connector.Error, OSError) as fault:
                self._redis = None
                if not isinstance(fault, OF_REDIS):
                    self._mysql = None
                time.sleep(AGAIN_S)
                continue
            os.write(sys.stdout.fileno(), b"%d\n" % player)  # one line at a time, whole
            time.sleep(PAUSE_S)

    def _cache(self) -> Any:
        if self._redis is None:
            node: Any = redis.cluster.ClusterNode  # untyped in redis-py
            nodes = [text.rpartition(":") for text in self._told.redis.split(",")]
            self._redis = redis.RedisCluster(
                startup_nodes=[node(host, int(port)) for host, _, port in nodes],
                password=self._told.redis_password_file.read_text().strip(),
                socket_timeout=0.5,
            )
        return self._redis

    def _add_redis(self, player: int) -> None:
        self._cache().incr(coin_key(player))

    def _add_dual(self, player: int) -> None:
        if self._mysql is None:
            self._mysql = mysql.connector.connect(
                unix_socket=self._told.mysql, user="mmo", database="mmo", use_pure=True,
                password=self._told.mysql_password_file.read_text().strip(),
            )  # fmt: skip
        cursor = self._mysql.cursor()
        cursor.execute("UPDATE naive_coins SET coins = coins + 1 WHERE player = %s", (player,))
        cursor.execute("SELECT coins FROM naive_coins WHERE player = %s", (player,))
        (coins,) = cursor.fetchone()
        self._mysql.commit()
        self._cache().set(coin_key(player), coins)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m mmo.proof.naive")
    parser.add_argument("kind", choices=("redis", "dual"))
    for name in ("--mysql", "--redis"):
        parser.add_argument(name, required=True)
    for name in ("--mysql-password-file", "--redis-password-file"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True, help="processes that there are")
    told, over = parser.parse_args(), threading.Event()
    threads = [threading.Thread(target=Naive(told, one, over).run) for one in range(THREADS)]
    for thread in threads:
        thread.start()
    sys.stdin.buffer.read()
    over.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
