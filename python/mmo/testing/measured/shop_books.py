"""Players, prepared transactions and books of the economy bench, in a real database.

Owns the starting wealth of the measured players and the exact rows that a node writes for one
purchase: the change comes from the shop's own rule, the rows from the store's own builder, the
texts are the store's constants. The books are proved by the product's audit. Run as a process by
the benches of the economy.
"""

import argparse
import asyncio
import json
import random
from pathlib import Path
from typing import Any

import msgspec

from mmo.content import Content, load_content
from mmo.contract import Env, NodeView, Outcome, Sender
from mmo.ops.audit import audit, known_of
from mmo.state.bag import Bag, Item
from mmo.state.growth import Growth
from mmo.state.player import Head, OperationBook, Player
from mmo.state.score import Score
from mmo.state.wallet import Account, Wallet
from mmo.store import PlayerCommit, migrate
from mmo.store import statements as sql
from mmo.store.connection import Connection, Statement
from mmo.store.ledger import GroupRows
from mmo.store.mysql_pool import MysqlPool
from mmo.store.players import WRITES
from mmo.store.settings import StoreSettings
from mmo.systems.shop import buy
from mmo.testing.measured.settings import SERVER_NUMBER
from mmo.testing.measured.shop_content import write_content
from mmo.wire.codec import encode
from mmo.wire.messages.shop import Buy
from mmo.wire.opcode import Op

SESSION_EPOCH = 1
GOLD = 1_000_000_000_000
LINE = 5  # one Small Potion for two gold: the commonest purchase, onto a stack that exists
PASS_MARK = 7_000_000_000_000  # stands for the number of the pass in a prepared parameter
MARKS_MAX = 4
EVERY = "FROM player_head WHERE version = 1 AND gold = 0"

START = (
    Statement(
        "INSERT INTO account (user_id, name, password_hash, created_ms)"
        " SELECT seq, CONCAT('p', seq), '', 0 FROM seq_1_to_1000000 WHERE seq <= %s"
    ),
    Statement(
        "INSERT INTO player_head (user_id, version, session_epoch, place_number, place_epoch)"
        f" SELECT user_id, 1, {SESSION_EPOCH}, {SERVER_NUMBER}, 1 FROM account"
    ),
    Statement(
        "INSERT INTO event_log (user_id, operation_epoch, operation_counter, version, kind,"
        " request_hash, answer_opcode, answer, changes, generation, created_ms)"
        f" SELECT user_id, 0, 1, 1, 0, '', 0, '', '', 1, 0 {EVERY}"
    ),
    Statement(
        "INSERT INTO ledger (user_id, version, line, account, currency, amount)"
        f" SELECT user_id, 1, 0, {int(Account.MINT_HUNT)}, 0, {GOLD} {EVERY}"
    ),
    Statement(
        "INSERT INTO item (user_id, uid, kind, slot, code, count)"
        f" SELECT user_id, user_id, 1, 0, 1, 1 {EVERY}"
    ),
    Statement(
        "INSERT INTO item_ledger (user_id, version, line, uid, code, kind, source, delta)"
        f" SELECT user_id, 1, 0, user_id, 1, 1, {int(Account.MINT_HUNT)}, 1 {EVERY}"
    ),
    Statement(f"UPDATE player_head SET gold = {GOLD} WHERE version = 1 AND gold = 0"),
)
READ_BOOKS = Statement(
    "SELECT CAST(SUM(h.version - 1) AS SIGNED), CAST(SUM(%s - h.gold) AS SIGNED),"
    " (SELECT CAST(SUM(i.count - 1) AS SIGNED) FROM item i WHERE i.user_id BETWEEN %s AND %s)"
    " FROM player_head h WHERE h.user_id BETWEEN %s AND %s"
)


async def prepare(settings: StoreSettings, players: int) -> dict[str, Any]:
    """The schema and the players 1..`players`, each with gold and one potion, owned by the measured
    server."""
    await migrate.apply(settings)
    connection = await Connection.open(settings, 0.0)
    await connection.begin()
    heads = 0
    for statement in START:
        heads = await connection.execute(statement, *([players] if "%s" in statement.text else ()))
    await connection.commit()
    await connection.close()
    return {"players": heads}


async def books(settings: StoreSettings, first: int, count: int) -> dict[str, Any]:
    """Of the players `first` and the following: commits, gold spent, potions bought."""
    connection = await Connection.open(settings, 0.0)
    last = first + count - 1
    row = await connection.row(READ_BOOKS, GOLD, first, last, first, last)
    await connection.close()
    assert row is not None
    return {"commits": int(row[0]), "spent": int(row[1]), "bought": int(row[2])}


async def audited(settings: StoreSettings, content: Content) -> dict[str, Any]:
    """What the product's audit says of the whole database."""
    async with MysqlPool(settings, connections_max=1) as pool:
        report = await audit(pool, known_of(content, [SERVER_NUMBER]))
    findings = [msgspec.to_builtins(finding) for finding in report.findings[:5]]
    return {"balanced": report.balanced, "lines": report.ledger_lines, "findings": findings}


