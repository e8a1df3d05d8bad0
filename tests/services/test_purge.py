"""The purge against a real MariaDB: what goes, what stays, and that nothing is ever done again."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
from tests.conftest import settings_for
from tests.contract.stores import commit_of, gold, loaded

from mmo.cluster.mysql_server import ManagedMysql
from mmo.content import load_content
from mmo.node.operations import Judged, judge
from mmo.ops import purge as module
from mmo.ops.audit import audit, known_of
from mmo.ops.purge import Purged, purge
from mmo.ops.rebuild import LogIncomplete, read_log, replay
from mmo.ops.restore import restoration
from mmo.state.bag import Item, ItemBorn
from mmo.state.place import AccountRegistered, Claim, SessionOpened
from mmo.state.player import Player
from mmo.state.wallet import Account
from mmo.store import Verdict
from mmo.store.connection import Statement
from mmo.store.durable import DurableStore
from mmo.store.loading import snapshot_of
from mmo.wire.opcode import Code

pytestmark = pytest.mark.services

DAY_MS = 86_400_000
CENTER = 2
_names = itertools.count(1)
_NOW = Statement("SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)")
_LINES = Statement("""
    SELECT version, operation_epoch FROM event_log WHERE user_id = %s ORDER BY version
""")
_KEEP = Statement("CREATE TABLE kept AS SELECT * FROM event_log WHERE user_id = %s AND version > 2")
_PUT_BACK = Statement("INSERT IGNORE INTO event_log SELECT * FROM kept")
_FORGET = Statement("DROP TABLE kept")
_LIE = Statement("UPDATE ledger SET amount = amount + 1 WHERE user_id = %s AND version = 1")
_MEND = Statement("UPDATE ledger SET amount = amount - 1 WHERE user_id = %s AND version = 1")


@pytest.fixture
async def store(
    mysql_server: ManagedMysql, fresh_database: Callable[..., str]
) -> AsyncIterator[DurableStore]:
    """A store without Redis, the log is MySQL's, in a database of its own: a purge is of all."""
    opened = await DurableStore.open(settings_for(mysql_server, None, fresh_database()))
    yield opened
    await opened.close()


async def now_ms(store: DurableStore) -> int:
    """The clock of the database."""
    async with store.pool.take() as connection:
        return int((await connection.rows(_NOW))[0][0])


async def logged_in(store: DurableStore, name: str) -> Player:
    """The account's next session, at a center."""
    known = await store.credentials(name)
    assert known is not None
    epoch = known.session_epoch
    assert await store.write(SessionOpened(known.user, epoch, CENTER, f"jti-{epoch}", 2**50, 1))
    claimed = await store.claim(Claim(known.user, epoch + 1, CENTER, f"jti-{epoch}", now_ms=1))
    assert claimed is not None and claimed.player is not None
    return claimed.player


async def did(
    store: DurableStore, player: Player, age_ms: int, counter: int, epoch: int | None = None
) -> Player:
    """The player after an operation of so long ago; he earns ten gold."""
    at_ms = await now_ms(store) - age_ms
    operation = (player.head.session_epoch if epoch is None else epoch, counter)
    changes: tuple[object, ...] = (gold(10),)
    if not player.bag.items():
        stone = Item(player.user << 16, 1, 0, 1, 1)
        changes = (gold(10), ItemBorn(stone, Account.MINT_HUNT))
    commit = commit_of(player, *changes, op=operation)  # type: ignore[arg-type]
    commit = msgspec.structs.replace(commit, now_ms=at_ms)
    verdict = Verdict.LOCKED
    while verdict is Verdict.LOCKED:  # the purge holds his row for a moment, as his server waits
        (verdict,) = await store.commit([commit])
    assert verdict is Verdict.COMMITTED
    return await loaded(store, player.user)


async def newcomer(store: DurableStore) -> Player:
    """In his first session."""
    name = f"veteran-{next(_names)}"
    assert await store.write(AccountRegistered(name, "$hash", 1))
    return await logged_in(store, name)


