"""Season passes: periods, levels, missions, rewards, and the prebuilt pages of rewards.

Owns `passes.toml` in its checked form. Read by rules as `env.content.passes`, never changed.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated

import msgspec

from mmo.content.faults import contradiction
from mmo.content.items import KINDS, ItemRow
from mmo.content.prebuilt import catalogue_number, pages_of
from mmo.content.schema import Name, Natural, Positive, Small, Table
from mmo.content.shop import DAYS_MAX, unix_ms
from mmo.wire.codec import Encoded
from mmo.wire.messages.season_pass import PassPageOk, PassRewardView

LINES = ("free", "paid")
EVENTS = ("login", "kill", "purchase", "enhance", "raid")
"""What missions count: facts that the server itself makes."""


class MissionRow(Table, frozen=True):
    """`goal` events give `exp` pass experience, up to `times` times."""

    number: Small
    event: str
    goal: Small
    exp: Natural
    times: Small


class RewardRow(Table, frozen=True):
    """What one level of one line gives: an item (`kind`, `code`, `count`, `days`), coins, or
    both."""

    level: Small
    line: str = "free"
    kind: str = ""
    code: Natural = 0
    count: Small = 1
    days: Annotated[int, msgspec.Meta(ge=0, le=DAYS_MAX)] = 0
    gold: Natural = 0
    mileage: Natural = 0


class SeasonRow(Table, frozen=True):
    """One pass. It runs in `[starts, ends)`; `exp_need[n]` leads from level n to n + 1."""

    number: Small
    name: Name
    starts: datetime
    ends: datetime
    exp_need: Annotated[tuple[Positive, ...], msgspec.Meta(min_length=1, max_length=1000)]
    price_cash: Positive
    mission: tuple[MissionRow, ...] = ()
    reward: tuple[RewardRow, ...] = ()


class PassFile(Table, frozen=True):
    """`page_bytes_max` keeps a page of rewards below the frame limit of clients."""

    page_bytes_max: Annotated[int, msgspec.Meta(ge=512, le=65_536)]
    season: tuple[SeasonRow, ...] = ()


class Reward(msgspec.Struct, frozen=True):
    """A checked reward; `kind` -1: coins only."""

    level: int
    line: int
    kind: int
    code: int
    count: int
    days: int
    gold: int
    mileage: int


class Season(msgspec.Struct, frozen=True):
    """A checked pass; rewards by (level, line)."""

    number: int
    name: str
    starts_ms: int
    ends_ms: int
    exp_need: tuple[int, ...]
    price_cash: int
    missions: tuple[MissionRow, ...]
    rewards: dict[tuple[int, int], Reward]

    @property
    def level_max(self) -> int:
        """Highest level of the pass."""
        return len(self.exp_need)

    def running(self, now_ms: int) -> bool:
        """Whether `now_ms` is within the period."""
        return self.starts_ms <= now_ms < self.ends_ms

    def near(self, now_ms: int, apart_ms: int) -> bool:
        """Whether it runs at some moment less than `apart_ms` away from `now_ms`."""
        return self.starts_ms - apart_ms < now_ms < self.ends_ms + apart_ms


class Passes(msgspec.Struct, frozen=True):
    """All passes by number, with the pages of rewards of those that run together."""

    seasons: dict[int, Season]
    edges_ms: tuple[int, ...]  # when any pass begins or ends, ascending
    pages: tuple[tuple[Encoded, ...], ...]  # before the first edge, then from each one on

    def running(self, now_ms: int) -> list[Season]:
        """The passes that run at a moment, by number."""
        return [season for season in self.seasons.values() if season.running(now_ms)]

    def pages_at(self, now_ms: int) -> tuple[Encoded, ...]:
        """The rewards of the passes that run at a moment; no pass: one empty page."""
        return self.pages[bisect_right(self.edges_ms, now_ms)]


def build_passes(file: PassFile, master: Mapping[tuple[int, int], ItemRow]) -> Passes:
    """Check all passes against the item master and build the pages for every time between two
    edges, sorted by pass, level and line. Raises `ContentError` E0603 naming the row."""
    seasons: dict[int, Season] = {}
    for index, row in enumerate(sorted(file.season, key=lambda each: each.number)):
        if row.number in seasons:
            raise contradiction("passes.toml", f"season[{index}]", f"number {row.number} is twice")
        seasons[row.number] = _season(f"season {row.number}", row, master)
    moments = {edge for one in seasons.values() for edge in (one.starts_ms, one.ends_ms)}
    edges_ms = tuple(sorted(moments))
    pages = tuple(
        _pages((one for one in seasons.values() if one.running(from_ms)), file.page_bytes_max)
        for from_ms in edges_ms
    )
    return Passes(seasons, edges_ms, (_pages((), file.page_bytes_max), *pages))


def _pages(running: Iterable[Season], page_bytes_max: int) -> tuple[Encoded, ...]:
    """The rewards of passes that run together; their number tells them from those of other
    times."""
    views = [
        PassRewardView(
            pass_id=season.number,
            level=reward.level,
            line=reward.line,
            kind=reward.kind,
            code=reward.code,
            count=reward.count,
            days=reward.days,
            gold=reward.gold,
            mileage=reward.mileage,
        )
        for season in running
        for _, reward in sorted(season.rewards.items())
    ]
    catalogue = catalogue_number(views)
    return pages_of(
        views, page_bytes_max, lambda page, pages, part: PassPageOk(catalogue, page, pages, part)
    )


def _season(place: str, row: SeasonRow, master: Mapping[tuple[int, int], ItemRow]) -> Season:
    starts_ms, ends_ms = unix_ms(row.starts), unix_ms(row.ends)
    if ends_ms <= starts_ms:
        raise contradiction("passes.toml", place, "ends is not after starts")
    numbers = [mission.number for mission in row.mission]
    if len(set(numbers)) != len(numbers):
        raise contradiction("passes.toml", place, "a mission number is there twice")
    for mission in row.mission:
        if mission.event not in EVENTS:
            known = ", ".join(EVENTS)
            raise contradiction("passes.toml", place, f"event {mission.event!r} is none of {known}")
    rewards: dict[tuple[int, int], Reward] = {}
    for each in row.reward:
        reward = _reward(place, each, len(row.exp_need), master)
        if (reward.level, reward.line) in rewards:
            raise contradiction("passes.toml", place, f"level {each.level} {each.line} is twice")
        rewards[reward.level, reward.line] = reward
    return Season(
        number=row.number,
        name=row.name,
        starts_ms=starts_ms,
        ends_ms=ends_ms,
        exp_need=row.exp_need,
        price_cash=row.price_cash,
        missions=row.mission,
        rewards=rewards,
    )


def _reward(
    place: str, row: RewardRow, level_max: int, master: Mapping[tuple[int, int], ItemRow]
) -> Reward:
    if row.line not in LINES:
        raise contradiction("passes.toml", place, f"line {row.line!r} is none of free, paid")
    if row.level > level_max:
        raise contradiction("passes.toml", place, f"level {row.level} is over {level_max}")
    kind = -1
    if row.kind:
        if row.kind not in KINDS or (KINDS.index(row.kind), row.code) not in master:
            raise contradiction("passes.toml", place, f"items.toml has no {row.kind} {row.code}")
        kind = KINDS.index(row.kind)
    elif not (row.gold or row.mileage):
        raise contradiction("passes.toml", place, f"level {row.level} {row.line} gives nothing")
    return Reward(
        level=row.level,
        line=LINES.index(row.line),
        kind=kind,
        code=row.code,
        count=row.count,
        days=row.days,
        gold=row.gold,
        mileage=row.mileage,
    )
