"""Players on a whole cluster: what Redis shows of them, what a login or a lost connection changes.

Owns the questions only; judges by real clients, by Redis and by the counters of the nodes.
"""

import asyncio
import re
from typing import Any

import msgspec
import pytest
from tests.cluster.seen import details, hero_of, redis_of, until

from mmo.client.aio import Connection
from mmo.client.hero import Hero
from mmo.client.hunting import choose_channel, hunt_while, settle
from mmo.client.session import arrive, lobby, log_out, register
from mmo.client.steps import GAME, Walk
from mmo.proof.arena import Arena
from mmo.state.player import Snapshot
from mmo.wire.messages.session import Hello, HelloOk
from mmo.wire.opcode import PROTOCOL_NUMBER, CloseReason

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


def grown(me: Hero) -> Walk[None]:
    """A new player who hunts until his second level."""
    yield from register(me)
    yield from arrive(me)
    yield from settle(me)
    yield from choose_channel(me)
    yield from hunt_while(me, lambda: me.record.level < 2)


async def test_a_player_is_seen_online_in_redis_and_offline_after_leaving(arena: Arena) -> None:
    me, shell = hero_of(arena, 7002)
    redis = redis_of(arena)
    try:
        await shell.walk(register(me))
        told = await shell.walk(arrive(me))
        key = f"{{u:{told.user}}}:online"

        async def shown(word: bytes) -> bool:
            value = await asyncio.to_thread(redis.get, key)
            return value is not None and word in value

        assert await until(lambda: shown(b"online"))
        await shell.walk(log_out(me))

        async def gone() -> bool:
            value = await asyncio.to_thread(redis.get, key)
            return value is None or b"offline" in value

        assert await until(gone)
    finally:
        shell.cut_all()
        redis.close()


async def test_a_new_level_is_in_redis_at_once_and_the_cache_may_be_dropped(arena: Arena) -> None:
    me, shell = hero_of(arena, 7003)
    redis = redis_of(arena)
    try:
        await shell.walk(register(me))
        told = await shell.walk(arrive(me))
        await shell.walk(settle(me))
        await shell.walk(choose_channel(me))
        await shell.walk(hunt_while(me, lambda: me.record.level < 2))
        key = f"{{u:{told.user}}}:snap"

        async def same() -> bool:
            blob = await asyncio.to_thread(redis.hget, key, "blob")
            if not isinstance(blob, bytes):
                return False
            user, snapshot = msgspec.msgpack.decode(blob, type=tuple[int, Snapshot])
            return user == told.user and snapshot.level == me.record.level

        assert await until(same)
        assert redis.ttl(key) > 0
    finally:
        shell.cut_all()
        redis.close()


async def test_the_login_before_this_one_is_told(arena: Arena) -> None:
    me, shell = hero_of(arena, 7004)
    try:
        await shell.walk(register(me))
        first = await shell.walk(arrive(me))
        await shell.walk(log_out(me))
        second = await shell.walk(arrive(me))
    finally:
        shell.cut_all()
    assert first.last_login_ms == 0
    assert 0 < second.last_login_ms <= second.now_ms


async def test_a_level_gained_in_a_channel_is_told_by_the_center(arena: Arena) -> None:
    me, shell = hero_of(arena, 7010)
    try:
        await shell.walk(grown(me))
        told = await shell.walk(lobby(me))
        assert (told.level, told.exp) == (me.record.level, me.record.exp)
        await shell.walk(log_out(me))
    finally:
        shell.cut_all()


async def test_a_login_during_play_changes_nothing_he_owns_and_ends_the_older(
    arena: Arena,
) -> None:
    me, shell = hero_of(arena, 7011)
    again, other = hero_of(arena, 7011)
    try:
        await shell.walk(grown(me))
        again.name, again.password = me.name, me.password
        told = await other.walk(arrive(again))
        assert (told.level, told.gold) == (me.record.level, me.record.gold)
        assert me.record.compare(told) == []
        reason = await shell.lanes[GAME].ended(10.0)
        assert reason in {CloseReason.SESSION_TAKEN, CloseReason.NODE_FENCED}
        await other.walk(log_out(again))
    finally:
        shell.cut_all()
        other.cut_all()


async def test_no_key_of_a_player_can_be_one_of_a_server(arena: Arena) -> None:
    redis = redis_of(arena)
    try:
        keys = await asyncio.to_thread(lambda: list(redis.scan_iter(count=1000)))
    finally:
        redis.close()
    assert keys
    strange = [key for key in keys if not re.fullmatch(rb"\{u:\d+\}:[a-z]+", key)]
    assert not strange


@pytest.mark.parametrize("name", ["login-1", "center-1", "channel-1"])
async def test_hundreds_come_and_go_and_nothing_of_them_stays(arena: Arena, name: str) -> None:
    """No client is at the node while a count is taken: those of the tests before, and the dials of
    `open_ports` itself, are still ending when it begins."""
    host, port = (await arena.open_ports())[name]

    async def empty() -> bool:
        return bool((await arena.stats(name))["core_connections"] == 0)

    assert await until(empty)
    for _ in range(3):
        crowd = [await Connection.open(host, port, name=name) for _ in range(200)]
        answers = [await one.ask(Hello(PROTOCOL_NUMBER)) for one in crowd]
        assert all(isinstance(answer, HelloOk) for answer in answers)
        assert (await arena.stats(name))["core_connections"] == len(crowd)
        for one in crowd:
            one.cut()
        assert await until(empty)
    assert (await details(arena, name))["ready"]


async def test_the_books_are_balanced_while_players_hunt(arena: Arena) -> None:
    async def audits() -> list[Any]:
        return [await arena.command("audit") for _ in range(4)]

    hunt = ("bot", "--journey", "hunter", "--count", "6", "--for", "4s", "--seed", "9")
    told, reports = await asyncio.gather(arena.command(*hunt, deadline_s=90), audits())
    assert told["errors"] == 0 and told["actions"] > 0
    assert all(report["balanced"] for report in reports), reports
    assert reports[0]["ledger_lines"] <= reports[-1]["ledger_lines"]
    last = await arena.command("audit")
    assert last["balanced"] and last["ledger_lines"] > reports[0]["ledger_lines"]
