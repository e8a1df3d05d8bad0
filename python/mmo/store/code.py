"""The one row that switches the code, the sources by hash, and the record of all generations.

Owns `code_generation`, `code_bundle` and `code_record`; never looks into a bundle. A switch is one
transaction: the row (conditional on what was in it, and on the database's clock), then who is
alive, then the record. A node that starts takes its lease first and reads the row, locked, after:
so either the switch sees the node, or the node sees the switch. Called by `durable`.
"""

from collections.abc import Sequence

from mmo.store.code_rows import CodeRecord, CodeRow, CodeSwitch, Meanwhile
from mmo.store.connection import Connection, Statement
from mmo.store.statements import NOW_MS

_ROW = f"""
    SELECT c.generation, c.bundle,
        1 + GREATEST(c.generation, (SELECT COALESCE(MAX(r.generation), 0) FROM code_record r)),
        c.rolling_from, c.canary, c.canary_number, {NOW_MS}
    FROM code_generation c WHERE c.id = 1
"""
READ = Statement(_ROW)
READ_SETTLED = Statement(_ROW + " LOCK IN SHARE MODE")
ADD_BUNDLE = Statement(f"""
    INSERT IGNORE INTO code_bundle (hash, packed, created_ms) VALUES (%s, UNHEX(%s), {NOW_MS})
""")
FORGET_BUNDLES = Statement(f"""
    DELETE b FROM code_bundle b
    LEFT JOIN (SELECT DISTINCT r.bundle FROM code_record r WHERE r.generation > %s) kept
        ON kept.bundle = b.hash
    WHERE kept.bundle IS NULL AND b.created_ms < {NOW_MS} - %s
        AND b.hash <> (SELECT c.bundle FROM code_generation c WHERE c.id = 1)
""")
BUNDLE = Statement("SELECT packed FROM code_bundle WHERE hash = %s")
NAME_FIRST = Statement("""
    UPDATE code_generation SET bundle = %s
    WHERE id = 1 AND generation = %s AND bundle = ''
""")
SWITCH = Statement(f"""
    UPDATE code_generation SET generation = %s, bundle = %s, switched_ms = {NOW_MS},
        rolling_from = %s, canary = 0, canary_number = 0
    WHERE id = 1 AND generation = %s AND rolling_from = 0
        AND (canary = 0 OR canary = (SELECT r.generation FROM code_record r
            WHERE r.generation = %s AND r.bundle = %s AND r.state = 'canary'))
        AND (%s = 0 OR {NOW_MS} <= %s)
""")
"""While a canary is tried, only its own code may become that of all: who read the row before it
began wants the same number for another."""

BEGIN_CANARY = Statement("""
    UPDATE code_generation SET canary = %s, canary_number = %s
    WHERE id = 1 AND generation = %s AND rolling_from = 0 AND canary = 0
""")
END_CANARY = Statement("""
    UPDATE code_generation SET canary = 0, canary_number = 0 WHERE id = 1 AND canary = %s
""")
TURN_ROLLING = Statement("""
    UPDATE code_generation SET generation = %s, rolling_from = %s,
        bundle = (SELECT r.bundle FROM code_record r WHERE r.generation = %s)
    WHERE id = 1 AND generation = %s AND rolling_from = %s AND rolling_from <> 0
""")
END_ROLLING = Statement("UPDATE code_generation SET rolling_from = 0 WHERE id = 1")
ALIVE = Statement(f"SELECT number, incarnation FROM node_lease WHERE until_ms > {NOW_MS}")
RECORD = Statement(f"""
    INSERT INTO code_record (generation, bundle, replaced, state, who, note, switched_ms)
    VALUES (%s, %s, %s, %s, %s, %s, {NOW_MS})
    ON DUPLICATE KEY UPDATE state = VALUES(state), switched_ms = VALUES(switched_ms)
""")
RECORD_BACK = Statement("""
    UPDATE code_record SET state = 'back', note = %s WHERE generation = %s AND state = 'canary'
""")
RECORDS = Statement("""
    SELECT generation, bundle, replaced, state, who, note, switched_ms
    FROM code_record WHERE generation <= %s ORDER BY generation DESC LIMIT %s
""")

