"""What the two stores hold, read by drivers of its own: does Redis repeat what MySQL decided?

Owns two questions and no answer of the product's own code: statements and key names are written out
here on purpose. Blocking; called in a thread.
"""

import time
from typing import Any

import redis

from mmo.proof.arena import Arena
from mmo.proof.economy_books import connected
from mmo.proof.not_done import OF_DRIVERS

ANSWER_S = 30
"""How long a look waits for MySQL: longer than any fault lets it stand."""


class Stores:
    """Both stores of an arena, as its operator reaches them."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._redis_password = (arena.home.secrets / "redis").read_text().strip()
        self._kept: Any = None
        self.redis_addresses = [_address(text) for text in arena.file().redis_nodes]

    def heads(self) -> dict[int, int]:
        """Version of every player, from MySQL. Raises `mysql.connector.Error`, also when nobody
        greets or answers in time."""
        connection = connected(self._arena, answer_s=ANSWER_S)
        try:
            cursor = connection.cursor()
            cursor.execute("SELECT user_id, version FROM player_head")
            return {int(user): int(version) for user, version in cursor.fetchall()}
        finally:
            connection.close()

    def _cluster(self) -> Any:
        node: Any = redis.cluster.ClusterNode  # untyped in redis-py
        nodes = [node(host, port) for host, port in self.redis_addresses]
        return redis.RedisCluster(
            startup_nodes=nodes, password=self._redis_password, socket_timeout=2.0
        )

    def snapshots(self, users: list[int]) -> dict[int, int]:
        """Version of every snapshot that Redis holds of these players. Its connections are kept for
        the next time: to learn a cluster's slots costs more than to ask it."""
        cluster = self._kept if self._kept is not None else self._cluster()
        self._kept = None
        try:
            asked = cluster.pipeline(transaction=False)
            for user in users:
                asked.hget(f"{{u:{user}}}:snap", "version")
            versions = zip(users, asked.execute(), strict=True)
            found = {user: int(version) for user, version in versions if version is not None}
        except BaseException:
            cluster.close()
            raise
        self._kept = cluster
        return found

    def boards(self, seasons: set[int]) -> dict[tuple[int, int], int]:
        """Score by season and user on the boards in Redis."""
        cluster = self._cluster()
        try:
            return {
                (season, int(member)): -int(score)
                for season in seasons
                for member, score in cluster.zrange(board_key(season), 0, -1, withscores=True)
            }
        finally:
            cluster.close()

    def primaries(self) -> list[int]:
        """Places in the list of servers (from 0) that are primaries now."""
        found = []
        for place, (host, port) in enumerate(self.redis_addresses):
            client: Any = redis.Redis(host, port, password=self._redis_password, socket_timeout=2.0)
            try:
                if client.role()[0] in (b"master", "master"):
                    found.append(place)
            except redis.RedisError:
                continue  # dead or loading: no primary now
            finally:
                client.close()
        return found

    def wipe(self) -> int:
        """FLUSHALL on every primary; returns how many took it."""
        wiped = 0
        for place in self.primaries():
            host, port = self.redis_addresses[place]
            client: Any = redis.Redis(host, port, password=self._redis_password, socket_timeout=2.0)
            try:
                client.flushall()
                wiped += 1
            finally:
                client.close()
        return wiped

    def agree(self, users: list[int], within_s: float) -> tuple[int, list[str]]:
        """How many snapshots Redis holds of these players, and what is wrong with them: one ahead
        of MySQL (at once), or still behind, or a store still away, after `within_s`."""
        until = time.monotonic() + within_s
        while True:
            late = time.monotonic() > until
            try:
                cached, heads = self.snapshots(users), self.heads()
            except OF_DRIVERS as away:
                if late:
                    return 0, [f"{within_s:.0f} s later a store is away: {away}"]
            else:
                ahead = [u for u, version in cached.items() if version > heads.get(u, -1)]
                if ahead:
                    return len(cached), [f"Redis is ahead of MySQL for player {u}" for u in ahead]
                behind = [u for u, version in cached.items() if version < heads[u]]
                if late or not behind:
                    return len(cached), [
                        f"Redis holds version {cached[u]} of player {u}, MySQL {heads[u]}"
                        for u in behind
                    ]
            time.sleep(0.2)


def board_key(season: int) -> str:
    """The board of a season, as the store names it; scores are kept with the sign turned."""
    return f"{{rank:{season}}}:board"


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)
