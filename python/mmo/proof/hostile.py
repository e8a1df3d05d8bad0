"""The proof that no byte sequence of a client stops a server or touches another player.

Owns the order of the attacks and the honest player beside them. Every attack ends in a refusal or a
close that the node counted; no process restarts; the honest player notices nothing.
"""

import asyncio
import time

from mmo.client.aio import walk_alone
from mmo.client.fleet import muster, source_of
from mmo.client.hero import Hero
from mmo.client.meter import Meter
from mmo.client.protocol import frame
from mmo.client.session import arrive, ask, log_in, register, servers
from mmo.client.steps import CENTER, Walk
from mmo.proof.arena import Arena
from mmo.proof.attacks import (
    ANSWER_S,
    Attack,
    End,
    Raw,
    attacks,
    hello_frame,
    launch_all,
    reason_name,
)
from mmo.proof.forgeries import Forger
from mmo.proof.inside import misuse, numbers, odd_names
from mmo.proof.load import Hunters, close_with
from mmo.proof.verdict import Trial
from mmo.wire.messages.presence import Move, MoveOk
from mmo.wire.opcode import CloseReason, Code, Op

SOURCES_FIRST = 50_000
FRAME_UNPROVED_BYTES_MAX = 4096
GAME_ROLES = ("login", "center", "channel", "raid")
STORM, STORM_SHORT = 1000, 200
OPENED_SHARE_MIN = 0.5
"""Least share of a storm that is opened: what cannot be dialled is no storm."""

NOT_BELIEVED = frozenset(
    int(reason)
    for reason in (
        CloseReason.TOKEN_INVALID,
        CloseReason.TOKEN_EXPIRED,
        CloseReason.BAD_MESSAGE,
        CloseReason.PROTOCOL_ERROR,
        CloseReason.UNPROVED_BYTES,
        CloseReason.FRAME_TOO_LARGE,
    )
) | {0}


async def hostile_client(arena: Arena, trial: Trial, short: bool) -> None:
    """Each item of bad input against every client port, beside honest players."""
    before = (await arena.status())["nodes"]
    ports = await arena.open_ports()
    roles = {node.name: node.role for node in arena.file().nodes}
    for name, role in roles.items():
        if role in ("login", "center", "channel"):
            trial.expect(name in ports, f"{name} does not listen for clients")
    counted_before = await _closes_counted(arena, list(ports))
    honest = Hunters(arena, 2 if short else 8, seed=45)
    meter = Meter()
    try:
        await honest.begin()
        rounds = 1 if short else 3
        game = {name: ports[name] for name in ports if roles[name] in GAME_ROLES}
        attacked = [_attack_port(trial, *port, rounds, at) for at, port in enumerate(game.items())]
        closes = sum(await asyncio.gather(*attacked))
        for name in ports.keys() - game.keys():
            await _attack_strange_port(trial, name, ports[name])
        for name, address in game.items():
            await _storm(trial, name, address, STORM_SHORT if short else STORM)
        closes += await _forged_tokens(arena, trial, meter)
        await numbers(arena, trial, meter)
        await misuse(arena, trial, meter)
        await odd_names(arena, trial, meter)
        for text in meter.findings:
            trial.found(text)
        await honest.progress(len(honest.heroes))
        trial.expect(not honest.meter.lost, f"honest players lost {honest.meter.lost} connections")
        counted = await _closes_counted(arena, list(ports))
        _all_counted(trial, counted_before, counted, closes)
        trial.expect(await arena.ready_s() is not None, "the cluster is not ready afterwards")
        after = {row["name"]: row["pid"] for row in (await arena.status())["nodes"]}
        for row in before:
            now = after[row["name"]]
            trial.expect(now == row["pid"], f"{row['name']} was pid {row['pid']} and is {now}")
        await close_with(arena, trial, honest)
    finally:
        await honest.abandon()


async def _attack_port(
    trial: Trial, name: str, address: tuple[str, int], rounds: int, place: int
) -> int:
    """All attacks without a token on one port. Returns how many ended in a close."""
    rows: list[Attack] = []
    for seed in range(rounds):
        rows += attacks(seed, FRAME_UNPROVED_BYTES_MAX)
    ends = await launch_all(
        rows, address, lambda index: source_of(SOURCES_FIRST + place * 1000 + index)
    )
    closes = 0
    for attack, end in ends:
        if isinstance(end, str):
            trial.found(f"{name}: {attack.name}: {end}")
            continue
        trial.expect(attack.judge(end), f"{name}: {attack.name}: {end}")
        closes += end.closed
    trial.tried(f"{len(rows)} attacks without a token on {name}")
    return closes


async def _attack_strange_port(trial: Trial, name: str, address: tuple[str, int]) -> None:
    """A port that speaks another protocol (payment notices): bytes that are none of it end in a
    close; the process lives, which is checked at the end."""
    rows = [
        row for row in attacks(0, FRAME_UNPROVED_BYTES_MAX) if not row.answers and not row.waits
    ]
    ends = await launch_all(rows, address, lambda index: source_of(SOURCES_FIRST + 9000 + index))
    for attack, end in ends:
        if isinstance(end, str):
            trial.found(f"{name}: {attack.name}: {end}")
        else:
            trial.expect(not end.frames, f"{name}: {attack.name} was answered: {end}")
    trial.tried(f"{len(rows)} attacks on {name}, which speaks another protocol")


