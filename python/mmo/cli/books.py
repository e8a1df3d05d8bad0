"""The database as commands that ask the books open it: reached, with the schema that they know.

Owns the one look at the migrations before the first question; what is asked is the command's.
Called by `audit`, `odds`, `restore`, `purge`, `replay` and `rebuild`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmo.store.mysql_pool import MysqlPool
    from mmo.store.settings import StoreSettings


@asynccontextmanager
async def open_books(settings: "StoreSettings", connections_max: int) -> "AsyncIterator[MysqlPool]":
    """A pool for one command. Raises `StoreUnavailable`, and what `migrate.check` raises: between
    `pip install` and `migrate apply` a question may name a table that is not there yet."""
    from mmo.store import migrate
    from mmo.store.mysql_pool import MysqlPool

    async with MysqlPool(settings, connections_max=connections_max) as pool:
        async with pool.take() as connection:
            await migrate.check(connection)
        yield pool
