"""Season passes: pages, own progress, claims once for ever, and the paid line.

Installed wherever players are owned. Whether a claim or a purchase at the edge of a season falls
into it is decided by the clock of the database alone, in its own commit: a node whose clock is
wrong by a little must neither refuse what still counts nor what counts already, nor sell what is
over.
"""

from mmo.content import Content
from mmo.content.passes import Reward, Season
from mmo.contract import Env, Outcome, Refuse, handles
from mmo.state.bag import Bag
from mmo.state.change import Change
from mmo.state.counters import Counter, CounterKind, CounterRaised, of_day
from mmo.state.pass_progress import MissionCount, PassLineOpened, PassMoved, PassRewardClaimed
from mmo.state.wallet import COINS_MAX, Account, CoinsMoved, Currency, Wallet
from mmo.systems.inventory import Placement, item_of, item_view, no_room, place_items
from mmo.systems.missions import PassParts, moved_by, progress_of
from mmo.systems.shop import DAY_MS
from mmo.wire.codec import encode
from mmo.wire.messages.pass_view import MissionView, PassView
from mmo.wire.messages.season_pass import (
    PassBuy,
    PassBuyOk,
    PassClaim,
    PassClaimOk,
    PassEvent,
    PassPageAsk,
    PassStateAsk,
    PassStateOk,
)
from mmo.wire.opcode import Code, Op

_PASS_UNKNOWN = Refuse(Code.PASS_UNKNOWN)
_NOT_RUNNING = Refuse(Code.PASS_NOT_RUNNING)
_PAID = 1
CLOCKS_APART_MS = 5_000
"""How far from its season, by the node's clock, the database's clock is still asked about a claim
or a purchase."""

VIEWS_BYTES_MAX = 8_192
"""Passes in one answer; with the three inventories they stay below the frame limit of clients."""


@handles(Op.PASS_PAGE, rate="list")
def pass_page(message: PassPageAsk, *, env: Env) -> Outcome | Refuse:
    """One prebuilt page of the running passes' rewards, the same bytes for everybody."""
    pages = env.content.passes.pages_at(env.now_ms)
    if not 0 <= message.page < len(pages):
        return _PASS_UNKNOWN
    return Outcome(replies=(pages[message.page],))


@handles(Op.PASS_STATE, needs=("pass_progress",), rate="list")
def pass_state(message: PassStateAsk, *, pass_progress: PassParts, env: Env) -> Outcome | Refuse:
    """The running passes, or the one asked for, with the player's own progress."""
    content: Content = env.content
    if message.pass_id:
        season = content.passes.seasons.get(message.pass_id)
        if season is None:
            return _PASS_UNKNOWN
        if not season.running(env.now_ms):
            return _NOT_RUNNING
        return Outcome(replies=(PassStateOk([_view(season, pass_progress)]),))
    passes, more = fitting(pass_views(content, pass_progress, env.now_ms))
    return Outcome(replies=(PassStateOk(passes, more),))


def fitting(views: list[PassView]) -> tuple[list[PassView], list[int]]:
    """The first passes that together stay below `VIEWS_BYTES_MAX`, and the numbers of the rest."""
    left = VIEWS_BYTES_MAX
    for index, view in enumerate(views):
        left -= len(encode(view))
        if left < 0 and index:
            return views[:index], [each.pass_id for each in views[index:]]
    return views, []


def pass_views(content: Content, passes: PassParts, now_ms: int) -> list[PassView]:
    """The running passes as their player sees them."""
    return [_view(season, passes) for season in content.passes.running(now_ms)]


def _view(season: Season, passes: PassParts) -> PassView:
    mine = progress_of(passes, season)
    counts = {count.mission: count for count in mine.missions}
    missions = []
    for row in season.missions:
        count = counts.get(row.number, MissionCount(row.number, 0, 0))
        missions.append(
            MissionView(row.number, row.event, count.progress, row.goal, row.exp, count.done)
        )
    return PassView(
        pass_id=season.number,
        name=season.name,
        starts_ms=season.starts_ms,
        ends_ms=season.ends_ms,
        level_max=season.level_max,
        level=mine.level,
        exp=mine.exp,
        paid=mine.paid,
        price_cash=season.price_cash,
        claimed=sorted(mine.claimed),
        missions=missions,
    )


