"""The shared cache: snapshots fenced by version, and who is online. Never the truth.

Owns the Redis Cluster client, the key names and the scripts; no failure ever leaves this file as an
exception: a call that could not be done says so by its result. Called by `relay` and `durable`.

One player, one slot: every key carries `{u:ID}`. EVAL with the text, because EVALSHA is blocked in
cluster pipelines; the server caches a script by its body. Deadlines are short: a hung primary must
not freeze a lane.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import msgspec
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from mmo.state.player import Snapshot
from mmo.store.settings import StoreSettings

SNAPSHOT_BYTES_MAX = 1 << 20
"""A longer blob is not ours; it is not even decoded."""

AGAIN_S = 1.0
"""After a failure claims leave Redis alone for this long: a hung primary costs each its wait."""

PUT = """
local held = tonumber(redis.call('HGET', KEYS[1], 'version') or '')
if held and held >= tonumber(ARGV[1]) then
  redis.call('EXPIRE', KEYS[1], ARGV[3])
  return held
end
redis.call('HSET', KEYS[1], 'version', ARGV[1], 'blob', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return tonumber(ARGV[1])
"""
"""The fence: a put counts only if its version is newer. Returns the version held afterwards."""

GONE = """
local held = redis.call('GET', KEYS[1])
if held and string.match(held, ':(%d+)$') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
"""A server takes away its own word about a player, never another server's newer one."""

_log = logging.getLogger("mmo.store")
_encode = msgspec.msgpack.Encoder().encode


class _Kept(msgspec.Struct, array_like=True, frozen=True):
    """The blob. It names its user, so that an answer on the wrong line is never another's items."""

    user: int
    snapshot: Snapshot


_decode = msgspec.msgpack.Decoder(_Kept).decode


def snapshot_key(user: int) -> str:
    """HASH `version`, `blob`."""
    return f"{{u:{user}}}:snap"


def online_key(user: int) -> str:
    """Text `state:server number`, with a life."""
    return f"{{u:{user}}}:online"


def blob_of(user: int, snapshot: Snapshot) -> bytes:
    """What is kept under `blob`."""
    return _encode(_Kept(user, snapshot))


class RedisCache:
    """All calls are bounded in time and in number; `healthy` is what the last one found."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.redis_connections_max)
        self._client: RedisCluster | None = None
        self._closed = not settings.redis_nodes
        self.healthy = True
        self._failed_s = 0.0
        self.counts: dict[str, float] = {
            "puts": 0, "put_fenced": 0, "reads": 0, "read_missed": 0, "blobs_refused": 0,
            "failures": 0, "slow": 0,
        }  # fmt: skip

    async def put(self, snapshots: Sequence[tuple[int, Snapshot]]) -> dict[int, int]:
        """Put snapshots by user; the version that Redis holds afterwards, for each that was
        answered."""
        ttl_s = self._settings.snapshot_ttl_s
        commands = [
            ("EVAL", PUT, 1, snapshot_key(user), snapshot.version, blob_of(user, snapshot), ttl_s)
            for user, snapshot in snapshots
        ]
        held: dict[int, int] = {}
        for (user, snapshot), answer in zip(snapshots, await self.many(commands), strict=True):
            if isinstance(answer, int):
                held[user] = answer
                self.counts["puts" if answer == snapshot.version else "put_fenced"] += 1
        return held

    async def versions(self, users: Sequence[int]) -> dict[int, int] | None:
        """Versions held, 0 for none; None when Redis does not answer, and users whose part of the
        cluster does not answer are left out."""
        answers = await self.many([("HGET", snapshot_key(user), "version") for user in users])
        if users and all(isinstance(answer, Exception) for answer in answers):
            return None
        return {
            user: int(answer) if answer is not None and answer.isdigit() else 0
            for user, answer in zip(users, answers, strict=True)
            if not isinstance(answer, Exception)
        }

    async def read(self, user: int) -> Snapshot | None:
        """The snapshot, None when there is none, it does not decode or Redis is slow: MySQL
        serves."""
        self.counts["reads"] += 1
        blob = await self.ask("HGET", snapshot_key(user), "blob")
        if not isinstance(blob, bytes):
            self.counts["read_missed"] += 1
            return None
        try:
            if len(blob) > SNAPSHOT_BYTES_MAX:
                raise msgspec.ValidationError(f"{len(blob)} bytes")
            kept = _decode(blob)
            if kept.user != user:
                raise msgspec.ValidationError(f"it is of user {kept.user}")
            return kept.snapshot
        except msgspec.MsgspecError as error:
            self.counts["blobs_refused"] += 1
            _log.warning("the snapshot of user %d in Redis does not decode: %s", user, error)
            return None

    async def ask(self, *command: Any) -> Any:
        """The answer to one command that somebody waits for. None: there is none, Redis is slow, it
        failed a moment ago or fails now; MySQL serves."""
        since_s = asyncio.get_running_loop().time() - self._failed_s
        if self._closed or (not self.healthy and since_s < AGAIN_S):
            return None
        try:
            async with asyncio.timeout(self._settings.redis_read_ms / 1_000):
                (answer,) = await self.many([command])
        except TimeoutError:
            self.counts["slow"] += 1
            return None
        return None if isinstance(answer, Exception) else answer

    async def online(self, seen: Sequence[tuple[int, str, int]]) -> bool:
        """Publish (user, state, server number); `offline` takes the word back. False: not all
        done."""
        ttl_s = self._settings.presence_ttl_s
        commands: list[tuple[Any, ...]] = [
            ("EVAL", GONE, 1, online_key(user), number)
            if state == "offline"
            else ("SET", online_key(user), f"{state}:{number}", "EX", ttl_s)
            for user, state, number in seen
        ]
        return not any(isinstance(answer, Exception) for answer in await self.many(commands))

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await self._drop(client)

    def stats(self) -> dict[str, float]:
        """Gauges and counters by name."""
        gauges = {"healthy": float(self.healthy and not self._closed)}
        return {f"redis_{name}": value for name, value in (gauges | self.counts).items()}

    async def many(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """One pipeline; an answer or an exception for each command. For `board`, and within."""
        if not commands:
            return []
        if self._closed:
            return [RedisError("closed")] * len(commands)
        # Discovery after a failover may meet several dead nodes: their timeouts add up.
        limit_s = 4 * self._settings.redis_timeout_ms / 1_000
        try:
            async with asyncio.timeout(limit_s), self._slots:
                client = self._opened()
                pipeline = client.pipeline()
                for command in commands:
                    pipeline.execute_command(*command)
                answers: list[Any] = await pipeline.execute(raise_on_error=False)
        except Exception as error:
            # Whatever the client raises while a cluster falls apart (not all of it is a RedisError,
            # and its topology code can trip over itself): it is logged, counted, and MySQL serves.
            await self._failed(error)
            return [error] * len(commands)
        failed = next((answer for answer in answers if isinstance(answer, Exception)), None)
        if failed is None:
            self.healthy = True
        else:
            await self._failed(failed)
        return answers

    async def _failed(self, error: BaseException) -> None:
        self.counts["failures"] += 1
        if self.healthy:
            _log.warning("Redis does not answer as it should: %r", error)
        self.healthy = False
        self._failed_s = asyncio.get_running_loop().time()
        # A new client looks the topology up again from the configured nodes: simple and always
        # right.
        client, self._client = self._client, None
        if client is not None:
            await self._drop(client)

    def _opened(self) -> RedisCluster:
        if self._client is None:
            settings = self._settings
            self._client = RedisCluster(
                startup_nodes=[ClusterNode(host, port) for host, port in settings.redis_nodes],
                username=settings.redis_user or None,
                password=settings.redis_password or None,
                socket_timeout=settings.redis_timeout_ms / 1_000,
                socket_connect_timeout=settings.redis_connect_ms / 1_000,
                max_connections=settings.redis_connections_max,
                require_full_coverage=False,
                retry=Retry(NoBackoff(), 1),
                legacy_responses=False,
            )
        return self._client

    async def _drop(self, client: RedisCluster) -> None:
        try:
            async with asyncio.timeout(self._settings.redis_timeout_ms / 1_000):
                await client.aclose()
        except Exception:
            self.counts["failures"] += 1  # of a client that is given up anyway
