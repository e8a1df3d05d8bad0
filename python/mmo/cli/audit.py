"""`audit`: proves the books of the cluster of a home, while it runs.

Owns the print and the exit code: 0 balanced, 1 a finding or nothing to check. The rules are in
`ops.audit`. Called by the operator and by the proofs.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from mmo.cli import terminal
from mmo.cli.books import answered
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, load
from mmo.cli.rim import FAILED, OK
from mmo.cluster.home import Home

if TYPE_CHECKING:
    from mmo.ops.audit import Finding, Report
    from mmo.ops.audit_checks import Known
    from mmo.store.settings import StoreSettings


CacheOption = Annotated[
    bool, typer.Option("--cache", help="Compare the boards in Redis with the ranking, too.")
]


def register(app: typer.Typer) -> None:
    """Add the command to the table."""
    app.command()(audit)


def audit(
    home: HomeOption = HOME,
    config: ConfigOption = None,
    cache: CacheOption = False,
    json: JsonOption = False,
) -> int:
    """Prove that nothing a player owns was lost, doubled or invented."""
    import asyncio

    import msgspec

    from mmo.cli.compose import home_store_settings
    from mmo.cli.sources import read_tables
    from mmo.cluster.secret_files import read_secrets
    from mmo.ops.audit import known_of

    effective = load(config, home).config
    settings = home_store_settings(home, effective)
    file = Home(home).read()
    # A server that `start --channels` added is in the home's file and in no configuration.
    numbers = {entry.number for entry in (*effective.nodes, *(file.nodes if file else ()))}
    known = known_of(read_tables(effective), numbers)
    report = answered(_asked(settings, known, lambda: read_secrets(Home(home), effective).roll))
    if cache:
        findings = [*report.findings, *asyncio.run(_boards(settings))]
        report = msgspec.structs.replace(report, balanced=not findings, findings=findings)
    if json:
        _print_json(report)
    else:
        _print(report)
    return OK if report.balanced and not report.empty else FAILED


async def _asked(
    settings: "StoreSettings", known: "Known", roll_secret: Callable[[], bytes]
) -> "Report":
    from mmo.cli.books import open_books
    from mmo.ops.audit import audit as ask

    async with open_books(settings, connections_max=1) as pool:
        return await ask(pool, known, roll_secret())


async def _boards(settings: "StoreSettings") -> "list[Finding]":
    from mmo.ops.audit_board import boards
    from mmo.store.board import Board
    from mmo.store.mysql_pool import MysqlPool
    from mmo.store.redis_cluster import RedisCache

    cache = RedisCache(settings)
    try:
        async with MysqlPool(settings, connections_max=1) as pool, pool.take() as connection:
            return await boards(connection, Board(cache))
    finally:
        await cache.close()


def _print_json(report: "Report") -> None:
    import msgspec

    terminal.print_json(msgspec.to_builtins(report))


def _print(report: "Report") -> None:
    rows = [(name, f.minted, f.burned, f.held) for name, f in report.currencies.items()]
    terminal.print_table(("currency", "minted", "burned", "held"), rows)
    items = report.items
    print(
        f"\n{report.players} players, {report.ledger_lines} ledger lines, {items['live']} items of"
        f" {items['codes']} codes, {items['log_lines']} log lines, {items['grants']} grants,"
        f" {items['rolls']} rolls recomputed, {items['raid_results']} results of raids"
    )
    for finding in report.findings:
        print(f"  {finding.check}: user {finding.user}: {finding.text}")
    if report.empty:
        print("nothing to check: no player yet")
    else:
        print("balanced" if report.balanced else f"NOT balanced: {len(report.findings)} findings")