OF_OPERATION = Statement("""
    SELECT generation FROM event_log FORCE INDEX (PRIMARY)
    WHERE user_id = %s AND operation_epoch = %s AND operation_counter = %s
""")


async def read(connection: Connection, settled: bool) -> CodeRow:
    """The row. `settled`: after every switch that is under way now."""
    if not settled:
        found = await connection.row(READ)
    else:
        await connection.begin()
        found = await connection.row(READ_SETTLED)
        await connection.rollback()
    assert found is not None, "the schema makes the row"
    return CodeRow(*found)


async def add_bundle(connection: Connection, digest: str, packed: bytes) -> None:
    """Keep sources by their hash; those that are there already stay."""
    await connection.execute(ADD_BUNDLE, digest, packed.hex())


async def forget_bundles(connection: Connection, oldest: int, unused_ms: int) -> int:
    """Remove sources that no generation from `oldest` on names and that are older than
    `unused_ms`; how many."""
    return await connection.execute(FORGET_BUNDLES, oldest - 1, unused_ms)


async def bundle(connection: Connection, digest: str) -> bytes | None:
    """Sources by their hash."""
    found = await connection.row(BUNDLE, digest)
    return None if found is None else bytes(found[0])


async def switch(
    connection: Connection, wanted: CodeSwitch, meanwhile: Meanwhile | None = None
) -> bool:
    """Change the row; False when something of it does not hold any more. All that can be written
    before `meanwhile` is: what comes after it, players wait for."""
    await connection.begin()
    if await _change(connection, wanted) != 1:
        await connection.rollback()
        return False
    await connection.execute(
        RECORD,
        *(wanted.generation, wanted.bundle, wanted.before, wanted.kind),
        *(wanted.who, wanted.note),
    )
    if meanwhile is not None:
        try:
            await meanwhile()
        except BaseException:
            await connection.rollback()
            raise
    if not await _is_complete(connection, wanted):
        await connection.rollback()
        return False
    await connection.commit()
    return True


async def _change(connection: Connection, wanted: CodeSwitch) -> int:
    if wanted.kind == "first":
        return await connection.execute(NAME_FIRST, wanted.bundle, wanted.before)
    if wanted.kind == "canary":
        values = (wanted.generation, wanted.canary_number, wanted.before)
        return await connection.execute(BEGIN_CANARY, *values)
    rolling_from = wanted.before if wanted.kind == "rolling" else 0
    return await connection.execute(
        SWITCH,
        *(wanted.generation, wanted.bundle, rolling_from, wanted.before),
        *(wanted.generation, wanted.bundle, wanted.deadline_ms, wanted.deadline_ms),
    )


async def _is_complete(connection: Connection, wanted: CodeSwitch) -> bool:
    if wanted.holders is None:
        return True
    known = set(wanted.holders)
    alive = await connection.rows(ALIVE)
    return all(
        (number, incarnation) in known or (number, 0) in known for number, incarnation in alive
    )


async def end_canary(connection: Connection, generation: int, why: str) -> bool:
    """The node goes back; False when it is no canary any more."""
    await connection.begin()
    if await connection.execute(END_CANARY, generation) != 1:
        await connection.rollback()
        return False
    await connection.execute(RECORD_BACK, why, generation)
    await connection.commit()
    return True


async def turn_rolling(connection: Connection, generation: int, back_to: int) -> bool:
    """A rolling restart from `back_to` to `generation` goes back; False when none is under way."""
    row = (back_to, generation, back_to, generation, back_to)
    return await connection.execute(TURN_ROLLING, *row) == 1


async def end_rolling(connection: Connection) -> None:
    """Every node has restarted: from now on one generation decides again."""
    await connection.execute(END_ROLLING)


async def of_operation(connection: Connection, user: int, epoch: int, counter: int) -> int:
    """The generation that decided an operation; 0: there was none of that id."""
    found = await connection.row(OF_OPERATION, user, epoch, counter)
    return 0 if found is None else int(found[0])


async def records(connection: Connection, newest: int, count_max: int) -> Sequence[CodeRecord]:
    """Generations from `newest` downwards."""
    return [CodeRecord(*row) for row in await connection.rows(RECORDS, newest, count_max)]
