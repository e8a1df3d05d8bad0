"""The schema: what the files in `sql/` say, what the database has, and the way from one to the
other.

Owns the table `mmo_migration` and the lock that lets one process migrate at a time; never changes a
file and never goes back. Called by `mmo-cluster migrate` and `start`; nodes call `check` when they
open the store.

DDL cannot roll back, so one statement is one record: a file that failed half way goes on at the
statement that failed. A statement is recorded as begun, run, and recorded as done; one that was
begun by a process that died is run again and may then find its work done.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path

import msgspec

from mmo.errors import OperatorError
from mmo.store.connection import Connection, ConstraintBroken, Statement, StatementFailed
from mmo.store.settings import StoreSettings

MIGRATE_WAIT_S = 60

_TABLE = Statement("""
    CREATE TABLE IF NOT EXISTS mmo_migration (
        version    INT          NOT NULL,
        statement  INT          NOT NULL,
        name       VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        sha256     CHAR(64)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        begun_ms   BIGINT       NOT NULL,
        applied_ms BIGINT       NULL,
        PRIMARY KEY (version, statement)
    ) ENGINE = InnoDB
""")
_RECORDS = Statement("SELECT version, statement, name, sha256, applied_ms FROM mmo_migration")
_CLOCK = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)"
_BEGUN = Statement(f"""
    INSERT INTO mmo_migration (version, statement, name, sha256, begun_ms)
    VALUES (%s, %s, %s, %s, {_CLOCK})
""")
_APPLIED = Statement(f"""
    UPDATE mmo_migration SET applied_ms = {_CLOCK} WHERE version = %s AND statement = %s
