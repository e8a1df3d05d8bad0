"""Season passes: levels from real events, claims once for ever, paid line, the season's edge."""

from typing import Any

import msgspec
import pytest
from tests.systems.game import (
    CENTER,
    CONTENT,
    Game,
    applied,
    assert_refused,
    done,
    parts,
    player,
    sent,
)

from mmo.content.passes import MissionRow, Reward, Season
from mmo.content.tables import CONSUMABLE, EQUIPMENT
from mmo.contract import Outcome, Refuse, ToUser
from mmo.state.bag import Item, ItemBorn
from mmo.state.grant import Bundle, SourceKind
from mmo.state.pass_progress import MissionCount, PassMoved, PassProgress, PassRewardClaimed
from mmo.state.player import Player
from mmo.state.wallet import COINS_MAX, Account, CoinsMoved, Currency
from mmo.systems import season_pass
from mmo.systems.enhance import enhance
from mmo.systems.grants import claim_grant
from mmo.systems.growth import reward_kill
from mmo.systems.missions import gain_pass_exp, moved_by
from mmo.systems.shop import DAY_MS, buy
from mmo.wire.codec import encode
from mmo.wire.messages.enhance import Enhance
from mmo.wire.messages.hunt import GrantClaim, KillEarned
from mmo.wire.messages.season_pass import (
    PassBuy,
    PassClaim,
    PassEvent,
    PassProgressed,
    PassStateAsk,
)
from mmo.wire.messages.shop import Buy
from mmo.wire.opcode import Code, Op

OP = (1, 1)
EDGES = (-(2**63), -1, 0, 2**63 - 1)
STARTS, ENDS = 1_000_000, 2_000_000
FREE, PAID = 0, 1


def mission(number: int = 1, event: str = "kill", goal: int = 1, exp: int = 1, times: int = 99) -> (
    MissionRow
):  # fmt: skip
    """A mission of the tests."""
    return MissionRow(number, event, goal, exp, times)


def reward(level: int = 1, line: int = FREE, **gives: Any) -> Reward:
    """A reward; 5 gold when nothing else is said."""
    fields = {"kind": -1, "code": 0, "count": 1, "days": 0, "gold": 0, "mileage": 0}
    return Reward(level, line, **{**fields, **(gives or {"gold": 5})})


def season(number: int = 1, *, exp_need: tuple[int, ...] = (2, 3, 4), **changed: Any) -> Season:
    """A pass of the tests with one mission and a reward on each line of level 1."""
    rewards = changed.pop("rewards", (reward(), reward(line=PAID)))
    fields: dict[str, Any] = {
        "number": number,
        "name": f"Season {number}",
        "starts_ms": STARTS,
        "ends_ms": ENDS,
        "exp_need": exp_need,
        "price_cash": 50,
        "missions": (mission(),),
        "rewards": {(each.level, each.line): each for each in rewards},
    }
    return Season(**{**fields, **changed})


def at(now_ms: int, *seasons: Season) -> Game:
    """A center at one moment whose content has these passes only."""
    game = Game("center", CENTER)
    passes = msgspec.structs.replace(
        CONTENT.passes, seasons={each.number: each for each in seasons}
    )
    game.content = msgspec.structs.replace(CONTENT, passes=passes)
    game.now_ms = now_ms
    return game


def holding(resident: Player, level: int = 0, exp: int = 0, **more: Any) -> Player:
    """The player with progress in pass 1."""
    resident.pass_progress[1] = PassProgress(1, level, exp, **more)
    return resident


