"""The ranking: which board a question reads, and what is answered."""

from typing import Any

import msgspec
import pytest
from tests.systems.game import CENTER, CONTENT, Game, assert_refused, done

from mmo.contract import RankingEntry, RankingView, Sender
from mmo.edges import ranking as edge
from mmo.systems.ranking import ranking_read
from mmo.wire.messages.ranking import (
    RankingAround,
    RankingFriends,
    RankingOk,
    RankingPage,
    RankingRead,
    RankingRow,
)
from mmo.wire.opcode import Code

SENDER = Sender(5, 7, 1)
RUNNING = CONTENT.ranking.seasons[1]
LIMITED = msgspec.structs.replace(
    CONTENT, ranking=msgspec.structs.replace(
        CONTENT.ranking, page_rows_max=10, around_rows_max=4, friends_max=3
    )
)  # fmt: skip


class Board:
    """The outside with one board; remembers what it was asked."""

    def __init__(self, now_ms: int = RUNNING.begins_ms) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.content = LIMITED
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    async def ranking_page(self, *asked: Any) -> RankingView:
        return self._view("page", *asked)

    async def ranking_around(self, *asked: Any) -> RankingView:
        return self._view("around", *asked)

    async def ranking_of(self, *asked: Any) -> RankingView:
        return self._view("of", *asked)

    def _view(self, *asked: Any) -> RankingView:
        self.asked.append(asked)
        return RankingView(asked[1], 9, 2, 40, (RankingEntry(1, 8, "Ann", 70_000),))


async def test_page_when_asked_then_the_running_season_is_read_and_answered() -> None:
    board: Any = Board()
    read = await edge.page(RankingPage(start=4), board, SENDER)
    assert board.asked == [("page", 1, 7, 4, 3)]
    answer = done(ranking_read(read, env=Game("center", CENTER).env(7)))
    assert answer.replies == (RankingOk(1, 9, 2, 40, [RankingRow(1, 8, "Ann", 70_000)]),)
    assert not answer.changes


async def test_questions_when_too_large_then_get_as_much_as_the_content_allows() -> None:
    board: Any = Board()
    await edge.page(RankingPage(1, 100), board, SENDER)
    await edge.around(RankingAround(50), board, SENDER)
    await edge.friends(RankingFriends([0, -1, 2**63, 4, 3, 2, 1]), board, SENDER)
    assert board.asked == [("page", 1, 7, 1, 10), ("around", 1, 7, 4), ("of", 1, 7, [4, 3, 2])]


@pytest.mark.parametrize("season", [-1, 2, 2**64 - 1])
async def test_season_when_unknown_then_nothing_is_read_and_it_is_refused(season: int) -> None:
    board: Any = Board()
    env = Game("center", CENTER).env(7)
    for read in (
        await edge.page(RankingPage(1, 3, season), board, SENDER),
        await edge.around(RankingAround(1, season), board, SENDER),
        await edge.friends(RankingFriends([1], season), board, SENDER),
    ):
        assert_refused(ranking_read(read, env=env), Code.RANKING_SEASON_UNKNOWN)
    assert board.asked == []


async def test_season_when_none_runs_then_only_named_ones_are_answered() -> None:
    board: Any = Board(now_ms=RUNNING.ends_ms)
    env = Game("center", CENTER).env(7)
    read = await edge.page(RankingPage(1), board, SENDER)
    assert_refused(ranking_read(read, env=env), Code.RANKING_SEASON_UNKNOWN)
    read = await edge.page(RankingPage(1, 3, 1), board, SENDER)
    assert done(ranking_read(read, env=env)).replies
    assert board.asked == [("page", 1, 7, 1, 3)]


def test_answer_when_a_score_needs_more_than_16_bit_then_is_whole() -> None:
    rows = [RankingRow(1, 8, "Ann", 2**53 - 1)]
    read = RankingRead(1, 1, 0, 0, rows)
    (reply,) = done(ranking_read(read, env=Game("center", CENTER).env(7))).replies
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(reply), type=RankingOk).rows == rows
