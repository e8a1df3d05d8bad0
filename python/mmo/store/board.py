"""The board of a season in Redis: a sorted set that only ever rises, and reads in one step.

Owns the keys `{rank:SEASON}…`, their scripts and what answers mean; decides nothing and reads no
MySQL. Called by `ranking_relay`. No failure leaves this file as an exception: like `redis_cluster`,
a call that could not be done says so by its result.

A score is kept as its negative, a member is the user id in 19 digits: ascending order, then the
order of members, is the order of the board (`ranking`). `ZADD LT` lets a score only get better,
whatever arrives late or twice. Beside the set a mark says that it is whole, with the epoch that
MySQL names (`ranking_board`): what is without a mark takes no scores, what has another epoch
answers nothing, so neither a wiped Redis nor one of another database is ever taken for the board.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from mmo.store.redis_cluster import RedisCache

MEMBER_DIGITS = 19
"""Of the highest BIGINT."""

FILL_LIFE_S = 600
"""A set that is being filled goes by itself when whoever fills it died."""

PUT = """
if redis.call('EXISTS', KEYS[2]) == 0 then return -1 end
for _, row in ipairs(cjson.decode(ARGV[1])) do
  redis.call('ZADD', KEYS[1], 'LT', row[1], row[2])
end
return 1
"""
FILL = """
for _, row in ipairs(cjson.decode(ARGV[1])) do redis.call('ZADD', KEYS[1], row[1], row[2]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""
SWAP = """
redis.call('DEL', KEYS[2])
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('RENAME', KEYS[1], KEYS[2])
  redis.call('PERSIST', KEYS[2])
end
redis.call('SET', KEYS[3], ARGV[1])
return 1
"""
READ = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return false end
local own = redis.call('ZRANK', KEYS[1], ARGV[2])
local found = {redis.call('ZCARD', KEYS[1]), -1, '0', 0}
if own then
  found[2] = own
  found[3] = redis.call('ZSCORE', KEYS[1], ARGV[2])
end
if ARGV[3] == 'of' then
  local rows = {}
  for index = 4, #ARGV do
    local rank = redis.call('ZRANK', KEYS[1], ARGV[index])
    if rank then
      table.insert(rows, rank)
      table.insert(rows, ARGV[index])
      table.insert(rows, redis.call('ZSCORE', KEYS[1], ARGV[index]))
    end
  end
  found[5] = rows
  return found
end
local first, last = tonumber(ARGV[4]), tonumber(ARGV[5])
if ARGV[3] == 'around' then
  if not own then
    found[5] = {}
    return found
  end
  first, last = math.max(0, own - first), own + last
end
found[4] = first
found[5] = redis.call('ZRANGE', KEYS[1], first, last, 'WITHSCORES')
return found
"""
"""One look at one moment: size, own rank (from 0, -1 none) and score, then first place and rows."""

_json = msgspec.json.Encoder().encode


class BoardView(msgspec.Struct, frozen=True):
    """What Redis answered: ranks from 1, scores as they are, no names; `own_rank` 0: none."""

    size: int
    own_rank: int
    own_score: int
    rows: tuple[tuple[int, int, int], ...]  # rank, user, score


def keys_of(season: int) -> tuple[str, str, str]:
    """Board, mark of wholeness, and the set that is being filled: all in one slot."""
    tag = f"{{rank:{season}}}"
    return f"{tag}:board", f"{tag}:whole", f"{tag}:new"


def member_of(user: int) -> str:
    """Digits whose order as text is the order of user ids."""
    return f"{user:0{MEMBER_DIGITS}d}"


class Board:
    """All boards of one Redis Cluster."""

    def __init__(self, cache: RedisCache) -> None:
        self._cache = cache

    async def put(self, season: int, scores: Sequence[tuple[int, int]]) -> bool | None:
        """Raise (user, score). True: held; False: the board is not whole and took nothing; None:
        Redis did not answer in time."""
        board, whole, _ = keys_of(season)
        rows = _json([[-score, member_of(user)] for user, score in scores])
        answer = await self._cache.ask("EVAL", PUT, 2, board, whole, rows)
        return None if answer is None else answer == 1

    async def scores(self, season: int, users: Sequence[int]) -> list[int] | None:
        """Scores held, 0 for none. None: Redis did not answer, or the board is not whole."""
        board, whole, _ = keys_of(season)
        commands = [("GET", whole), ("ZMSCORE", board, *map(member_of, users))]
        mark, held = await self._cache.many(commands)
        if not isinstance(mark, bytes) or not isinstance(held, list):
            return None
        return [0 if score is None else -_whole_number(score) for score in held]

    async def state(self, season: int) -> tuple[int, int] | None:
        """(epoch, size), 0 where there is none. None: Redis did not answer."""
        board, whole, _ = keys_of(season)
        mark, size = await self._cache.many([("GET", whole), ("ZCARD", board)])
        if isinstance(mark, Exception) or not isinstance(size, int):
            return None
        return (int(mark) if mark and mark.isdigit() else 0, size)

    async def page(
        self, season: int, epoch: int, user: int, start: int, count: int
    ) -> BoardView | None:
        """Places from `start` on. None, here and below: Redis cannot say."""
        return await self._read(season, epoch, user, "page", start - 1, start + count - 2)

    async def around(self, season: int, epoch: int, user: int, around: int) -> BoardView | None:
        """The neighbours of a user's place."""
        return await self._read(season, epoch, user, "around", around, around)

    async def of_users(
        self, season: int, epoch: int, user: int, users: Sequence[int]
    ) -> BoardView | None:
        """The named users by their places."""
        return await self._read(season, epoch, user, "of", *map(member_of, users))

    async def begin(self, season: int) -> bool:
        """The board is no longer whole: it takes no score and answers nothing until `end`."""
        _, whole, new = keys_of(season)
        return await self._all_done([("DEL", whole), ("DEL", new)])

    async def fill(self, season: int, rows: str) -> bool:
        """Add a JSON list of [negative score, member] to the set that is being filled."""
        _, _, new = keys_of(season)
        return await self._all_done([("EVAL", FILL, 1, new, rows, FILL_LIFE_S)])

    async def end(self, season: int, epoch: int) -> bool:
        """What was filled is the board now, at once and whole."""
        board, whole, new = keys_of(season)
        return await self._all_done([("EVAL", SWAP, 3, new, board, whole, epoch)])

    async def _all_done(self, commands: list[tuple[Any, ...]]) -> bool:
        answers = await self._cache.many(commands)
        return not any(isinstance(answer, Exception) for answer in answers)

    async def _read(
        self, season: int, epoch: int, user: int, how: str, *values: int | str
    ) -> BoardView | None:
        board, whole, _ = keys_of(season)
        answer = await self._cache.ask(
            "EVAL", READ, 2, board, whole, epoch, member_of(user), how, *values
        )
        if answer is None:
            return None
        size, rank, score, first, listed = answer
        if how == "of":
            triples = zip(listed[::3], listed[1::3], listed[2::3], strict=True)
            rows = tuple((r + 1, int(m), -_whole_number(s)) for r, m, s in triples)
        else:
            pairs = zip(listed[::2], listed[1::2], strict=True)
            rows = tuple(
                (first + place, int(m), -_whole_number(s)) for place, (m, s) in enumerate(pairs, 1)
            )
        return BoardView(size, rank + 1, -_whole_number(score), tuple(sorted(rows)))


def _whole_number(score: bytes | float) -> int:
    """Redis keeps doubles; scores are whole and exact below 2^53."""
    return int(float(score))
