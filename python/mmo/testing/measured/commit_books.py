"""Players, prepared transactions and books of the commit bench, in a real database.

Owns the schema of a throw-away database, the accounts in it, and the exact rows that the node would
write for them, as a script for `mmo-bench database-floor`: the texts are the store's own constants,
the parameters are made by the store's own row builder. Run as a process by `bench commit`.
"""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec

from mmo.state.bag import Bag
from mmo.state.growth import ExpGained, Growth
from mmo.state.player import Head, OperationBook, Player
from mmo.state.score import Score
from mmo.state.wallet import Wallet
from mmo.store import PlayerCommit, migrate
from mmo.store import statements as sql
from mmo.store.connection import Connection, Statement
from mmo.store.ledger import GroupRows
from mmo.store.settings import StoreSettings
from mmo.testing.measured.grow import GROW, GROW_OK, GrowOk
from mmo.testing.measured.settings import SERVER_NUMBER
from mmo.wire.codec import encode

SESSION_EPOCH = 1
PASS_MARK = 7_000_000_000_000  # stands for the number of the pass in a prepared parameter
SCRIPT_STATEMENTS = (sql.LOCK_HEADS, sql.MOVE_HEADS, sql.ADD_EVENTS, sql.MARK_DIRTY)

ADD_ACCOUNTS = Statement(
    "INSERT INTO account (user_id, name, password_hash, created_ms)"
    " SELECT seq, CONCAT('p', seq), '', 0 FROM seq_1_to_1000000 WHERE seq <= %s"
)
ADD_HEADS = Statement(
    "INSERT INTO player_head (user_id, session_epoch, place_number, place_epoch)"
    f" SELECT user_id, {SESSION_EPOCH}, {SERVER_NUMBER}, 1 FROM account"
)
READ_BOOKS = Statement(
    "SELECT CAST(SUM(h.exp) AS SIGNED), CAST(SUM(h.version) AS SIGNED),"
    " (SELECT COUNT(*) FROM event_log e WHERE e.user_id BETWEEN %s AND %s)"
    " FROM player_head h WHERE h.user_id BETWEEN %s AND %s"
)


async def prepare(settings: StoreSettings, players: int) -> dict[str, Any]:
    """The schema and the players 1..`players`, owned by the measured server."""
    await migrate.apply(settings)
    connection = await Connection.open(settings, 0.0)
    await connection.begin()
    await connection.execute(ADD_ACCOUNTS, players)
    heads = await connection.execute(ADD_HEADS)
    await connection.commit()
    await connection.close()
    return {"players": heads}


async def books(settings: StoreSettings, first: int, count: int) -> dict[str, Any]:
    """Sums over the players `first` and the following: points, versions, events."""
    connection = await Connection.open(settings, 0.0)
    last = first + count - 1
    row = await connection.row(READ_BOOKS, first, last, first, last)
    await connection.close()
    assert row is not None
    return {"exp": int(row[0]), "versions": int(row[1]), "events": int(row[2])}


def script(first: int, count: int, group: int, lanes: int) -> dict[str, Any]:
    """Transactions of `group` players each over the same players, shared out to `lanes`."""
    users = list(range(first, first + count))
    chunks = [users[at : at + group] for at in range(0, count, group)]
    transactions = [transaction(chunk) for chunk in chunks]
    return {
        "statements": [statement.text.replace("%s", "?") for statement in SCRIPT_STATEMENTS],
        "lanes": [transactions[lane::lanes] for lane in range(lanes)],
    }


def transaction(users: list[int]) -> list[list[Any]]:
    """The steps of one group: statement, parameter, rows that must be touched."""
    rows = GroupRows([member(user) for user in users])
    parameters = (
        (msgspec.json.encode(users), 1),
        (msgspec.json.encode(rows.heads), len(users)),
        (msgspec.json.encode(rows.events), len(users)),
        (msgspec.json.encode(rows.dirty), None),
    )
    return [
        [number, marked(parameter.decode()), touched]
        for number, (parameter, touched) in enumerate(parameters)
    ]


def marked(parameter: str) -> str:
    """The parameter with the pass where its numbers stand."""
    return parameter.replace(str(PASS_MARK + 1), "$pass+1$").replace(str(PASS_MARK), "$pass$")


def member(user: int) -> PlayerCommit:
    """What the node would commit for one request of `user`."""
    head = Head(user, f"p{user}", PASS_MARK, SESSION_EPOCH, SERVER_NUMBER, 2)
    player = Player(head, Growth(1, 1), Wallet(), Bag(), Score(), OperationBook())
    return PlayerCommit(
        player=player,
        operation=(SESSION_EPOCH, PASS_MARK + 1),
        kind=int(GROW),
        request_hash=bytes(8),
        answer_opcode=int(GROW_OK),
        answer=encode(GrowOk(1, 1)),
        changes=(ExpGained(gained=1, level=1, exp=1),),
        generation=1,
        now_ms=1_700_000_000_000,
    )


def main() -> None:
    """Command line of the process; prints one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("act", choices=("prepare", "books", "script"))
    parser.add_argument("--store", type=Path, required=True, help="StoreSettings as JSON")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--players", type=int, required=True)
    parser.add_argument("--group", type=int, default=1)
    parser.add_argument("--lanes", type=int, default=1)
    given = parser.parse_args()
    settings = msgspec.json.decode(given.store.read_bytes(), type=StoreSettings)
    if given.act == "prepare":
        found = asyncio.run(prepare(settings, given.players))
    elif given.act == "books":
        found = asyncio.run(books(settings, given.first, given.players))
    else:
        found = script(given.first, given.players, given.group, given.lanes)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