def script(content: Content, first: int, count: int, group: int, lanes: int) -> dict[str, Any]:
    """Transactions of `group` purchases each, by the same players again and again, shared out to
    `lanes`."""
    users = list(range(first, first + count))
    chunks = [users[at : at + group] for at in range(0, count, group)]
    statements = [sql.LOCK_HEADS, sql.MOVE_HEADS, *(write[0] for write in WRITES), sql.MARK_DIRTY]
    made = [transaction(content, chunk) for chunk in chunks]
    return {
        "statements": [statement.text.replace("%s", "?") for statement in statements],
        "lanes": [made[lane::lanes] for lane in range(lanes)],
    }


def transaction(content: Content, users: list[int]) -> list[list[Any]]:
    """The steps of one group: statement, parameter, rows that must be touched."""
    rows = GroupRows([purchase(content, user, PASS_MARK) for user in users])
    plain = GroupRows([purchase(content, user, 0) for user in users])
    for marked_row, plain_row in zip(rows.events, plain.events, strict=True):
        marked_row[-3:] = plain_row[-3:]  # blobs hold numbers of a likely length
    lists: list[tuple[Any, int | None]] = [(users, len(users) and 1), (rows.heads, len(users))]
    lists += [(chosen(rows), len(chosen(rows))) for _, chosen in WRITES]
    lists.append((rows.dirty, None))
    return [
        [number, marked(msgspec.json.encode(listed).decode()), touched]
        for number, (listed, touched) in enumerate(lists)
        if listed
    ]


def marked(parameter: str) -> str:
    """The parameter with the pass where its numbers stand."""
    for ahead in range(MARKS_MAX + 1):
        parameter = parameter.replace(str(PASS_MARK + ahead), f"$pass+{ahead}$")
    return parameter


def purchase(content: Content, user: int, number: int) -> PlayerCommit:
    """What the node commits for the purchase after `number` others of `user`."""
    head = Head(user, f"p{user}", number + 1, SESSION_EPOCH, SERVER_NUMBER, 2)
    bag = Bag([Item(user, 1, 0, 1, number + 1)])
    player = Player(head, Growth(), Wallet(gold=GOLD), bag, Score(), OperationBook())
    asked = request(content, number + 1)
    outcome = buy(
        asked, wallet=player.wallet, bag=bag, counters={}, pass_progress={}, env=env(content, user)
    )
    assert isinstance(outcome, Outcome), f"the shop refuses: {outcome}"
    answer = outcome.replies[0]
    return PlayerCommit(
        player=player,
        operation=(SESSION_EPOCH, number + 1),
        kind=int(Op.BUY),
        request_hash=bytes(8),
        answer_opcode=int(Op.BUY_OK),
        answer=encode(answer),
        changes=tuple(outcome.changes),
        generation=1,
        now_ms=1_700_000_000_000,
    )


def request(content: Content, counter: int) -> Buy:
    """One Small Potion."""
    shop = content.shop
    return Buy((SESSION_EPOCH, counter), shop.catalogue, LINE, 1, shop.lines[LINE].price)


def env(content: Content, user: int) -> Env:
    """What the rule is handed besides the player."""
    return Env(
        now_ms=1_700_000_000_000,
        rng=random.Random(1),
        content=content,
        node=NodeView(SERVER_NUMBER, "measured", "channel", 1, 1, "127.0.0.1", 0),
        sender=Sender(1, user, 1),
        new_uid=lambda: 1,
    )


def main() -> None:
    """Command line of the process; prints one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("act", choices=("content", "prepare", "books", "script", "audit"))
    parser.add_argument("--store", type=Path, help="StoreSettings as JSON")
    parser.add_argument("--content", type=Path, required=True, help="directory of tables")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--players", type=int, default=1)
    parser.add_argument("--group", type=int, default=1)
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--lines", type=int, default=0)
    parser.add_argument("--passes", action="store_true")
    given = parser.parse_args()
    print(json.dumps(answer(given)))


def answer(given: argparse.Namespace) -> dict[str, Any]:
    """What the chosen act found."""
    if given.act == "content":
        content = write_content(given.content, given.lines, given.passes)
        pages = [len(page.body) for page in content.shop.pages]
        return {"catalogue": content.shop.catalogue, "price": 2, "pages": pages}
    content = load_content(given.content)
    if given.act == "script":
        return script(content, given.first, given.players, given.group, given.lanes)
    settings = msgspec.json.decode(given.store.read_bytes(), type=StoreSettings)
    if given.act == "prepare":
        return asyncio.run(prepare(settings, given.players))
    if given.act == "audit":
        return asyncio.run(audited(settings, content))
    return asyncio.run(books(settings, given.first, given.players))


if __name__ == "__main__":
    main()
