"""Proofs with kill -9 under load: each kind of node, MySQL, a Redis primary; and Redis wiped.

Owns the order of the blows. What must hold afterwards is `load.close_with`.
"""

import asyncio
import errno
import socket
import time
from functools import partial

from mmo.errors import OperatorError
from mmo.proof.arena import Arena
from mmo.proof.load import Hunters, close_with
from mmo.proof.stores import Stores
from mmo.proof.verdict import Trial

FAILPOINTS = (
    ("channel", "after-commit"),
    ("channel", "before-commit"),
    ("channel", "after-claim"),
    ("center", "after-row"),
    ("center", "before-row"),
    ("center", "after-claim"),
    ("login", "after-row"),
    ("login", "before-row"),
    ("channel", "before-claim"),
    ("center", "before-claim"),
)
"""Where a node dies: between the step that makes something durable and the one before or after."""

AGAIN_MAX = 2
"""More kills of the database, where it was back before a blow was answered: on a machine that
stands for half a second a quarter of a second passes unseen."""

AGREE_S = 30.0
"""How long Redis may take to repeat MySQL after the last fault (two repair rounds and a
failover)."""


async def node_killed(arena: Arena, trial: Trial, short: bool) -> None:
    """Kill -9 of each kind of node in turn under hunters: repaired, nothing acknowledged lost."""
    hunters = Hunters(arena, 12 if short else 50, seed=41, wander=True)
    try:
        await hunters.begin()
        nodes = arena.file().nodes
        kinds: dict[str, str] = {}
        for node in nodes:
            kinds.setdefault(node.role, node.name)
        victims = [kinds[role] for role in ("channel", "center", "login") if role in kinds]
        if not short:
            victims += [name for role, name in kinds.items() if name not in victims]
            victims += [n.name for n in nodes if n.role == "channel" and n.name not in victims]
        repairs = []
        for name in victims:
            took = await _kill_one(arena, trial, hunters, name)
            if took is not None:
                repairs.append(took)
        trial.figure("nodes_killed", len(victims))
        if await _may_arm(arena, trial):
            await _die_between_steps(arena, trial, hunters, FAILPOINTS[:: 3 if short else 1])
        trial.figure("repair_s_max", round(max(repairs, default=0), 2))
        await close_with(arena, trial, hunters)
    finally:
        await hunters.abandon()


async def _kill_one(arena: Arena, trial: Trial, hunters: Hunters, name: str) -> float | None:
    pid = await arena.kill_node(name)
    took = await arena.repaired_s(name, pid)
    if not trial.expect(took is not None, f"{name} was not repaired after kill -9"):
        return None
    try:
        going = await hunters.progress(len(hunters.heroes))
    except TimeoutError as late:
        trial.found(f"after {name} was killed the hunt did not go on: {late}")
        return took
    trial.tried(
        f"kill -9 {name} (pid {pid}): ready again after {took:.1f} s, "
        f"{len(hunters.heroes)} more kills {going:.1f} s later"
    )
    return took


async def _may_arm(arena: Arena, trial: Trial) -> bool:
    """Whether this cluster lets its nodes die at named points; one of a proof's own does."""
    try:
        await arena.arm("login-1", "before-row", times=1_000_000)
    except OperatorError as refusal:
        trial.expect(not arena.own, f"points could not be armed: {refusal}")
        trial.tried("this cluster does not allow its nodes to die between steps")
        return False
    return True


async def _die_between_steps(
    arena: Arena, trial: Trial, hunters: Hunters, points: tuple[tuple[str, str], ...]
) -> None:
    """Arm one point after the other: the node ends itself there, as by kill -9."""
    for role, point in points:
        name = next(node.name for node in arena.file().nodes if node.role == role)
        pid = int((await arena.node(name))["pid"])
        try:
            await arena.arm(name, point)
            await hunters.until(partial(_has_ended, pid), f"{name} reaching {point}")
            took = await arena.repaired_s(name, pid)
            going = await hunters.progress(len(hunters.heroes))
        except TimeoutError as late:
            trial.found(f"{name} killed {point}: {late}")
            continue
        trial.expect(took is not None, f"{name} was not repaired after its end {point}")
        trial.tried(
            f"{name} died {point}: ready again after {took or 0:.1f} s, "
            f"{len(hunters.heroes)} more kills {going:.1f} s later"
        )


def _has_ended(pid: int) -> bool:
    return not is_alive(pid)


