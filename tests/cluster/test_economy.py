"""The economy on a whole cluster: shoppers with records of their own, payments, and the books.

Owns the questions only; judges by the bots' exit, by `audit` and by what players are told.
"""

import asyncio
from typing import Any

import pytest

from mmo.proof.arena import Arena

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


def test_shoppers_own_what_was_acknowledged_and_the_books_are_balanced(arena: Arena) -> None:
    """Repeats and cut connections included: the bots compare their records at every arrival."""

    async def shop(seed: int) -> tuple[Any, Any]:
        words = ("bot", "--journey", "shopper", "--count", "8", "--for", "6s", "--seed", str(seed))
        told = await arena.command(*words, deadline_s=120)
        return told, await arena.command("audit")

    for seed in (5, 6, 7):  # each hunts for his first gold: on a slow machine that is all he does
        told, report = asyncio.run(shop(seed))
        assert (told["journey"], told["players"], told["errors"]) == ("shopper", 8, 0)
        if report["currencies"]["gold"]["burned"]:
            break
    assert report["balanced"] and report["findings"] == []
    gold = report["currencies"]["gold"]
    assert gold["burned"] > 0 and gold["minted"] - gold["burned"] == gold["held"]


def test_a_payment_reaches_the_player_once_and_buys_for_cash(arena: Arena) -> None:
    async def call(op: str, body: str = "{}") -> Any:
        return await arena.command("call", op, body, "--as", "Payer", accept=(0, 1))

    async def pays() -> tuple[Any, Any, Any]:
        await call("BAG")
        order = ("--as", "Payer", "--order", "order-of-the-test", "--amount", "300")
        for _ in range(2):
            await arena.command("pay", *order)
        for _ in range(100):
            bag = await call("BAG")
            if bag["cash"]:
                break
        page = await call("SHOP_PAGE", '{"page": 0}')
        line = next(each for each in page["lines"] if each["currency"] == 1)
        body = (
            f'{{"catalogue": {page["catalogue"]}, "line": {line["line"]}, "quantity": 1,'
            f' "price": {line["price"]}}}'
        )
        return bag, line, await call("BUY", body)

    bag, line, bought = asyncio.run(pays())
    assert bag["cash"] == 300
    assert bought["message"] == "BuyOk"
    assert bought["balance"] == 300 - line["price"]
    assert bought["mileage_earned"] == line["mileage"]