async def veteran(store: DurableStore) -> Player:
    """Two old sessions of two operations each, one of yesterday, and the present one."""
    player = await newcomer(store)
    for session, age_days in enumerate((100, 95, 1)):
        for counter in (1, 2):
            player = await did(store, player, age_days * DAY_MS - counter, counter)
        assert player.head.session_epoch == session + 1
        player = await logged_in(store, player.head.name)
    return player


async def lines(store: DurableStore, user: int) -> list[tuple[int, int]]:
    """(version, epoch) of every line that is kept."""
    async with store.pool.take() as connection:
        return [(int(v), int(e)) for v, e in await connection.rows(_LINES, user)]


async def purged(store: DurableStore, days: float = 90, *, dry_run: bool = False) -> Purged:
    """The command's work."""
    return await purge(store.pool, round(days * DAY_MS), dry_run=dry_run)


async def balanced(store: DurableStore) -> bool:
    """Whether the audit finds nothing in the whole database."""
    report = await audit(store.pool, known_of(load_content(), (CENTER,)))
    assert not report.findings, report.findings
    return report.balanced


async def test_old_sessions_go_and_what_is_left_is_whole(store: DurableStore) -> None:
    player = await veteran(store)
    told = await purged(store)
    assert (told.purged, told.lines, told.busy, told.findings) == (1, 4, 0, [])
    assert await lines(store, player.user) == [(5, 3), (6, 3)]
    after = await loaded(store, player.user)
    assert snapshot_of(after) == snapshot_of(player)
    assert after.head.operation_floor_epoch == 3
    async with store.pool.take() as connection:
        log = await read_log(connection, player.user)
    assert snapshot_of(replay(player.user, log)) == snapshot_of(player)
    assert await balanced(store)
    again = await purged(store)
    assert (again.purged, again.lines) == (0, 0)


async def test_ids_of_purged_sessions_are_refused_and_younger_ones_answered(
    store: DurableStore,
) -> None:
    player = await veteran(store)
    await purged(store)
    after = await loaded(store, player.user)
    asked = commit_of(player).request_hash
    for epoch, counter in ((1, 1), (1, 2), (2, 1), (2, 2), (1, 99)):
        assert judge(after, (epoch, counter), asked) is Code.OPERATION_EXPIRED
    assert await store.find_operation(player.user, 1, 1) is None
    kept = judge(after, (3, 2), asked)
    assert not isinstance(kept, Code | Judged) and kept.answer == commit_of(player).answer
    assert judge(after, (4, 1), asked) is Judged.NEW


async def test_a_server_that_loaded_him_before_cannot_do_it_again(store: DurableStore) -> None:
    """Its memory knows nothing of the floor; the commit does."""
    player = await veteran(store)
    await purged(store)
    before = await lines(store, player.user)
    for operation in ((1, 1), (2, 2), (2, 99)):
        assert await store.commit([commit_of(player, gold(5), op=operation)]) == [Verdict.STALE]
    assert await lines(store, player.user) == before
    assert await store.commit([commit_of(player, gold(5), op=(4, 1))]) == [Verdict.COMMITTED]
    assert await balanced(store)


async def test_a_dry_run_counts_and_changes_nothing(store: DurableStore) -> None:
    player = await veteran(store)
    before = await lines(store, player.user)
    told = await purged(store, dry_run=True)
    assert (told.purged, told.lines, told.dry_run) == (1, 4, True)
    assert await lines(store, player.user) == before
    assert (await loaded(store, player.user)).head.operation_floor_epoch == 0
    assert (await purged(store)).lines == told.lines


async def test_nothing_of_the_present_session_and_never_the_last_version_goes(
    store: DurableStore,
) -> None:
    playing = await veteran(store)
    await did(store, playing, 300 * DAY_MS, 1)
    resting = await veteran(store)
    await purged(store, days=-1)
    assert await lines(store, playing.user) == [(7, 4)]
    assert await lines(store, resting.user) == [(6, 3)]
    assert await balanced(store)