def is_alive(pid: int) -> bool:
    """True while a process of this number runs (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def mysql_killed(arena: Arena, trial: Trial, short: bool) -> None:
    """Kill -9 of the database under hunters: combat goes on, nothing acknowledged is lost."""
    hunters = Hunters(arena, 30 if short else 40, seed=42)  # of few, all wait for rewards
    try:
        await hunters.begin()
        repairs: list[float] = []
        answered, rounds = 0, 1 if short else 4
        while answered < rounds and len(repairs) < rounds + AGAIN_MAX:
            pid = arena.file().processes["mysql"].pid
            await arena.kill("mysql")
            hits = await _hits_while_down(arena, hunters, pid)
            took = await arena.ready_s()
            if not trial.expect(took is not None, "the database was not repaired"):
                break
            repairs.append(took or 0.0)
            try:
                going = await hunters.progress(len(hunters.heroes))
            except TimeoutError as late:
                trial.found(f"rewards did not go on after the database came back: {late}")
                break
            trial.tried(
                f"kill -9 mysql, round {len(repairs)}: {hits} blows were answered while it was "
                f"away, all ready {took or 0:.1f} s later, rewards went on after {going:.1f} s"
            )
            answered += hits > 0
        text = f"blows were answered without a database in {answered} of {rounds} rounds"
        trial.expect(answered >= rounds, text)
        trial.figure("repair_s_max", round(max(repairs, default=0), 2))
        await close_with(arena, trial, hunters)
    finally:
        await hunters.abandon()


async def _hits_while_down(arena: Arena, hunters: Hunters, pid: int) -> int:
    """Blows that were struck from now on and answered while no database listened; returns when
    another process of it runs."""
    before = hunters.hits + sum(me.hit_open for me in hunters.heroes)  # these are on their way
    until, answered = time.monotonic() + 10, before
    while time.monotonic() < until:
        file, hits = arena.file(), hunters.hits
        process = file.processes.get("mysql")
        if process is not None and process.pid not in (0, pid):
            break
        if not _listens(file.mysql_socket):
            answered = hits  # of before this look
        await asyncio.sleep(0.02)
    return max(0, answered - before)


def _listens(path: str) -> bool:
    """Whether somebody is behind a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.setblocking(False)
        return line.connect_ex(path) in (0, errno.EAGAIN)


async def redis_primary_killed(arena: Arena, trial: Trial, short: bool) -> None:
    """Kill -9 of Redis primaries under hunters: slower reads at most, then Redis agrees again."""
    hunters = Hunters(arena, 10 if short else 40, seed=43)
    try:
        await hunters.begin()
        stores = Stores(arena)
        for round_number in range(1 if short else 3):
            primaries = await asyncio.to_thread(stores.primaries)
            if not trial.expect(len(primaries) >= 3, f"{len(primaries)} Redis primaries serve"):
                break
            name = f"redis-{primaries[round_number % len(primaries)] + 1}"
            await arena.command("kill", name)
            if not await _goes_on(trial, hunters, name):
                break
            took = await arena.ready_s()
            trial.expect(took is not None, f"{name} was not repaired")
        await _close_and_agree(arena, trial, hunters, stores)
    finally:
        await hunters.abandon()


async def redis_wiped(arena: Arena, trial: Trial, short: bool) -> None:
    """FLUSHALL on every primary in the middle of the hunt, again and again: nothing is missed."""
    hunters = Hunters(arena, 10 if short else 40, seed=44)
    try:
        await hunters.begin()
        stores = Stores(arena)
        for _ in range(2 if short else 6):
            wiped = await asyncio.to_thread(stores.wipe)
            trial.expect(wiped >= 3, f"only {wiped} primaries were wiped")
            if not await _goes_on(trial, hunters, f"a wipe of {wiped} primaries"):
                break
        await _close_and_agree(arena, trial, hunters, stores)
    finally:
        await hunters.abandon()


async def _goes_on(trial: Trial, hunters: Hunters, what: str) -> bool:
    try:
        going = await hunters.progress(2 * len(hunters.heroes))
    except TimeoutError as late:
        trial.found(f"after {what} the hunt did not go on: {late}")
        return False
    trial.tried(f"{what}: {2 * len(hunters.heroes)} more kills in {going:.1f} s")
    return True


async def _close_and_agree(arena: Arena, trial: Trial, hunters: Hunters, stores: Stores) -> None:
    await close_with(arena, trial, hunters)
    users = [me.user for me in hunters.heroes]
    compared, wrong = await asyncio.to_thread(stores.agree, users, AGREE_S)
    for text in wrong:
        trial.found(text)
    trial.expect(compared > 0, "Redis holds no snapshot of any hunter, so nothing was compared")
    trial.tried(f"{compared} of {len(users)} snapshots in Redis were compared with MySQL")
    trial.figure("snapshots_compared", compared)