@handles(Op.PASS_EVENT, by="node", needs=("pass_progress", "counters"))
def count_event(
    message: PassEvent,
    *,
    pass_progress: PassParts,
    counters: dict[tuple[int, int], Counter],
    env: Env,
) -> Outcome:
    """An event that has no commit of its own, such as a login, moves the passes. Logins count once
    a day: nobody wins by leaving and coming again."""
    moved, told = moved_by(env.content, pass_progress, message.event, env.now_ms)
    changes: list[Change] = [*moved]
    if moved and message.event == "login":
        before = counters.get((CounterKind.LOGIN_DAILY, 0))
        logins = of_day(before, env.now_ms // DAY_MS)
        if logins.count:
            return Outcome()
        changes.append(CounterRaised(CounterKind.LOGIN_DAILY, 0, logins.window, 1, before is None))
    return Outcome(replies=told, changes=changes)


@handles(Op.PASS_BUY, needs=("wallet", "pass_progress"), mutates=True)
def buy_line(
    message: PassBuy, *, wallet: Wallet, pass_progress: PassParts, env: Env
) -> Outcome | Refuse:
    """Open the paid line of a running pass for cash: for the price that the client says he was
    shown, if he says one, or not at all."""
    season = env.content.passes.seasons.get(message.pass_id)
    if season is None:
        return _PASS_UNKNOWN
    if not season.near(env.now_ms, CLOCKS_APART_MS):
        return _NOT_RUNNING
    mine = progress_of(pass_progress, season)
    if mine.paid:
        return Refuse(Code.PASS_LINE_OWNED)
    if message.price not in (0, season.price_cash):
        return Refuse(Code.PRICE_CHANGED, str(season.price_cash))
    if wallet.cash < season.price_cash:
        return Refuse(Code.NOT_ENOUGH_CASH)
    changes: list[Change] = [CoinsMoved(Currency.CASH, -season.price_cash, Account.SINK_PASS)]
    if season.number not in pass_progress:
        changes.append(PassMoved(season.number, mine.level, mine.exp, False, mine.missions, True))
    changes.append(PassLineOpened(season.number, season.starts_ms, season.ends_ms))
    return Outcome(
        replies=(PassBuyOk(season.number, wallet.cash - season.price_cash),),
        changes=changes,
        row_refused=_NOT_RUNNING,
    )


@handles(Op.PASS_CLAIM, needs=("wallet", "bag", "pass_progress"), mutates=True)
def claim(
    message: PassClaim, *, wallet: Wallet, bag: Bag, pass_progress: PassParts, env: Env
) -> Outcome | Refuse:
    """One reward of a reached level, once for ever; the paid line only for who bought it."""
    content: Content = env.content
    season = content.passes.seasons.get(message.pass_id)
    if season is None:
        return _PASS_UNKNOWN
    if not season.near(env.now_ms, CLOCKS_APART_MS):
        return _NOT_RUNNING
    reward = season.rewards.get((message.level, message.line))
    if reward is None:
        return Refuse(Code.PASS_REWARD_UNKNOWN)
    mine = progress_of(pass_progress, season)
    if (reward.level, reward.line) in mine.claimed:
        return Refuse(Code.PASS_ALREADY_CLAIMED)
    if reward.line == _PAID and not mine.paid:
        return Refuse(Code.PASS_LINE_MISSING)
    if mine.level < reward.level:
        return Refuse(Code.PASS_LEVEL_MISSING)
    if max(wallet.gold + reward.gold, wallet.mileage + reward.mileage) > COINS_MAX:
        return Refuse(Code.COINS_LIMIT)
    placed = _placed(reward, bag, env)
    if placed is None:
        return no_room(bag, env)
    return _claimed(season, reward, wallet, placed)


def _placed(reward: Reward, bag: Bag, env: Env) -> list[Placement] | None:
    if reward.kind < 0:
        return []
    expires_ms = env.now_ms + reward.days * DAY_MS if reward.days else 0
    wanted = [(reward.kind, reward.code, reward.count)]
    return place_items(env.content, bag, wanted, env.new_uid, Account.MINT_PASS, expires_ms)


def _claimed(season: Season, reward: Reward, wallet: Wallet, placed: list[Placement]) -> Outcome:
    changes: list[Change] = [
        PassRewardClaimed(
            season.number, reward.level, reward.line, season.starts_ms, season.ends_ms
        ),
        *placed,
    ]
    for currency, amount in ((Currency.GOLD, reward.gold), (Currency.MILEAGE, reward.mileage)):
        if amount:
            changes.append(CoinsMoved(currency, amount, Account.MINT_PASS))
    reply = PassClaimOk(
        pass_id=season.number,
        level=reward.level,
        line=reward.line,
        items=[item_view(item_of(placement)) for placement in placed],
        gold=wallet.gold + reward.gold,
        cash=wallet.cash,
        mileage=wallet.mileage + reward.mileage,
    )
    return Outcome(replies=(reply,), changes=changes, row_refused=_NOT_RUNNING)
