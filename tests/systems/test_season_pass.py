"""Season passes: levels from real events, claims once for ever, paid line, the season's edge."""

from typing import Any

import pytest
from tests.systems.game import (
    Game,
    applied,
    assert_refused,
    done,
    parts,
    player,
)
from tests.systems.pass_game import ENDS, FREE, PAID, STARTS, at, mission, reward, season

from mmo.content.passes import Season
from mmo.content.tables import CONSUMABLE, EQUIPMENT
from mmo.contract import Outcome, Refuse
from mmo.state.bag import Item, ItemBorn
from mmo.state.pass_progress import (
    MissionCount,
    PassLineOpened,
    PassMoved,
    PassProgress,
    PassRewardClaimed,
)
from mmo.state.player import Player
from mmo.state.wallet import COINS_MAX, Account, CoinsMoved, Currency
from mmo.systems import season_pass
from mmo.systems.missions import gain_pass_exp, moved_by
from mmo.systems.season_pass import CLOCKS_APART_MS
from mmo.systems.shop import DAY_MS
from mmo.wire.codec import encode
from mmo.wire.messages.season_pass import (
    PassBuy,
    PassClaim,
    PassEvent,
    PassProgressed,
    PassStateAsk,
)
from mmo.wire.opcode import Code

OP = (1, 1)
EDGES = (-(2**63), -1, 0, 2**63 - 1)


def holding(resident: Player, level: int = 0, exp: int = 0, **more: Any) -> Player:
    """The player with progress in pass 1."""
    resident.pass_progress[1] = PassProgress(1, level, exp, **more)
    return resident


def happen(resident: Player, event: str, *seasons: Season, now_ms: int = STARTS) -> Outcome:
    """An event without a commit of its own, applied."""
    env = at(now_ms, *seasons).env(1)
    outcome = season_pass.count_event(
        PassEvent(1, event), **parts(resident, "pass_progress", "counters"), env=env
    )
    applied(resident, outcome)
    return outcome


def claim(
    resident: Player,
    running: Season,
    level: int = 1,
    line: int = FREE,
    *,
    number: int = 1,
    now_ms: int = STARTS,
) -> Outcome | Refuse:
    """What claiming a reward says."""
    outcome: Outcome | Refuse = season_pass.claim(
        PassClaim(OP, number, level, line),
        **parts(resident, "wallet", "bag", "pass_progress"),
        env=at(now_ms, running).env(1),
    )
    return outcome


def buy_line(
    resident: Player, running: Season, number: int = 1, now_ms: int = STARTS, price: int = 0
) -> Outcome | Refuse:
    """What opening the paid line says."""
    outcome: Outcome | Refuse = season_pass.buy_line(
        PassBuy(OP, number, price),
        **parts(resident, "wallet", "pass_progress"),
        env=at(now_ms, running).env(1),
    )
    return outcome


# -- levels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "arrived", "level_after", "exp_after"),
    [
        (0, 1, 0, 1),
        (0, 2, 1, 0),
        (0, 4, 1, 2),
        (0, 5, 2, 0),  # two levels at once
        (0, 9, 3, 0),  # all of them
        (0, 10**15, 3, 0),  # never past the table
        (3, 7, 3, 0),
        (4, 7, 4, 0),  # a table that became shorter
    ],
)
def test_pass_exp_when_it_arrives_then_pays_for_levels(
    level: int, arrived: int, level_after: int, exp_after: int
) -> None:
    assert gain_pass_exp(season(), level, arrived) == (level_after, exp_after)


def test_event_when_a_mission_counts_it_then_progress_goal_and_exp_move() -> None:
    running = season(missions=(mission(goal=3, exp=4),))
    resident = player()
    for progress in (1, 2):
        outcome = happen(resident, "kill", running)
        assert resident.pass_progress[1].missions == (MissionCount(1, progress, 0),)
        assert resident.pass_progress[1].exp == 0
    outcome = happen(resident, "kill", running)
    assert outcome.replies == [PassProgressed(1, 1, 2, 1, 0)]
    mine = resident.pass_progress[1]
    assert (mine.level, mine.exp, mine.missions) == (1, 2, (MissionCount(1, 0, 1),))


def test_event_when_the_first_of_a_pass_then_its_row_is_new_and_later_not() -> None:
    resident = player()
    news = [happen(resident, "kill", season()).changes[0].is_new for _ in range(3)]
    assert news == [True, False, False]


def test_event_when_no_mission_counts_it_then_nothing_moves() -> None:
    resident = player()
    for event in ("purchase", "login", "", "no such event"):
        assert happen(resident, event, season()) == Outcome(replies=[], changes=[])
    assert resident.pass_progress == {}


