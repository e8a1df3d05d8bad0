"""What an operator asks of the economy on a whole cluster: receipts, odds, a player brought back.

Owns the questions only; judges by the commands of the product, as scripts would.
"""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from mmo.cli.compose import home_store_settings
from mmo.config.load import load_config
from mmo.proof.arena import Arena
from mmo.state.grant import Bundle, Grant, SourceKind
from mmo.store import presence
from mmo.store.mysql_pool import MysqlPool

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

TRIES = 100


async def called(arena: Arena, name: str, op: str, **fields: Any) -> Any:
    """One message as a player."""
    return await arena.command("call", op, json.dumps(fields), "--as", name, accept=(0, 1))


async def with_gold(arena: Arena, name: str, gold: int) -> int:
    """A new player with a correction of gold; his user id."""
    await called(arena, name, "BAG")
    settings = home_store_settings(arena.home.directory, load_config(environment={}).config)
    async with MysqlPool(settings, connections_max=1) as pool:
        async with pool.take() as connection:
            known = await presence.credentials(connection, name)
        assert known is not None
        bundle = msgspec.msgpack.encode(Bundle(gold=gold))
        assert await presence.grant(pool, [Grant(known.user, SourceKind.CORRECTION, 1, bundle)])
    for _ in range(TRIES):
        if (await called(arena, name, "BAG"))["gold"] == gold:
            return known.user
    raise AssertionError("the correction did not arrive")


async def smith(arena: Arena, name: str) -> tuple[int, list[Any]]:
    """A player who buys a sword and tries it twice; his user id and the receipts."""
    user = await with_gold(arena, name, 1_000)
    page = await called(arena, name, "SHOP_PAGE", page=0)
    line = next(one for one in page["lines"] if one["kind"] == 0 and one["currency"] == 0)
    sale = {"catalogue": page["catalogue"], "line": line["line"], "price": line["price"]}
    bought = await called(arena, name, "BUY", quantity=1, **sale)
    uid = bought["items"][0]["uid"]
    return user, [await called(arena, name, "ENHANCE", uid=uid) for _ in range(2)]


def test_any_receipt_is_checked_and_a_forged_one_is_found(arena: Arena) -> None:
    async def checked() -> None:
        _, receipts = await smith(arena, "Smith")
        for receipt in receipts:
            held = await arena.command("odds", "--verify", json.dumps(receipt))
            assert held["holds"] and held["recomputed_ppm"] == receipt["roll_ppm"]
            assert not held["revealed"]
        forged = {**receipts[0], "roll_ppm": (receipts[0]["roll_ppm"] + 1) % 1_000_000}
        told = await arena.command("odds", "--verify", json.dumps(forged), accept=(1,))
        assert not told["holds"] and told["findings"]
        report = await arena.command("odds", "--report")
        assert report["alarms"] == 0 and sum(row["attempts"] for row in report["rows"]) >= 2
        keys = (await called(arena, "Smith", "ROLL_KEYS", first_day=receipts[0]["day"]))["keys"]
        assert len(keys) == 8 and keys[0]["day"] == receipts[0]["day"]
        assert all(len(key["commitment"]) > 32 and not key["key"] for key in keys)

    asyncio.run(checked())


def test_a_player_is_brought_back_to_before_he_had_anything(arena: Arena) -> None:
    async def brought_back() -> None:
        user, receipts = await smith(arena, "Returned")
        words = ("restore", "player", "Returned", "--at", "2020-01-01T00:00:00")
        shown = await arena.command(*words, "--dry-run")
        assert (shown["user"], shown["booked"], shown["then"]["gold"]) == (user, False, 0)
        assert shown["correction"]["gold"] == -receipts[-1]["gold"] == -shown["now"]["gold"]
        assert (await called(arena, "Returned", "BAG"))["gold"] == receipts[-1]["gold"]
        assert (await arena.command(*words))["booked"]
        for _ in range(TRIES):
            bag = await called(arena, "Returned", "BAG")
            if not bag["gold"]:
                break
        assert (bag["gold"], bag["equipment"]) == (0, [])
        again = await arena.command("restore", "player", str(user), "--at", "1577836800")
        assert again["grant"] is None and not again["booked"]
        report = await arena.command("audit")
        assert report["balanced"] and report["items"]["rolls"] >= 2

    asyncio.run(brought_back())
