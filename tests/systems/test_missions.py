"""Missions: real events move passes in their own commit, and nothing else moves them."""

import msgspec
import pytest
from tests.systems.game import CONTENT, applied, assert_refused, done, parts, player, sent
from tests.systems.pass_game import STARTS, at, mission, season

from mmo.content.passes import Season
from mmo.content.tables import EQUIPMENT
from mmo.contract import Outcome, ToUser
from mmo.state.bag import Item
from mmo.state.grant import Bundle, BundleItem, SourceKind
from mmo.state.pass_progress import MissionCount, PassMoved
from mmo.systems import season_pass
from mmo.systems.enhance import enhance
from mmo.systems.grants import claim_grant
from mmo.systems.growth import reward_kill
from mmo.systems.shop import buy
from mmo.wire.messages.enhance import Enhance
from mmo.wire.messages.hunt import GrantClaim, KillEarned
from mmo.wire.messages.season_pass import PassBuy, PassClaim, PassEvent, PassStateAsk
from mmo.wire.messages.shop import Buy
from mmo.wire.opcode import Code, Op

OP = (1, 1)
DAY_MS = 86_400_000


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
    ("source_kind", "bundle", "missions"),
    [
        (SourceKind.RAID, Bundle(exp=1), [5]),
        (SourceKind.RAID, Bundle(gold=1, score=9), [5]),
        (SourceKind.RAID, Bundle(items=(BundleItem(2, 1, 1),)), [5]),
        (SourceKind.RAID, Bundle(score=9), []),  # who idled, or did less than his share
        (Op.KILL_EARNED, Bundle(gold=1), [2]),  # whose player had moved on: counted where he is
        (Op.KILL_EARNED, Bundle(exp=1), [2]),
        (Op.KILL_EARNED, Bundle(items=(BundleItem(2, 1, 1),)), []),  # a straw man
        (SourceKind.PAYMENT, Bundle(gold=1), []),
        (SourceKind.CORRECTION, Bundle(gold=1), []),
    ],
)
def test_grant_when_of_a_raid_or_a_kill_then_moves_its_mission(
    source_kind: int, bundle: Bundle, missions: list[int]
) -> None:
    env = at(STARTS, all_events()).env(1)
    message = GrantClaim(1, int(source_kind), 9, msgspec.msgpack.encode(bundle))
    needs = parts(player(), "growth", "wallet", "bag", "score", "pass_progress")
    assert moved(claim_grant(message, **needs, env=env)) == missions


def test_login_when_counted_then_moves_its_mission() -> None:
    resident = player()
    env = at(STARTS, all_events()).env(1)
    counted = season_pass.count_event(
        PassEvent(1, "login"), **parts(resident, "pass_progress", "counters"), env=env
    )
    applied(resident, counted)
    assert resident.pass_progress[1].missions == (MissionCount(1, 0, 1),)


def test_login_when_counted_today_then_later_ones_move_nothing_until_tomorrow() -> None:
    resident, running = player(), msgspec.structs.replace(all_events(), ends_ms=9 * DAY_MS)
    moments = {
        DAY_MS - 1: [2],
        DAY_MS: [2],
        DAY_MS + 1: [0, 0],
        DAY_MS - 2: [0],  # at a server whose clock is behind
        2 * DAY_MS - 1: [0],
        2 * DAY_MS: [2, 0],
    }
    for now_ms, counts in moments.items():
        for count in counts:
            env = at(now_ms, running).env(1)
            needs = parts(resident, "pass_progress", "counters")
            outcome = season_pass.count_event(PassEvent(1, "login"), **needs, env=env)
            assert len(outcome.changes) == count
            applied(resident, outcome)
    assert resident.pass_progress[1].missions == (MissionCount(1, 0, 3),)


def test_missions_when_a_client_wants_them_done_then_no_message_of_his_says_so() -> None:
    """The event comes from the server's own rules; PASS_EVENT is internal."""
    assert season_pass.count_event.mmo_handler.by == "node"  # type: ignore[attr-defined]
    for wish in (PassClaim, PassBuy, PassStateAsk):
        assert not {"event", "mission", "exp", "level_to"} & set(wish.__struct_fields__)
