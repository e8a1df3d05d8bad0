"""The database as commands that ask the books open it: reached, with the schema that they know.

Owns the one look at the migrations before the first question; what is asked is the command's.
Called by `audit`, `odds`, `restore`, `account`, `purge`, `replay` and `rebuild`.
"""

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from mmo.errors import OperatorError, StoreUnavailable

if TYPE_CHECKING:
    from mmo.store.mysql_pool import MysqlPool
    from mmo.store.settings import StoreSettings


T = TypeVar("T")


def answered(work: Coroutine[Any, Any, T]) -> T:
    """What the books answer. Raises `OperatorError` E0214 when they do not."""
    import asyncio

    try:
        return asyncio.run(work)
    except StoreUnavailable as error:
        raise OperatorError(
            "E0214", f"the books cannot be read: {error}", "mmo-cluster status; mmo-cluster doctor"
        ) from error


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


async def one_player(pool: "MysqlPool", identity: str) -> int:
    """The user that an id or a name means. Raises `OperatorError` E0720 for nobody and for two; an
    id that is nobody's is found out by who looks for it (`no_player`)."""
    from mmo.ops.accounts import users_of

    if not is_text(identity):
        raise no_player(ascii(identity))
    async with pool.take() as connection:
        users = await users_of(connection, identity)
    if len(users) > 1:
        raise OperatorError(
            "E0720",
            f"{identity} may mean more than one player, users {', '.join(map(str, users))}",
            f"say id={users[0]}, or name={identity} for an account of this very name",
        )
    if not users:
        raise no_player(identity)
    return users[0]


def is_text(typed: str) -> bool:
    """Whether what was typed is text: a terminal may give bytes that are none."""
    try:
        typed.encode()
    except UnicodeEncodeError:
        return False
    return True


def no_player(identity: str) -> OperatorError:
    """Nobody has this id or name."""
    return OperatorError("E0720", f"there is no player {identity}", "mmo-cluster audit")
