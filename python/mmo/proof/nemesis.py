"""The menu of faults: what each does to a cluster, to whom, and for how long.

Owns the faults by name. A fault is begun and ended by itself; whatever it stopped is going again
when it returns, whatever happens, and what it killed is the supervisor's to repair. Judges nothing.
Called by `chaos`, which picks from the menu with a seed.
"""

import asyncio
import contextlib
import random
import resource
import time
from typing import Any

import mysql.connector

from mmo.cluster.process import identify
from mmo.cluster.redis_protocol import RedisAnswerError
from mmo.errors import OperatorError
from mmo.proof.arena import Arena
from mmo.proof.economy_books import connected
from mmo.proof.ground import Fault, Ground, limited, lowest_free, stopped
from mmo.proof.kills import FAILPOINTS
from mmo.proof.not_done import OF_DRIVERS, Uncertain
from mmo.proof.partitions import (
    cut_link,
    cut_link_one_way,
    cut_links,
    cut_off,
    reset_link,
    slow_link,
)
from mmo.proof.reload_storm import reload_storm
from mmo.proof.stores import Stores

STOP_S = (0.5, 5.0)
FREEZE_S = (6.5, 12.0)
"""Longer than a lease (`node.lease_ms`), shorter than a supervisor bears silence
(`supervisor.silent_ms`): the process wakes, and has lost everything."""

LOCK_S = (0.5, 4.0)
LINE_S = (0.5, 3.0)
DISK_S = (0.3, 1.5)
STARVED_S = 0.02
CLOCK_MS = 1_900
RAID_POINTS = (
    *(("raid", "before-claim"), ("raid", "after-claim"), ("raid", "before-checkpoint")),
    *(("raid", "before-row"), ("raid", "after-row"), ("cash", "before-row"), ("cash", "after-row")),
)
"""Points that only raids and payments reach."""

REACHED_S = 5.0
"""How long a named point may take to be reached before another fault's turn comes."""

NEVER = 1_000_000_000
"""A point that kills when it is reached so often is as good as disarmed."""

LOCKED_MAX = 16
"""Heads of players that are held at once."""


def _kill_role(role: str) -> Fault:
    async def fault(ground: Ground) -> str:
        name = ground.pick(ground.nodes(role))
        await ground.kill(name)
        return name

    fault.__doc__ = f"kill -9 of a {role} server."
    return fault


async def kill_at_point(ground: Ground) -> str:
    """A node ends itself between two steps."""
    role, point = ground.rng.choice((*FAILPOINTS, *RAID_POINTS))
    name = ground.pick(ground.nodes(role))
    pid = ground.pid(name)
    identity = identify(pid)
    try:
        await ground.arena.arm(name, point, 1 + ground.rng.randrange(5))
    except OperatorError as refusal:
        await _disarmed(ground.arena, name, point)
        raise LookupError(str(refusal)) from refusal
    until = time.monotonic() + REACHED_S
    while time.monotonic() < until:
        if identify(pid) != identity:
            return f"{name} {point}"
        await asyncio.sleep(0.05)
    await _disarmed(ground.arena, name, point)
    if identify(pid) != identity:
        return f"{name} {point}"
    raise LookupError(f"{name} never reached {point}")


async def _disarmed(arena: Arena, name: str, point: str) -> None:
    """A point that was not reached kills nobody later, when nobody would count it."""
    with contextlib.suppress(OperatorError):  # one that was killed meanwhile has none armed
        await arena.arm(name, point, NEVER)


async def stop_node(ground: Ground) -> str:
    """SIGSTOP, then SIGCONT; with luck in the middle of a transaction."""
    name = ground.pick(ground.nodes())
    async with stopped(ground.pid(name)):
        await asyncio.sleep(ground.span(STOP_S))
    return name


async def freeze_node(ground: Ground) -> str:
    """A node that stands for longer than its lease, with what it was doing; when it goes on, others
    own its players."""
    name = ground.pick(ground.nodes())
    async with stopped(ground.pid(name)):
        await asyncio.sleep(ground.span(FREEZE_S))
    return name


