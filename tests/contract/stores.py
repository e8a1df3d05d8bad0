"""Several servers over one database, in dicts or real, and players in them.

Owns what the contract tests of the store share; asks nothing itself.
"""

import itertools

import pytest

from mmo.state.bag import Item, ItemKind
from mmo.state.change import Change
from mmo.state.place import AccountRegistered, Claim, SessionOpened
from mmo.state.player import Player
from mmo.state.wallet import Account, CoinsMoved, Currency
from mmo.store import PlayerCommit, Store, open_store
from mmo.store.connection import Statement
from mmo.store.mysql_pool import MysqlPool
from mmo.testing.fake_store import FakeDatabase, FakeStore

CENTER, CHANNEL = 1, 11
LONG_AGO_MS, LATER_MS = 1, 2**50
_RAISE_FLOOR = Statement("UPDATE player_head SET operation_floor_epoch = %s WHERE user_id = %s")


class Cluster:
    """Several servers over one database, and the way of a player into it."""

    _names = itertools.count(1)

    def __init__(self, request: pytest.FixtureRequest, kind: str) -> None:
        self.kind = kind
        self._stores: list[Store] = []
        self._database = FakeDatabase(clock_ms=lambda: LONG_AGO_MS)
        self._settings = request.getfixturevalue("store_settings")() if kind == "real" else None

    async def store(self) -> Store:
        """One more server."""
        if self._settings is None:
            store: Store = FakeStore(self._database)
        else:
            store = await open_store(self._settings)
        self._stores.append(store)
        return store

    async def close(self) -> None:
        """All servers go."""
        for store in self._stores:
            await store.close()

    def name(self) -> str:
        """A name nobody has."""
        return f"player-{next(self._names)}"

    async def registered(self, store: Store) -> int:
        """A new account's user id."""
        name = self.name()
        assert await store.write(AccountRegistered(name, "$hash", 1))
        found = await store.credentials(name)
        assert found is not None
        return found.user

    async def refuse_before(self, user: int, epoch: int) -> None:
        """What a purge leaves behind: ids of sessions before `epoch` are refused."""
        if self._settings is None:
            self._database.heads[user].operation_floor_epoch = epoch
            return
        pool = MysqlPool(self._settings, connections_max=1)
        async with pool, pool.take() as connection:
            await connection.execute(_RAISE_FLOOR, epoch, user)

    async def playing(self, store: Store, number: int = CHANNEL) -> Player:
        """A new player, logged in and claimed at `number`."""
        user = await self.registered(store)
        assert await store.write(SessionOpened(user, 0, number, "login", LATER_MS, 5))
        claimed = await store.claim(Claim(user, 1, number, "login", now_ms=1))
        assert claimed is not None and claimed.player is not None
        return claimed.player


def commit_of(player: Player, *changes: Change, op: tuple[int, int] | None = None) -> PlayerCommit:
    """A commit decided on `player` as he is."""
    return PlayerCommit(
        player=player,
        operation=op or (0, player.head.version + 1),
        kind=410,
        request_hash=b"\x00hash\xff\x27\x5c",
        answer_opcode=411,
        answer=b"\x00\xffanswer'\"\\",
        changes=changes,
        generation=3,
        now_ms=77,
    )


def gold(amount: int) -> CoinsMoved:
    """Gold from hunting, or to the shop."""
    return CoinsMoved(Currency.GOLD, amount, Account.MINT_HUNT if amount > 0 else Account.SINK_SHOP)


def item(uid: int, count: int = 1, slot: int = 0, code: int = 301) -> Item:
    """A material."""
    return Item(uid, ItemKind.MATERIAL, slot, code, count)


async def loaded(store: Store, user: int) -> Player:
    """The player as committed."""
    player = await store.load(user)
    assert player is not None
    return player