def test_event_when_a_mission_was_done_often_enough_then_it_counts_no_more() -> None:
    running, resident = season(missions=(mission(times=2),)), player()
    for _ in range(5):
        happen(resident, "kill", running)
    assert resident.pass_progress[1].missions == (MissionCount(1, 0, 2),)
    assert (resident.pass_progress[1].level, resident.pass_progress[1].exp) == (1, 0)


def test_event_when_several_passes_and_missions_count_it_then_all_move_and_are_told() -> None:
    first = season(1, missions=(mission(1, exp=2), mission(2, goal=2, exp=3), mission(3, "login")))
    second = season(2, missions=(mission(7, exp=5),))
    resident = player()
    outcome = happen(resident, "kill", first, second)
    assert [(told.pass_id, told.mission, told.progress) for told in outcome.replies] == [
        (1, 1, 0),
        (1, 2, 1),
        (2, 7, 0),
    ]
    assert [type(change) for change in outcome.changes] == [PassMoved, PassMoved]
    assert resident.pass_progress[1].level == 1 and resident.pass_progress[2].level == 2


@pytest.mark.parametrize(
    ("now_ms", "moves"), [(STARTS - 1, 0), (STARTS, 1), (ENDS - 1, 1), (ENDS, 0), (ENDS + 1, 0)]
)
def test_event_when_outside_the_period_then_nothing_moves(now_ms: int, moves: int) -> None:
    assert len(happen(player(), "kill", season(), now_ms=now_ms).changes) == moves


def test_event_when_the_highest_level_is_reached_then_exp_is_zero_there() -> None:
    running, resident = season(exp_need=(1,), missions=(mission(exp=9),)), player()
    for _ in range(3):
        happen(resident, "kill", running)
    assert (resident.pass_progress[1].level, resident.pass_progress[1].exp) == (1, 0)


# -- claiming --------------------------------------------------------------------------------------


def test_claim_when_the_level_is_reached_then_reward_and_claim_are_one_commit() -> None:
    gives = reward(2, kind=CONSUMABLE, code=1, count=3, gold=7, mileage=4)
    running = season(rewards=(gives,))
    resident = holding(player(gold=1, cash=2, mileage=3), level=2)
    outcome = done(claim(resident, running, 2))
    applied(resident, outcome)
    claimed, born, *coins = outcome.changes
    assert claimed == PassRewardClaimed(1, 2, FREE, STARTS, ENDS)
    assert isinstance(born, ItemBorn) and born.source == Account.MINT_PASS
    assert coins == [
        CoinsMoved(Currency.GOLD, 7, Account.MINT_PASS),
        CoinsMoved(Currency.MILEAGE, 4, Account.MINT_PASS),
    ]
    reply = outcome.replies[0]
    assert (reply.gold, reply.cash, reply.mileage) == (8, 2, 7)
    assert [(view.kind, view.code, view.count) for view in reply.items] == [(CONSUMABLE, 1, 3)]
    assert (resident.wallet.gold, resident.wallet.mileage) == (8, 7)
    assert_refused(claim(resident, running, 2), Code.PASS_ALREADY_CLAIMED)


def test_claim_when_for_days_then_the_item_is_rented() -> None:
    running = season(rewards=(reward(kind=EQUIPMENT, code=4, days=7),))
    reply = done(claim(holding(player(), level=1), running)).replies[0]
    assert reply.items[0].expires_ms == STARTS + 7 * DAY_MS


def test_claim_when_it_comes_a_second_time_then_only_that_reward_is_spent() -> None:
    running = season(rewards=tuple(reward(n, line) for n in (1, 2, 3) for line in (FREE, PAID)))
    resident = holding(player(), level=3, paid=True)
    for level in (1, 2, 3):
        for line in (FREE, PAID):
            applied(resident, done(claim(resident, running, level, line)))
            assert_refused(claim(resident, running, level, line), Code.PASS_ALREADY_CLAIMED)
    assert resident.wallet.gold == 6 * 5


def test_claim_when_the_pass_moves_on_then_claims_stay_claimed() -> None:
    running, resident = season(), holding(player(), level=1)
    applied(resident, done(claim(resident, running)))
    happen(resident, "kill", running)
    applied(resident, done(buy_line(holding_cash(resident), running)))
    assert_refused(claim(resident, running), Code.PASS_ALREADY_CLAIMED)


def holding_cash(resident: Player) -> Player:
    """The player with enough for a paid line."""
    CoinsMoved(Currency.CASH, 50, Account.MINT_PAYMENT).apply(resident)
    return resident


