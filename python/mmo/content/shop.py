"""The shop's catalogue: what is sold, for what, when, and its prebuilt pages.

Owns `shop.toml` in its checked form. Read by rules as `env.content.shop`, never changed.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from mmo.content.faults import contradiction
from mmo.content.items import KINDS, ItemRow
from mmo.content.prebuilt import catalogue_number, pages_of
from mmo.content.schema import Code, Natural, Positive, Small, Table
from mmo.wire.codec import Encoded
from mmo.wire.messages.shop import ShopLineView, ShopPageOk

CURRENCIES = ("gold", "cash", "mileage")
"""Currencies by number, as in the reference game."""

DAYS_MAX = 3_650


class ShopRow(Table, frozen=True):
    """`shop.toml`, one line of the catalogue. `count` is the bundle, `days` the rental (0: for
    ever), `mileage` is earned with each, `daily_limit` bounds one player's purchases a day (0:
    none); a sale runs in `[sale_from, sale_until)`."""

    number: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    kind: str
    code: Code
    currency: str
    price: Positive
    count: Small = 1
    days: Annotated[int, msgspec.Meta(ge=0, le=DAYS_MAX)] = 0
    mileage: Natural = 0
    daily_limit: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    sale_from: datetime | None = None
    sale_until: datetime | None = None


class ShopFile(Table, frozen=True):
    """`page_bytes_max` keeps a page below the frame limit of clients; `quantity_max` bounds one
    purchase."""

    page_bytes_max: Annotated[int, msgspec.Meta(ge=512, le=65_536)]
    quantity_max: Small
    line: tuple[ShopRow, ...] = ()


class ShopLine(msgspec.Struct, frozen=True):
    """A checked line as rules see it."""

    number: int
    kind: int
    code: int
    count: int
    days: int
    currency: int
    price: int
    mileage: int
    daily_limit: int
    from_ms: int
    until_ms: int

    def on_sale(self, now_ms: int) -> bool:
        """Whether the sale window is open."""
        return self.from_ms <= now_ms and (not self.until_ms or now_ms < self.until_ms)


class Shop(msgspec.Struct, frozen=True):
    """The whole catalogue. `catalogue` is its number; `lines` by line number."""

    catalogue: int
    quantity_max: int
    lines: dict[int, ShopLine]
    pages: tuple[Encoded, ...]


def build_shop(file: ShopFile, master: Mapping[tuple[int, int], ItemRow]) -> Shop:
    """Check every line against the item master and build the pages, sorted by kind, code and days.
    Raises `ContentError` E0603 naming the line."""
    lines: dict[int, ShopLine] = {}
    for index, row in enumerate(file.line):
        line = _line(index, row, master)
        if line.number in lines:
            raise contradiction("shop.toml", f"line[{index}]", f"number {row.number} is twice")
        lines[line.number] = line
    ordered = sorted(
        lines.values(), key=lambda line: (line.kind, line.code, line.days, line.number)
    )
    views = [_view(line, master[line.kind, line.code]) for line in ordered]
    catalogue = catalogue_number(views)
    pages = pages_of(
        views,
        file.page_bytes_max,
        lambda page, pages, part: ShopPageOk(catalogue, page, pages, part),
    )
    return Shop(catalogue, file.quantity_max, lines, pages)


def unix_ms(moment: datetime | None) -> int:
    """Milliseconds since 1970; a time without a zone is UTC. 0 for None."""
    if moment is None:
        return 0
    zoned = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(zoned.timestamp() * 1000)


def _line(index: int, row: ShopRow, master: Mapping[tuple[int, int], ItemRow]) -> ShopLine:
    place = f"line[{index}]"
    if row.kind not in KINDS:
        raise contradiction("shop.toml", place, f"kind {row.kind!r} is none of {', '.join(KINDS)}")
    if row.currency not in CURRENCIES:
        known = ", ".join(CURRENCIES)
        raise contradiction("shop.toml", place, f"currency {row.currency!r} is none of {known}")
    kind = KINDS.index(row.kind)
    if (kind, row.code) not in master:
        raise contradiction("shop.toml", place, f"items.toml has no {row.kind} {row.code}")
    from_ms, until_ms = unix_ms(row.sale_from), unix_ms(row.sale_until)
    if until_ms and until_ms <= from_ms:
        raise contradiction("shop.toml", place, "sale_until is not after sale_from")
    return ShopLine(
        number=row.number,
        kind=kind,
        code=row.code,
        count=row.count,
        days=row.days,
        currency=CURRENCIES.index(row.currency),
        price=row.price,
        mileage=row.mileage,
        daily_limit=row.daily_limit,
        from_ms=from_ms,
        until_ms=until_ms,
    )


def _view(line: ShopLine, item: ItemRow) -> ShopLineView:
    return ShopLineView(
        line=line.number,
        kind=line.kind,
        code=line.code,
        name=item.name,
        count=line.count,
        days=line.days,
        currency=line.currency,
        price=line.price,
        mileage=line.mileage,
        daily_limit=line.daily_limit,
        from_ms=line.from_ms,
        until_ms=line.until_ms,
        attack_power=item.attack_power,
    )