async def _storm(trial: Trial, name: str, address: tuple[str, int], count: int) -> None:
    """Many connections opened and reset at once; the next honest greeting is answered quickly."""
    gate = asyncio.Semaphore(100)

    async def one(index: int) -> bool:
        async with gate:
            try:
                raw = await Raw.open(address, source_of(70_000 + index))
            except (OSError, TimeoutError):
                return False
            raw.writer.write(hello_frame()[: index % 40])
            raw.cut()
            return True

    opened = sum(await asyncio.gather(*(one(index) for index in range(count))))
    enough = opened >= OPENED_SHARE_MIN * count
    trial.expect(enough, f"{name}: only {opened} connections of a storm of {count} were opened")
    began = time.monotonic()
    try:
        raw = await Raw.open(address, source_of(79_999))
        raw.writer.write(hello_frame())
        end = await raw.end(ANSWER_S, 1)
        raw.cut()
        greeted = [row[0] for row in end.frames] == [Op.HELLO_OK]
    except (OSError, TimeoutError):
        greeted = False
    took = time.monotonic() - began
    trial.expect(greeted, f"{name} does not greet after a storm of {count} connections")
    trial.tried(f"a storm of {opened} connections on {name}, the next greeting took {took:.2f} s")


async def _forged_tokens(arena: Arena, trial: Trial, meter: Meter) -> int:
    """At least 200 forgeries each of a login token at the center and of a move token at a channel
    server; then the genuine one twice."""
    me = muster(arena.addresses("login"), 1, 7, meter)[0]
    await walk_alone(register(me), source_of(44_000))
    (pem,) = (path.read_bytes() for path in arena.home.secrets.glob("token-*.pem"))
    closes = 0
    for kind in ("login", "move"):
        address, token = await walk_alone(_genuine(me, kind), source_of(44_001))
        forged = Forger(token, pem, seed=7).all()
        closes += await _show_all(trial, kind, address, forged)
        # The forgeries did not spend it: the genuine token is still good, once.
        address, token = await walk_alone(_genuine(me, kind), source_of(44_002))
        first = await _show(address, token, 44_003)
        trial.expect(_admitted(first), f"the genuine {kind} token was not believed: {first}")
        again = await _show(address, token, 44_004)
        trial.expect(not _admitted(again), f"a spent {kind} token was believed")
        closes += again.closed
        trial.tried(f"{len(forged)} forgeries of a {kind} token, and a spent one: none believed")
    return closes


def _genuine(me: Hero, kind: str) -> Walk[tuple[tuple[str, int], str]]:
    if kind == "login":
        yield from log_in(me)
        assert me.center is not None
        return me.center, me.login_token
    yield from arrive(me)
    rows = yield from servers(me)
    reply = yield from ask(me, CENTER, Move(rows[0].number))
    assert isinstance(reply, MoveOk)
    return (reply.host, reply.port), reply.token


async def _show_all(
    trial: Trial, kind: str, address: tuple[str, int], forged: list[tuple[str, str]]
) -> int:
    gate = asyncio.Semaphore(16)
    closes = 0

    async def one(index: int, what: str, token: str) -> None:
        nonlocal closes
        async with gate:
            try:
                end = await _show(address, token, 45_000 + index)
            except (OSError, TimeoutError) as fault:
                trial.found(f"{kind} token, {what}: {fault}")
                return
        closes += end.closed
        refused = int(Code.TOKEN_REFUSED) in end.refusals()
        trial.expect(
            not _admitted(end) and (refused or (end.closed and end.reason in NOT_BELIEVED)),
            f"{kind} token, {what}: {end}",
        )

    await asyncio.gather(*(one(at, what, text) for at, (what, text) in enumerate(forged)))
    return closes


async def _show(address: tuple[str, int], token: str, index: int) -> End:
    raw = await Raw.open(address, source_of(index))
    try:
        raw.writer.write(hello_frame(1) + frame(Op.ENTER, 2, token.encode("utf-8", "replace")))
        return await raw.end(ANSWER_S, 2)
    finally:
        raw.cut()


def _admitted(end: End) -> bool:
    return any(opcode in (Op.WELCOME, Op.SESSION_OK) for opcode, _, _ in end.frames)


async def _closes_counted(arena: Arena, nodes: list[str]) -> dict[str, int]:
    """Closes by reason over these nodes."""
    found: dict[str, int] = {}
    for name in nodes:
        for key, value in (await arena.stats(name)).items():
            if "closed_" in key and key.endswith("_total") and isinstance(value, int):
                reason = key[key.index("closed_") + 7 : -6]
                found[reason] = found.get(reason, 0) + value
    return found


def _all_counted(trial: Trial, before: dict[str, int], now: dict[str, int], closes: int) -> None:
    """The nodes counted at least every close that an attacker saw, by reason."""
    by_reason = {key: value - before.get(key, 0) for key, value in now.items()}
    by_reason = {key: value for key, value in by_reason.items() if value}
    total = sum(by_reason.values())
    trial.expect(total >= closes, f"{closes} closes were seen, {total} were counted")
    for reason in (
        CloseReason.PROTOCOL_ERROR,
        CloseReason.FRAME_TOO_LARGE,
        CloseReason.UNKNOWN_OPCODE,
        CloseReason.FORBIDDEN_OPCODE,
        CloseReason.TOKEN_INVALID,
        CloseReason.TOKEN_EXPIRED,
        CloseReason.RATE_LIMITED,
        CloseReason.FRAME_TIMEOUT,
        CloseReason.PROVE_TIMEOUT,
    ):
        name = reason_name(reason).lower()
        trial.expect(by_reason.get(name, 0) > 0, f"no close was counted as {name}")
    trial.figure("closes_counted", by_reason)
