"""The books of raids against a real MariaDB: what the rules wrote replays and balances, every lie
is named.

Owns a database into which a battle of the rules is written by the store's own rows; each test
plants one lie by plain SQL.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.conftest import settings_for
from tests.systems.raid_game import RAID, RaidGame

from mmo.cluster.mysql_server import ManagedMysql
from mmo.content import load_content
from mmo.ops import replay
from mmo.ops.audit import Report, audit, known_of
from mmo.ops.replay import Replayed
from mmo.store.connection import Statement
from mmo.store.mysql_pool import MysqlPool
from mmo.store.raids import WRITERS
from mmo.store.settings import StoreSettings

pytestmark = pytest.mark.services

ABORTED = RAID + 1
OPEN = RAID + 2
IN_SEASON_MS = 1_790_000_000_000  # September 2026
TABLES = (
    *("ranking_dirty", "ranking", "raid_busy", "raid_member", "raid", "reward_grant"),
    *("player_head", "account"),
)
PLAYERS = (
    "INSERT INTO account (user_id, name, password_hash, created_ms)"
    " VALUES (1, 'name1', 'x', 1), (2, 'name2', 'x', 1), (3, 'c', 'x', 1), (4, 'd', 'x', 1)",
    "INSERT INTO player_head (user_id, version, session_epoch, place_number, level)"
    " VALUES (1, 0, 1, 0, 1), (2, 0, 1, 0, 1), (3, 0, 1, 0, 1), (4, 0, 1, 0, 1)",
)
PLANTED = {
    "raid-seats": f"UPDATE raid_member SET seat = 5 WHERE raid = {RAID} AND user_id = 2",
    "raid-scored": f"UPDATE raid_member SET score = NULL WHERE raid = {RAID} AND user_id = 1",
    "raid-score": f"UPDATE raid_member SET score = score + 1 WHERE raid = {RAID} AND user_id = 2",
    "raid-reward": "DELETE FROM reward_grant WHERE user_id = 1",
    "raid-grant": f"UPDATE reward_grant SET source_id = {ABORTED} WHERE user_id = 1",
    "raid-inputs": f"UPDATE raid SET replay = CONCAT(replay, 'x') WHERE raid = {RAID}",
    "raid-busy": "DELETE FROM raid_busy WHERE user_id = 3",
    "raid-entry": f"UPDATE raid_member SET day = 20260101 WHERE raid = {ABORTED}",
    "ranking": "DELETE FROM ranking WHERE user_id = 2",
}


def battle() -> RaidGame:
    """One finished raid with blows of both, one aborted, one that waits."""
    game = RaidGame(seed=9)
    game.now_ms = IN_SEASON_MS
    game.begin(1, 2)
    for _ in range(400):
        for user in (1, 2):
            game.act(user, 1)
            game.act(user, 0)
        game.tick()
        if RAID not in game.raids.rooms:
            break
    game.reserve(3, 4, number=ABORTED)
    game.raids.rooms[ABORTED].give_up = 7
    game.tick(number=ABORTED)
    game.reserve(3, 4, number=OPEN)
    return game


class Books:
    """The database of this file."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._rows = battle().rows

    async def _prepared(self, *lies: str) -> None:
        async with MysqlPool(self._settings) as pool, pool.take() as connection:
            for name in TABLES:
                await connection.execute(Statement.verbatim(f"DELETE FROM {name}"))
            for text in PLAYERS:
                await connection.execute(Statement.verbatim(text))
            for row in self._rows:
                assert await WRITERS[type(row)](connection, row), row
            for text in lies:
                await connection.execute(Statement.verbatim(text))

    async def _asked(self, *lies: str) -> Report:
        await self._prepared(*lies)
        async with MysqlPool(self._settings) as pool:
            return await audit(pool, known_of(load_content(), (31,)))

    async def _replayed(self, raid: int, *lies: str) -> Replayed | None:
        await self._prepared(*lies)
        async with MysqlPool(self._settings) as pool, pool.take() as connection:
            return await replay.replayed(connection, raid)

    async def _finished(self) -> list[int]:
        await self._prepared()
        async with MysqlPool(self._settings) as pool, pool.take() as connection:
            return [number async for number in replay.finished(connection)]

    def checks(self, *lies: str) -> set[str]:
        """What the audit finds after these lies."""
        report = asyncio.run(self._asked(*lies))
        assert report.items["raid_results"] >= 1
        return {finding.check for finding in report.findings}

    def replayed(self, raid: int, *lies: str) -> Any:
        """The answer of a replay after these lies."""
        return asyncio.run(self._replayed(raid, *lies))

    def finished(self) -> list[int]:
        """All finished raids."""
        return asyncio.run(self._finished())


@pytest.fixture(scope="module")
def books(mysql_server: ManagedMysql, fresh_database: Callable[..., str]) -> Books:
    """A migrated database of our own."""
    return Books(settings_for(mysql_server, None, fresh_database()))


def test_books_that_the_rules_wrote_are_balanced_and_replay(books: Books) -> None:
    assert books.checks() == set()
    found = books.replayed(RAID)
    assert found.holds and not found.findings and found.ticks > 10 and found.inputs > 10
    assert [seat.score for seat in found.seats] == [seat.replayed for seat in found.seats]
    assert all(seat.score > 0 for seat in found.seats)
    assert books.finished() == [RAID]


@pytest.mark.parametrize("check", PLANTED)
def test_a_planted_lie_about_a_raid_is_found_and_named(books: Books, check: str) -> None:
    assert check in books.checks(PLANTED[check])


def test_a_tampered_score_is_named_by_replay(books: Books) -> None:
    lie = f"UPDATE raid_member SET score = score + 1 WHERE raid = {RAID} AND user_id = 2"
    found = books.replayed(RAID, lie)
    assert not found.holds
    (text,) = found.findings
    assert text.startswith("score of user 2 (name2): the books say ")
    assert found.seats[1].score == found.seats[1].replayed + 1


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        (f"UPDATE raid SET hp = hp + 3 WHERE raid = {RAID}", "hit points left"),
        (f"UPDATE raid SET seed = seed + 1 WHERE raid = {RAID}", "seed"),
        (f"UPDATE raid SET reason = 3 WHERE raid = {RAID}", "reason"),
        (f"UPDATE raid SET replay = 'x' WHERE raid = {RAID}", "cannot be run"),
        ("UPDATE reward_grant SET bundle = '' WHERE user_id = 1", "cannot be read"),
        ("DELETE FROM reward_grant WHERE user_id = 1", "reward of user 1: the books hold None"),
    ],
)
def test_other_tampering_is_named_by_replay(books: Books, lie: str, says: str) -> None:
    found = books.replayed(RAID, lie)
    assert not found.holds
    assert any(says in text for text in found.findings), found.findings


def test_raids_without_a_battle_have_nothing_to_repeat(books: Books) -> None:
    for raid, state in ((ABORTED, "aborted"), (OPEN, "open")):
        found = books.replayed(raid)
        assert found.holds and found.state == state and not found.ticks
    assert books.replayed(424_242) is None
