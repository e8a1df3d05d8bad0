"""The boards in Redis against the ranking in MySQL: whole, of the right size, score by score.

Owns the comparison; changes nothing. Apart from the audit of the books, because Redis is in no
snapshot: a score whose mark waits for its repair is not yet wrong, and a score that came between
two readings is read again. Called by `audit --cache` and after `rebuild ranking`.
"""

from collections.abc import Iterable

import msgspec

from mmo.ops.audit import Finding
from mmo.ops.audit_checks import ROWS_MAX
from mmo.store import ranking
from mmo.store.board import Board
from mmo.store.connection import Connection

CHECK = "board"
_decode_chunk = msgspec.json.Decoder(list[tuple[int, str]]).decode


async def boards(connection: Connection, board: Board) -> list[Finding]:
    """What is wrong with the boards of all seasons."""
    found: list[Finding] = []
    for season, epoch in sorted((await ranking.boards(connection)).items()):
        found += await board_of(connection, board, season, epoch)
    return found


async def board_of(connection: Connection, board: Board, season: int, epoch: int) -> list[Finding]:
    """What is wrong with the board of one season that MySQL names by `epoch`."""
    state = await board.state(season)
    if state is None:
        return [Finding(CHECK, 0, f"season {season}: Redis does not answer")]
    if not epoch or state[0] != epoch:
        return [Finding(CHECK, 0, f"season {season}: the board is not whole")]
    suspects: list[int] = []
    after = 0
    while True:
        count, after, text = await ranking.chunk(connection, season, after)
        if not count:
            break
        kept = {int(member): -order for order, member in _decode_chunk(text)}
        suspects += await _different(board, season, kept)
    found = list(await _judged(connection, board, season, suspects))
    scores, marks = await ranking.sizes(connection, season)
    if not state[1] <= scores <= state[1] + marks:
        text = f"season {season}: the board has {state[1]} places, the ranking {scores}"
        found.append(Finding(CHECK, 0, text))
    return found


async def _different(board: Board, season: int, kept: dict[int, int]) -> list[int]:
    held = await board.scores(season, list(kept))
    if held is None:
        return list(kept)
    return [user for user, now in zip(kept, held, strict=True) if now != kept[user]]


async def _judged(
    connection: Connection, board: Board, season: int, suspects: list[int]
) -> Iterable[Finding]:
    """Suspects that stay wrong at a second look: Redis first, so that it can only be behind."""
    found = []
    for first in range(0, len(suspects), ranking.CHUNK_SCORES):
        users = suspects[first : first + ranking.CHUNK_SCORES]
        held = await board.scores(season, users)
        if held is None:
            return [Finding(CHECK, 0, f"season {season}: the board stopped answering")]
        marked = dict(await ranking.marked(connection, season))
        kept = await ranking.scores_of(connection, season, users)
        for user, now in zip(users, held, strict=True):
            score = kept.get(user, 0)
            if now > score or (now < score and user not in marked):
                text = f"season {season}: the board says {now}, the ranking {score}"
                found.append(Finding(CHECK, user, text))
    if len(found) > ROWS_MAX:
        more = Finding(CHECK, 0, f"more than {ROWS_MAX} places; the first are told")
        return [*found[:ROWS_MAX], more]
    return found
