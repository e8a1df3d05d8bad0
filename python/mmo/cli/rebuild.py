"""`rebuild ranking`: the boards in Redis filled again from MySQL, while the cluster runs.

Owns the arguments, the print and the exit code; the filling is `store.ranking_relay`'s, and what
came of it is compared by `ops.audit_board`. Players go on meanwhile: MySQL answers for the board.
"""

import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mmo.cli import terminal
from mmo.cli.books import answered
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, load
from mmo.cli.rim import FAILED, OK
from mmo.errors import OperatorError

if TYPE_CHECKING:
    from mmo.store.settings import StoreSettings


def register(app: typer.Typer) -> None:
    """Add the command to the table."""
    app.command()(rebuild)


def rebuild(
    what: Annotated[Literal["ranking"], typer.Argument(help="What is filled again: ranking.")],
    season: Annotated[int, typer.Option("--season", min=0, help="One season; 0: all.")] = 0,
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Fill the boards of the ranking in Redis from MySQL and compare them."""
    from mmo.cli.compose import home_store_settings

    settings = home_store_settings(home, load(config, home).config)
    filled, findings = answered(_filled(settings, season))
    if json:
        terminal.print_json({"boards": filled, "findings": findings})
    else:
        terminal.print_table(
            ("season", "scores", "ms"),
            [(row["season"], row["scores"], row["ms"]) for row in filled],
        )
        for finding in findings:
            print(f"  user {finding['user']}: {finding['text']}")
        if not filled:
            print("nothing to fill: no season has scores")
    return FAILED if findings else OK


async def _filled(
    settings: "StoreSettings", season: int
) -> tuple[list[dict[str, int]], list[dict[str, Any]]]:
    """(boards with their scores and times, what is wrong with them). Raises `OperatorError` E0726,
    `StoreUnavailable`."""
    import msgspec

    from mmo.cli.books import open_books
    from mmo.ops.audit_board import board_of
    from mmo.store import ranking
    from mmo.store.ranking_relay import RankingRelay
    from mmo.store.redis_cluster import RedisCache

    cache = RedisCache(settings)
    filled: list[dict[str, int]] = []
    findings: list[dict[str, Any]] = []
    try:
        async with open_books(settings, connections_max=2) as pool:
            relay = RankingRelay(settings, pool, cache)
            async with pool.take() as connection:
                seasons = sorted(await ranking.boards(connection))
            for number in [season] if season else seasons:
                begun_s = time.monotonic()
                scores = await relay.rebuild(number)
                if scores is None:
                    raise OperatorError(
                        "E0726",
                        f"the board of season {number} was not filled: Redis does not answer, or a"
                        " server fills it right now",
                        "mmo-cluster status; then ask again",
                    )
                took_ms = round((time.monotonic() - begun_s) * 1_000)
                filled.append({"season": number, "scores": scores, "ms": took_ms})
                async with pool.take() as connection:
                    epoch = (await ranking.boards(connection)).get(number, 0)
                    found = await board_of(connection, relay.board, number, epoch)
                findings += [msgspec.to_builtins(one) for one in found]
    finally:
        await cache.close()
    return filled, findings