""")
_TAKE_LOCK = Statement("SELECT GET_LOCK(CONCAT('mmo-migrate:', DATABASE()), %s)")
_FREE_LOCK = Statement("DO RELEASE_LOCK(CONCAT('mmo-migrate:', DATABASE()))")

_NO_SUCH_TABLE = 1146
_ALREADY_DONE = frozenset({1050, 1060, 1061, 1068, 1091, 1826})
"""Table, column, key, primary key, constraint exists; nothing to drop."""

_FILE_NAME = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")
_TOKEN = re.compile(
    r"(?P<string>'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`[^`]*`)"
    r"|(?P<comment>--[ \t][^\n]*|--\n|\#[^\n]*|/\*.*?\*/)"
    r"|(?P<end>;)",
    re.DOTALL,
)


class Step(msgspec.Struct, frozen=True):
    """One statement of one file. `notes`: its `-- mmo:` comments, shown before it is applied."""

    version: int
    number: int  # from 1 within the file
    name: str
    text: str
    notes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """What is recorded: of the statement without its comments."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def split(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The statements of a file, without comments, and the notes in each one's comments. Knows
    strings, quoted names and comments."""
    pieces: list[str] = []
    notes: list[str] = []
    position = 0

    def finished() -> tuple[str, tuple[str, ...]] | None:
        statement = "".join(pieces).strip()
        pieces.clear()
        found = tuple(notes)
        if not statement:
            return None
        notes.clear()
        return statement, found

    for token in _TOKEN.finditer(text):
        pieces.append(text[position : token.start()])
        position = token.end()
        if token["string"]:
            pieces.append(token["string"])
        elif token["comment"]:
            note = token["comment"].lstrip("-# ").strip()
            if note.startswith("mmo:"):
                notes.append(note.removeprefix("mmo:").strip())
        elif (done := finished()) is not None:
            yield done
    pieces.append(text[position:])
    if (done := finished()) is not None:
        yield done


def steps(directory: Path | None = None) -> list[Step]:
    """All statements of the package's `sql/` (or of `directory`) in order. Raises OperatorError
    E0203 for a file name that is not `0001_name.sql` or a number that comes twice."""
    source = resources.files("mmo.store") / "sql" if directory is None else directory
    found: list[Step] = []
    seen: dict[int, str] = {}
    for file in sorted(source.iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".sql"):
            continue
        match = _FILE_NAME.match(file.name)
        version = int(match[1]) if match else 0
        if not match or version in seen:
            raise OperatorError(
                "E0203",
                f"migration file {file.name} has no number of its own",
                "name it like 0003_what_it_does.sql, with the next free number",
            )
        seen[version] = file.name
        for number, (text, notes) in enumerate(split(file.read_text(encoding="utf-8")), 1):
            found.append(Step(version, number, match[2], text, notes))
    return found


def pending(wanted: Sequence[Step], records: dict[tuple[int, int], tuple[str, bool]]) -> list[Step]:
    """What is still to do. Raises OperatorError E0203 when an applied statement is not the one in
    the file any more, E0205 when the database has a migration that this code does not know."""
    known = {(step.version, step.number): step for step in wanted}
    for key, (sha256, _) in sorted(records.items()):
        step = known.get(key)
        if step is None:
            raise OperatorError(
                "E0205",
                f"the database has migration {key[0]:04} statement {key[1]}, unknown to this code",
                "run a release at least as new as the one that migrated this database",
            )
        if step.sha256 != sha256:
            raise OperatorError(
                "E0203",
                f"migration {key[0]:04}_{step.name} statement {key[1]} changed after it ran",
                "put the file back as it was and write the change as a new migration",
            )
    return [s for s in wanted if not records.get((s.version, s.number), ("", False))[1]]


async def plan(settings: StoreSettings, directory: Path | None = None) -> list[Step]:
    """The statements that `apply` would run, in order. Changes nothing."""
    connection = await Connection.open(settings, 0.0)
    try:
        return pending(steps(directory), await _records(connection))
    finally:
        await connection.close()


async def check(connection: Connection) -> None:
    """Raises OperatorError E0203 or E0205 as `pending`, E0204 when something is not applied yet."""
    left = pending(steps(), await _records(connection))
    if left:
        raise OperatorError(
            "E0204",
            f"the database lacks {len(left)} statements from {left[0].version:04} on",
            "mmo-cluster migrate apply",
        )


async def apply(
    settings: StoreSettings,
    report: Callable[[Step], None] | None = None,
    directory: Path | None = None,
) -> int:
    """Run what is pending, one migrator at a time; how many statements ran. `report` is called
    before each. Raises OperatorError E0206 when another process migrates for more than a minute,
    E0207 when a statement fails (everything before it stays; a second run goes on there)."""
    connection = await Connection.open(settings, 0.0)
    try:
        taken = await connection.row(_TAKE_LOCK, MIGRATE_WAIT_S)
        if taken != (1,):
            raise OperatorError(
                "E0206",
                "another process is migrating this database",
                "wait until it is done, then run mmo-cluster migrate apply again",
            )
        await connection.execute(_TABLE)
        records = await _records(connection)
        left = pending(steps(directory), records)
        for step in left:
            if report is not None:
                report(step)
            await _run(connection, step, begun=(step.version, step.number) in records)
        await connection.execute(_FREE_LOCK)
        return len(left)
    finally:
        await connection.close()


async def _run(connection: Connection, step: Step, begun: bool) -> None:
    text = Statement.verbatim(step.text)
    key = (step.version, step.number)
    rows = step.text[:6].upper() in ("INSERT", "UPDATE", "DELETE")
    try:
        if rows:  # rows and their record are one transaction: no half way
            await connection.begin()
        if not begun:
            await connection.execute(_BEGUN, *key, step.name, step.sha256)
        try:
            await connection.execute(text)
        except StatementFailed as error:
            if not (begun and error.number in _ALREADY_DONE):
                raise
        await connection.execute(_APPLIED, *key)
        if rows:
            await connection.commit()
    except (StatementFailed, ConstraintBroken) as error:
        raise OperatorError(
            "E0207",
            f"migration {step.version:04}_{step.name} statement {step.number} failed: {error}",
            "mend what it names, then run mmo-cluster migrate apply: it goes on at this statement",
        ) from error


async def _records(connection: Connection) -> dict[tuple[int, int], tuple[str, bool]]:
    try:
        rows = await connection.rows(_RECORDS)
    except StatementFailed as error:
        if error.number == _NO_SUCH_TABLE:
            return {}
        raise
    return {(row[0], row[1]): (row[3], row[4] is not None) for row in rows}