def happen(resident: Player, event: str, *seasons: Season, now_ms: int = STARTS) -> Outcome:
    """An event without a commit of its own, applied."""
    env = at(now_ms, *seasons).env(1)
    outcome = season_pass.count_event(
        PassEvent(1, event), **parts(resident, "pass_progress"), env=env
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
    resident: Player, running: Season, number: int = 1, now_ms: int = STARTS
) -> Outcome | Refuse:
    """What opening the paid line says."""
    outcome: Outcome | Refuse = season_pass.buy_line(
        PassBuy(OP, number),
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


# -- real events move passes in their own commit --------------------------------------------------


def all_events() -> Season:
    """A pass with one mission for each event."""
    events = ("login", "kill", "purchase", "enhance", "raid")
    return season(missions=tuple(mission(n, each) for n, each in enumerate(events, start=1)))


def moved(outcome: Outcome) -> list[int]:
    """Missions that an outcome moved, by its durable changes; what is told must agree."""
    changed = [
        count.mission
        for change in outcome.changes
        if isinstance(change, PassMoved)
        for count in change.missions
    ]
    assert [send.message.mission for send in sent(outcome, ToUser)] == changed
    return changed


def test_kill_when_rewarded_then_moves_its_mission_in_the_same_commit() -> None:
    env = at(STARTS, all_events()).env(1)
    resident = player()
    needs = parts(resident, "growth", "wallet", "bag", "pass_progress")
    assert moved(reward_kill(KillEarned(1, 3, 3, 9), **needs, env=env)) == [2]
    assert moved(reward_kill(KillEarned(1, 0, 0, 0), **needs, env=env)) == []  # a straw man


def test_purchase_when_made_then_moves_its_mission_and_a_refused_one_does_not() -> None:
    env = at(STARTS, all_events()).env(1)
    line = CONTENT.shop.lines[5]
    message = Buy(OP, CONTENT.shop.catalogue, line.number, 1, line.price)
    needs = ("wallet", "bag", "counters", "pass_progress")
    bought = done(buy(message, **parts(player(gold=99), *needs), env=env))
    assert moved(bought) == [3]
    assert len(bought.replies) == 1  # the stored answer is the purchase alone
    assert_refused(buy(message, **parts(player(), *needs), env=env), Code.NOT_ENOUGH_GOLD)


def test_enhancement_when_tried_then_moves_its_mission_whatever_comes_of_it() -> None:
    env = at(STARTS, all_events()).env(1)
    needs = ("head", "bag", "wallet", "pass_progress")
    for rolled in (0, 999_999):
        env.roll = lambda *arguments, rolled=rolled: rolled
        resident = player(gold=999, items=(Item(1, EQUIPMENT, 0, 1, 1, 5),))
        assert moved(done(enhance(Enhance(OP, 1), **parts(resident, *needs), env=env))) == [4]


@pytest.mark.parametrize(
    ("source_kind", "missions"),
    [
        (SourceKind.RAID, [5]),
        (Op.KILL_EARNED, [2]),  # a kill whose player had moved on is counted where he is
        (SourceKind.PAYMENT, []),
        (SourceKind.CORRECTION, []),
    ],
)
def test_grant_when_of_a_raid_or_a_kill_then_moves_its_mission(
    source_kind: int, missions: list[int]
) -> None:
    env = at(STARTS, all_events()).env(1)
    message = GrantClaim(1, int(source_kind), 9, msgspec.msgpack.encode(Bundle(gold=1)))
    needs = parts(player(), "growth", "wallet", "bag", "pass_progress")
    assert moved(claim_grant(message, **needs, env=env)) == missions


def test_login_when_counted_then_moves_its_mission() -> None:
    resident = player()
    happen(resident, "login", all_events())
    assert resident.pass_progress[1].missions == (MissionCount(1, 0, 1),)


def test_missions_when_a_client_wants_them_done_then_no_message_of_his_says_so() -> None:
    """The event comes from the server's own rules; PASS_EVENT is internal."""
    assert season_pass.count_event.mmo_handler.by == "node"  # type: ignore[attr-defined]
    for wish in (PassClaim, PassBuy, PassStateAsk):
        assert not {"event", "mission", "exp", "level_to"} & set(wish.__struct_fields__)


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


@pytest.mark.parametrize(
    ("now_ms", "held"), [(STARTS - 1, 0), (STARTS, 1), (ENDS - 1, 1), (ENDS, 0)]
)
def test_claim_when_at_the_seasons_edge_then_runs_in_its_period_only(
    now_ms: int, held: bool
) -> None:
    outcome = claim(holding(player(), 1), season(), now_ms=now_ms)
    if not held:
        assert_refused(outcome, Code.PASS_NOT_RUNNING)
        return
    # The node's clock only lets it through; the database's decides, by the window in the change.
    change = done(outcome).changes[0]
    assert (change.starts_ms, change.ends_ms) == (STARTS, ENDS)


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
    outcome = done(buy_line(player(cash=50), season()))
    assert outcome.changes[1] == PassMoved(1, 0, 0, True, (), True)


@pytest.mark.parametrize("cash", [-7, 0, 49])
def test_paid_line_when_cash_is_missing_then_is_refused(cash: int) -> None:
    assert_refused(buy_line(player(cash=cash), season()), Code.NOT_ENOUGH_CASH)


def test_paid_line_when_the_pass_is_unknown_or_does_not_run_then_is_refused() -> None:
    for number in (*EDGES, 2):
        assert_refused(buy_line(player(cash=99), season(), number), Code.PASS_UNKNOWN)
    for now_ms in (STARTS - 1, ENDS):
        outcome = buy_line(player(cash=99), season(), now_ms=now_ms)
        assert_refused(outcome, Code.PASS_NOT_RUNNING)


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