def test_claim_when_the_level_is_not_reached_then_is_refused() -> None:
    assert_refused(claim(player(), season()), Code.PASS_LEVEL_MISSING)
    assert_refused(claim(holding(player(), 0, 1), season()), Code.PASS_LEVEL_MISSING)


def test_claim_when_of_the_paid_line_then_only_for_who_bought_it() -> None:
    assert_refused(claim(holding(player(), 1), season(), 1, PAID), Code.PASS_LINE_MISSING)
    assert isinstance(claim(holding(player(), 1, paid=True), season(), 1, PAID), Outcome)


@pytest.mark.parametrize("number", [*EDGES, 2])
def test_claim_when_there_is_no_such_pass_then_is_refused(number: int) -> None:
    assert_refused(claim(holding(player(), 3), season(), number=number), Code.PASS_UNKNOWN)


@pytest.mark.parametrize(
    ("level", "line"),
    [(level, FREE) for level in (*EDGES, 2, 4)] + [(1, line) for line in (-(2**63), -1, 2, 2**40)],
)
def test_claim_when_there_is_no_such_level_or_line_then_is_refused(level: int, line: int) -> None:
    resident = holding(player(), 3, paid=True)
    assert_refused(claim(resident, season(), level, line), Code.PASS_REWARD_UNKNOWN)


AROUND = [
    (STARTS - CLOCKS_APART_MS, 0),
    (STARTS - CLOCKS_APART_MS + 1, 1),
    (STARTS, 1),
    (ENDS - 1, 1),
    (ENDS + CLOCKS_APART_MS - 1, 1),
    (ENDS + CLOCKS_APART_MS, 0),
]
"""A moment by the node's clock, and whether the database is asked then."""


@pytest.mark.parametrize(("now_ms", "held"), AROUND)
def test_claim_when_at_the_seasons_edge_then_the_database_decides(now_ms: int, held: bool) -> None:
    outcome = claim(holding(player(), 1), season(), now_ms=now_ms)
    if not held:
        assert_refused(outcome, Code.PASS_NOT_RUNNING)
        return
    # The node's clock only lets it through; the database's decides, by the window in the change.
    change = done(outcome).changes[0]
    assert (change.starts_ms, change.ends_ms) == (STARTS, ENDS)
    assert done(outcome).row_refused == Refuse(Code.PASS_NOT_RUNNING)


def test_claim_when_it_does_not_fit_then_nothing_is_given_and_it_stays_open() -> None:
    full = tuple(Item(n + 1, EQUIPMENT, n, 1, 1) for n in range(10))
    running = season(rewards=(reward(kind=EQUIPMENT, code=4, gold=5),))
    assert_refused(claim(holding(player(items=full), 1), running), Code.BAG_FULL)
    rich = holding(player(gold=COINS_MAX - 4, items=full[1:]), 1)
    assert_refused(claim(rich, running), Code.COINS_LIMIT)


def test_claim_when_of_a_level_above_64_then_works_like_any_other() -> None:
    rewards = tuple(reward(level, gold=level) for level in range(1, 1001))
    running = season(exp_need=(1,) * 1000, rewards=rewards)
    resident = holding(player(), 1000)
    for level in (31, 32, 33, 63, 64, 65, 128, 1000):
        applied(resident, done(claim(resident, running, level)))
    assert resident.wallet.gold == 31 + 32 + 33 + 63 + 64 + 65 + 128 + 1000


# -- the paid line ---------------------------------------------------------------------------------


def test_paid_line_when_bought_then_costs_its_price_once_and_opens_reached_levels() -> None:
    running, resident = season(), holding(player(cash=60), 1, 1)
    outcome = done(buy_line(resident, running))
    applied(resident, outcome)
    assert outcome.changes[0] == CoinsMoved(Currency.CASH, -50, Account.SINK_PASS)
    assert outcome.replies[0].cash == resident.wallet.cash == 10
    mine = resident.pass_progress[1]
    assert (mine.level, mine.exp, mine.paid) == (1, 1, True)
    assert_refused(buy_line(resident, running), Code.PASS_LINE_OWNED)
    assert isinstance(claim(resident, running, 1, PAID), Outcome)


def test_paid_line_when_bought_first_of_all_then_the_row_is_new() -> None:
    resident = player(cash=50)
    outcome = done(buy_line(resident, season()))
    assert outcome.changes[1] == PassMoved(1, 0, 0, False, (), True)
    applied(resident, outcome)
    assert resident.pass_progress[1] == PassProgress(1, paid=True)