async def starve_node(ground: Ground) -> str:
    """A node that gets the processor a fifth of the time, in small pieces."""
    name = ground.pick(ground.nodes())
    pid, until = ground.pid(name), time.monotonic() + ground.span(STOP_S)
    while time.monotonic() < until:
        async with stopped(pid):
            await asyncio.sleep(4 * STARVED_S)
        await asyncio.sleep(STARVED_S)
    return name


async def no_descriptors(ground: Ground) -> str:
    """A node may open nothing more, no connection and no file, but in the place of what it
    closes."""
    name = ground.pick(ground.nodes())
    pid = ground.pid(name)
    async with limited(pid, resource.RLIMIT_NOFILE, lowest_free(pid)):
        await asyncio.sleep(ground.span(DISK_S))
    return name


async def clock_jump(ground: Ground) -> str:
    """The clock of a node is set ahead or back, within what servers forgive, and set right."""
    name = ground.pick(ground.nodes())
    offset_ms = ground.rng.randint(-CLOCK_MS, CLOCK_MS)
    try:
        before_ms = await ground.arena.set_clock(name, offset_ms)
    except OperatorError as refusal:
        raise LookupError(str(refusal)) from refusal
    await asyncio.sleep(ground.span(LINE_S))
    with contextlib.suppress(OperatorError):  # one that was killed meanwhile begins anew
        await ground.arena.set_clock(name, before_ms)
    return f"{name} by {offset_ms} ms"


async def kill_redis_primary(ground: Ground) -> str:
    """kill -9: a replica takes over, or the same server comes back first."""
    name = ground.pick(await ground.primaries())
    await ground.kill(name)
    return name


async def kill_redis_replica(ground: Ground) -> str:
    """kill -9 of one that only copies."""
    name = ground.pick(await ground.primaries(replicas=True))
    await ground.kill(name)
    return name


def _stop_redis(replicas: bool) -> Fault:
    async def fault(ground: Ground) -> str:
        name = ground.pick(await ground.primaries(replicas=replicas))
        async with stopped(ground.pid(name)):
            await asyncio.sleep(ground.span(STOP_S))
        return name

    kind = "replica" if replicas else "primary"
    fault.__doc__ = f"A {kind} of Redis that hangs: worse than one that is dead."
    return fault


async def flush_redis(ground: Ground) -> str:
    """FLUSHALL on every primary."""
    try:
        wiped = await asyncio.to_thread(Stores(ground.arena).wipe)
    except (OSError, *OF_DRIVERS) as error:
        raise Uncertain(f"some primaries may be wiped: {error}") from error
    return f"{wiped} primaries"


async def failover_redis(ground: Ground) -> str:
    """A replica takes its primary's place by force, without asking it for what is missing."""
    name = ground.pick(await ground.primaries(replicas=True))

    def force() -> None:
        with ground.redis(name) as connection:
            try:
                connection.ask("CLUSTER", "FAILOVER", "FORCE")
            except OSError as error:
                raise Uncertain(f"{name} did not answer: {error}") from error

    try:
        await asyncio.to_thread(force)
    except (OSError, RedisAnswerError) as error:
        raise LookupError(str(error)) from error
    return name


async def move_slot(ground: Ground) -> str:
    """The slot of some player moves to another primary, with all its keys."""
    primaries = await ground.primaries()
    users = sorted(await asyncio.to_thread(Stores(ground.arena).heads))
    if len(primaries) < 2 or not users:
        raise LookupError("no slot could move now")
    ground.rng.shuffle(primaries)
    key = f"{{u:{ground.rng.choice(users)}}}:snap"
    try:
        return await asyncio.to_thread(_moved, ground, primaries, key)
    except (OSError, RedisAnswerError) as error:
        raise LookupError(str(error)) from error