async def test_what_a_server_may_still_ask_for_stays(store: DurableStore) -> None:
    player = await veteran(store)
    player = await did(store, player, 1_000, 7, epoch=-5)
    player = await did(store, player, 500, 8, epoch=-5)
    await purged(store, days=-1)
    assert [line[0] for line in await lines(store, player.user)] == [7, 8]


async def test_a_session_with_a_young_line_stays_with_all_that_came_later(
    store: DurableStore,
) -> None:
    """An id of the second session was used yesterday for the first time: it is not closed."""
    player = await did(store, await newcomer(store), 100 * DAY_MS, 1)
    player = await did(store, await logged_in(store, player.head.name), 95 * DAY_MS, 1)
    player = await did(store, await logged_in(store, player.head.name), DAY_MS, 2, epoch=2)
    assert (await purged(store)).lines == 1
    assert await lines(store, player.user) == [(2, 2), (3, 2)]
    assert (await loaded(store, player.user)).head.operation_floor_epoch == 2


async def test_a_run_that_died_half_way_is_finished_by_the_next(store: DurableStore) -> None:
    player = await veteran(store)
    async with store.pool.take() as connection:
        await connection.execute(_KEEP, player.user)
    await purged(store)
    async with store.pool.take() as connection:
        await connection.execute(_PUT_BACK)
        await connection.execute(_FORGET)
    assert [line[0] for line in await lines(store, player.user)] == [3, 4, 5, 6]
    assert await balanced(store)
    assert (await purged(store, days=1_000)).lines == 2, "whatever its age: it is refused already"
    assert await lines(store, player.user) == [(5, 3), (6, 3)]
    assert await balanced(store)


async def test_many_lines_go_in_steps(store: DurableStore, monkeypatch: pytest.MonkeyPatch) -> None:
    player = await veteran(store)
    monkeypatch.setattr(module, "LINES_MAX", 1)
    monkeypatch.setattr(module, "PAGE_PLAYERS", 1)
    told = await purged(store)
    assert (told.purged, told.lines) == (1, 4)
    assert await lines(store, player.user) == [(5, 3), (6, 3)]
    assert await balanced(store)


async def test_a_log_that_disagrees_with_the_ledger_is_left_as_it_is(store: DurableStore) -> None:
    player = await veteran(store)
    before = await lines(store, player.user)
    async with store.pool.take() as connection:
        await connection.execute(_LIE, player.user)
    told = await purged(store)
    assert told.lines == 0 and f"user {player.user}: log and ledger differ" in told.findings[0]
    assert await lines(store, player.user) == before
    async with store.pool.take() as connection:
        await connection.execute(_MEND, player.user)
    assert (await purged(store)).lines == 4


async def test_players_who_commit_meanwhile_are_not_held_up_and_lose_nothing(
    store: DurableStore,
) -> None:
    veterans = [await veteran(store) for _ in range(3)]
    over = asyncio.Event()

    async def plays(player: Player) -> int:
        counter = 0
        while not over.is_set():
            counter += 1
            player = await did(store, player, 0, counter)
        return counter

    async def runs() -> int:
        gone = 0
        try:
            async with asyncio.timeout(30):
                while gone < 4 * len(veterans):
                    gone += (await purged(store)).lines
        finally:
            over.set()
        return gone

    *counts, gone = await asyncio.gather(*(plays(one) for one in veterans), runs())
    assert gone == 4 * len(veterans)
    for player, count in zip(veterans, counts, strict=True):
        assert count > 0 and (await loaded(store, player.user)).head.version == 6 + count
    assert await balanced(store)


async def test_a_restore_reaches_back_to_the_purge_and_says_so_beyond(store: DurableStore) -> None:
    player = await veteran(store)
    moment = await now_ms(store) - 50 * DAY_MS
    content = load_content()
    before = await restoration(store.pool, content, player.user, moment, book=False)
    await purged(store)
    after = await restoration(store.pool, content, player.user, moment, book=False)
    assert before is not None and after is not None and after.then == before.then
    with pytest.raises(LogIncomplete, match="purged up to version 4"):
        early = moment - 49 * DAY_MS
        await restoration(store.pool, content, player.user, early, book=False)