@pytest.mark.parametrize("cash", [-7, 0, 49])
def test_paid_line_when_cash_is_missing_then_is_refused(cash: int) -> None:
    assert_refused(buy_line(player(cash=cash), season()), Code.NOT_ENOUGH_CASH)


def test_paid_line_when_another_price_was_shown_then_is_refused_and_costs_nothing() -> None:
    for price in (49, 51, -50, 2**63 - 1):
        outcome = buy_line(player(cash=99), season(), price=price)
        assert_refused(outcome, Code.PRICE_CHANGED, "50")
    stated, silent = (done(buy_line(player(cash=99), season(), price=p)) for p in (50, 0))
    assert stated.changes == silent.changes


def test_paid_line_when_the_pass_is_unknown_then_is_refused() -> None:
    for number in (*EDGES, 2):
        assert_refused(buy_line(player(cash=99), season(), number), Code.PASS_UNKNOWN)


@pytest.mark.parametrize(("now_ms", "held"), AROUND)
def test_paid_line_when_at_the_seasons_edge_then_the_database_decides(
    now_ms: int, held: bool
) -> None:
    outcome = buy_line(player(cash=99), season(), now_ms=now_ms)
    if not held:
        assert_refused(outcome, Code.PASS_NOT_RUNNING)
        return
    assert done(outcome).changes[-1] == PassLineOpened(1, STARTS, ENDS)
    assert done(outcome).row_refused == Refuse(Code.PASS_NOT_RUNNING)


# -- what is shown ---------------------------------------------------------------------------------


def views(resident: Player, game: Game, number: int = 0) -> Outcome | Refuse:
    """The answer to PASS_STATE."""
    env = Game.env(game, 1)
    outcome: Outcome | Refuse = season_pass.pass_state(
        PassStateAsk(number), **parts(resident, "pass_progress"), env=env
    )
    return outcome


def test_state_when_several_passes_run_then_each_is_there_with_its_own_progress() -> None:
    first = season(1, missions=(mission(goal=5),))
    later = season(3, starts_ms=STARTS + 1)
    resident = holding(
        player(), 2, 1, missions=(MissionCount(1, 3, 9),), claimed=frozenset({(1, 0)})
    )
    reply = done(views(resident, at(STARTS, first, season(2), later))).replies[0]
    one, two = reply.passes
    assert (one.pass_id, one.level, one.exp, one.claimed) == (1, 2, 1, [(1, 0)])
    assert (one.missions[0].progress, one.missions[0].goal, one.missions[0].done) == (3, 5, 9)
    assert (two.pass_id, two.level, two.exp, two.claimed) == (2, 0, 0, [])
    assert reply.more == []


def test_state_when_passes_are_huge_then_those_that_do_not_fit_are_named_and_come_alone() -> None:
    claimed = frozenset((level, line) for level in range(1, 1001) for line in (FREE, PAID))
    seasons = [season(number, exp_need=(1,) * 1000) for number in (1, 2, 3)]
    resident = player()
    for number in (1, 2, 3):
        resident.pass_progress[number] = PassProgress(number, 1000, 0, True, (), claimed)
    reply = done(views(resident, at(STARTS, *seasons))).replies[0]
    assert [view.pass_id for view in reply.passes] == [1] and reply.more == [2, 3]
    alone = done(views(resident, at(STARTS, *seasons), 3)).replies[0]
    assert [view.pass_id for view in alone.passes] == [3]
    assert len(encode(reply)) < 16_384 and len(encode(alone)) < 16_384


def test_state_when_one_pass_is_asked_for_then_an_unknown_or_ended_one_is_refused() -> None:
    assert_refused(views(player(), at(STARTS, season()), 2), Code.PASS_UNKNOWN)
    assert_refused(views(player(), at(ENDS, season()), 1), Code.PASS_NOT_RUNNING)


def test_arithmetic_when_exp_comes_in_any_steps_then_none_is_lost() -> None:
    running = season(exp_need=(3, 1, 4, 1, 5), missions=(mission(exp=2),))
    resident = player()
    for count in range(1, 8):
        happen(resident, "kill", running)
        mine = resident.pass_progress[1]
        if mine.level < running.level_max:
            assert sum(running.exp_need[: mine.level]) + mine.exp == 2 * count
    assert resident.pass_progress[1].level == running.level_max


def test_moved_by_when_nothing_runs_then_nothing_moves() -> None:
    game = at(ENDS, season())
    assert moved_by(game.content, player().pass_progress, "kill", ENDS) == ([], [])