def _moved(ground: Ground, primaries: list[str], key: str) -> str:
    """From whoever has it to the first of the others."""
    with contextlib.ExitStack() as opened:
        nodes = {name: opened.enter_context(ground.redis(name)) for name in primaries}
        names = {name: nodes[name].text("CLUSTER", "MYID") for name in primaries}
        anyone = nodes[primaries[0]]
        slot = int(anyone.text("CLUSTER", "KEYSLOT", key))
        rows: Any = anyone.ask("CLUSTER", "SLOTS")
        owner = next((row[2][2].decode() for row in rows if row[0] <= slot <= row[1]), "")
        source = next((name for name in primaries if names[name] == owner), "")
        if not source:  # not `StopIteration`: no future takes it out of a thread
            raise LookupError(f"slot {slot} belongs to no primary that answers")
        target = next(name for name in primaries if name != source)
        host, port = Stores(ground.arena).redis_addresses[int(target.removeprefix("redis-")) - 1]
        password = (ground.arena.home.secrets / "redis").read_text().strip()
        nodes[target].ask("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
        nodes[source].ask("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
        keys: Any = nodes[source].ask("CLUSTER", "GETKEYSINSLOT", slot, 100)
        if keys:
            words = ("AUTH", password, "KEYS", *(one.decode() for one in keys))
            nodes[source].ask("MIGRATE", host, port, "", 0, 2_000, *words)
        for node in nodes.values():
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", names[target])
    return f"slot {slot} from {source} to {target}"


async def kill_mysql(ground: Ground) -> str:
    """kill -9 of the truth; it recovers from its log."""
    await ground.kill("mysql")
    return "mysql"


async def stop_mysql(ground: Ground) -> str:
    """The truth hangs."""
    async with stopped(ground.pid("mysql")):
        await asyncio.sleep(ground.span(LOCK_S))
    return "mysql"


async def lock_rows(ground: Ground) -> str:
    """Somebody else holds what commits need: heads of some players, or their dirty marks."""
    table = ground.rng.choice(("player_head", "cache_dirty"))
    seconds = ground.rng.uniform(*LOCK_S)  # as often longer than a commit waits as not
    chance = random.Random(ground.rng.random())
    rows = await asyncio.to_thread(_held, ground.arena, table, seconds, chance)
    return f"{rows} rows of {table} for {seconds:.1f} s"


def _held(arena: Arena, table: str, seconds: float, chance: random.Random) -> int:
    rows = 0
    connection = connected(arena)
    try:
        cursor = connection.cursor()
        cursor.execute("SET SESSION idle_transaction_timeout = 0")
        cursor.execute("START TRANSACTION")
        for statement in _locking(cursor, table, chance):
            cursor.execute(statement)
            rows += len(cursor.fetchall())
        time.sleep(seconds)
        connection.rollback()
        return rows
    except mysql.connector.Error as error:
        raise (Uncertain if rows else LookupError)(str(error)) from error
    finally:
        connection.close()


def _locking(cursor: Any, table: str, chance: random.Random) -> list[str]:
    """Statements that lock the dirty marks, or the heads of some of the players who are somewhere,
    each by its key: a scan would lock all that it passes. Raises `LookupError` when nobody is
    anywhere."""
    if table == "cache_dirty":
        return ["SELECT user_id FROM cache_dirty FOR UPDATE"]
    cursor.execute("SELECT user_id FROM player_head WHERE place_number <> 0")
    users = sorted(int(row[0]) for row in cursor.fetchall())
    if not users:
        raise LookupError("no player is anywhere")
    locks = "SELECT user_id FROM player_head FORCE INDEX (PRIMARY) WHERE user_id = {} FOR UPDATE"
    return [locks.format(user) for user in chance.sample(users, min(LOCKED_MAX, len(users)))]


async def cut_mysql(ground: Ground) -> str:
    """One node cannot reach the truth, all others can: their lines are cut and dialled anew."""
    name = ground.pick(ground.nodes("channel") + ground.nodes("center"))
    await ground.door.cut(ground.pid(name), ground.span(LINE_S))
    return name


async def full_disk(ground: Ground) -> str:
    """No more bytes fit into a Redis server's files or the log of a node. Said as the largest size
    of a file that the process may write: each write of it fails."""
    kind = ground.rng.choice(("redis", "node"))
    names = await ground.primaries() if kind == "redis" else ground.nodes()
    name = ground.pick(names)
    async with limited(ground.pid(name), resource.RLIMIT_FSIZE, 1):
        await asyncio.sleep(ground.span(DISK_S))
    return name


def _line(kind: str, what: str) -> Fault:
    async def fault(ground: Ground) -> str:
        port = await ground.proxies.trouble(kind, ground.rng, ground.span(LINE_S))
        return f"port {port}"

    fault.__doc__ = f"Client lines {what}."
    return fault


MENU: dict[str, Fault] = {
    **{f"kill-{role}": _kill_role(role) for role in ("channel", "center", "login", "cash")},
    **{f"kill-{role}": _kill_role(role) for role in ("matching", "raid")},
    "kill-at-point": kill_at_point,
    "stop-node": stop_node,
    "freeze-node": freeze_node,
    "starve-node": starve_node,
    "no-descriptors": no_descriptors,
    "clock-jump": clock_jump,
    "kill-redis-primary": kill_redis_primary,
    "kill-redis-replica": kill_redis_replica,
    "stop-redis": _stop_redis(replicas=False),
    "stop-redis-replica": _stop_redis(replicas=True),
    "flush-redis": flush_redis,
    "failover-redis": failover_redis,
    "move-redis-slot": move_slot,
    "kill-mysql": kill_mysql,
    "stop-mysql": stop_mysql,
    "lock-rows": lock_rows,
    "cut-mysql": cut_mysql,
    "cut-link": cut_link,
    "cut-link-one-way": cut_link_one_way,
    "slow-link": slow_link,
    "reset-link": reset_link,
    "cut-links": cut_links,
    "cut-node": cut_off,
    "reload-storm": reload_storm,
    "disk-full": full_disk,
    "line-loss": _line("loss", "that say nothing in one direction"),
    "line-delay": _line("delay", "on which every byte comes late"),
    "line-drip": _line("drip", "on which bytes come one by one"),
    "line-reset": _line("reset", "that are reset"),
    "line-double": _line("double", "whose bytes arrive on a second connection too"),
}
"""Every fault by name, as `chaos --faults` takes it."""

GROUPS = {
    "all": tuple(MENU),
    "kills": tuple(name for name in MENU if name.startswith("kill-")),
    "nodes": (
        *("kill-channel", "kill-center", "kill-login", "kill-at-point", "stop-node"),
        *("freeze-node", "starve-node", "no-descriptors", "clock-jump"),
    ),
    "redis": tuple(name for name in MENU if name.endswith("redis") or "-redis-" in name),
    "mysql": ("kill-mysql", "stop-mysql", "lock-rows", "cut-mysql"),
    "partitions": (
        *("cut-mysql", "cut-link", "cut-link-one-way", "slow-link", "reset-link"),
        *("cut-links", "cut-node"),
    ),
    "lines": tuple(name for name in MENU if name.startswith("line-")),
}
"""Words that stand for several."""

NOT_HERE = (
    "partitions by network namespaces: the servers of one home share one with their stores; links "
    "between servers, lines to the database and those of clients are cut by doors instead",
    "a Redis server cut from its peers and not from its clients: it takes a filter of packets; one "
    "that hangs or is overruled by a failover stands in for it",
    "loss of bytes that were written and not synced: it takes a file system of its own",
    "a full disk under the database: it takes a file system of its own; a limit on the size of "
    "files ends it, since its log cannot be written, and that is `kill-mysql`",
    "both servers of a Redis shard or all of them at once: the wiped Redis stands in for it",
    "a pool of database connections that others used up, deadlocks on purpose: `lock-rows` holds "
    "what commits need",
    "promotion of a replica of the database: one home has one database",
    "a cap on memory: it takes a control group",
    "clocks an hour off: servers forgive two seconds (`token.token_leeway_s`)",
    "values of a stranger's in Redis: what Redis holds is ours alone, by its password",
    "rolling restarts and login storms: `prove rolling` and `make load` have them",
)
"""What the menu of a laboratory would have and this one says it has not."""


def chosen(words: str) -> list[str]:
    """Names of faults in a comma separated list of names and groups. Raises `KeyError`."""
    found: list[str] = []
    for word in words.split(","):
        if word not in GROUPS and word not in MENU:
            raise KeyError(word)
        found += GROUPS.get(word, (word,))
    return list(dict.fromkeys(found))
