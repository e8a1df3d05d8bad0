"""Matching when messages, links and servers are lost: no ticket and no seat is lost or doubled."""

from collections import Counter
from typing import Any

import pytest
from tests.systems.game import CONTENT
from tests.systems.match_game import CENTERS, MATCHING, MatchGame
from tests.systems.test_matching import FOUR, LEVEL, PAIR, game_with, queue, teams

from mmo.state.center_tickets import CenterTickets
from mmo.state.match_tickets import MatchTickets
from mmo.state.sessions import SessionLost
from mmo.systems.matching_rooms import LOST_A_LOOK_MAX
from mmo.systems.raid_entry import row_of
from mmo.wire.messages.raid_link import TicketsAll
from mmo.wire.messages.raid_queue import (
    RaidCancelOk,
    RaidMatched,
    RaidQueueOk,
    RaidUnmatched,
)
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

LIMITS = CONTENT.matching.limits


def held(game: MatchGame) -> MatchTickets:
    """What the matching server holds."""
    return game.games[MATCHING].matching


def center_tickets(game: MatchGame) -> dict[int, int]:
    """User -> ticket over all centers."""
    found: dict[int, int] = {}
    for number in CENTERS:
        tickets: CenterTickets = game.games[number].tickets
        found |= {user: one.ticket for user, one in tickets.of_user.items()}
    return found


def drop(game: MatchGame, source: int, target: int) -> None:
    """What is on a link is lost."""
    game.links[source, target].clear()


def test_matching_server_when_killed_then_the_centers_hand_their_tickets_in_again() -> None:
    game = game_with(7, rooms=0)
    queue(game, 3, 1, 2, 4, 5)
    tickets = center_tickets(game)
    game.restart(MATCHING)
    assert not held(game).tickets
    game.advance(3_000)
    assert {user: one.ticket for user, one in held(game).tickets.items()} == tickets
    game.rooms = 100
    game.advance(500)
    assert teams(game) == [[3, 1], [2, 4]], "in their old order"
    queue(game, 6)
    game.advance(200)
    assert teams(game)[-1] == [5, 6]


def test_matching_server_when_killed_between_seats_and_message_then_they_are_found_again() -> None:
    game = game_with(2)
    queue(game, 1, 2)
    while not game.raids:
        game.advance(50, delivers=False)
        for ends in list(game.links):
            if ends[1] in (31, 32):
                game.deliver(*ends)
    game.restart(MATCHING)  # RAID_RESERVED is lost with it
    game.advance(4_000)
    assert len(game.raids) <= 1
    last = [game.told[user][-1] for user in (1, 2)]
    assert last == [RaidUnmatched(Code.ALREADY_IN_RAID)] * 2, "he finds it by RAID_REJOIN"


def test_center_when_killed_then_its_tickets_are_dropped_and_no_seat_is_kept_for_a_ghost() -> None:
    game = game_with(4)
    queue(game, 2)  # at center 2
    game.restart(2)
    game.advance(3_000)
    assert not held(game).tickets
    queue(game, 1)
    game.advance(1_000)
    assert not teams(game)


def test_center_when_it_is_silent_for_long_then_its_tickets_wait_no_more_until_it_is_back() -> None:
    game = game_with(4, rooms=0)
    queue(game, 2, 1)
    game.cut_off(2)
    game.advance(LIMITS.center_fresh_ms + 500)
    assert list(held(game).tickets) == [1]
    game.heal(2)
    game.advance(4_000)
    assert sorted(held(game).tickets) == [1, 2]
    game.rooms = 10
    game.advance(500)
    assert teams(game) == [[2, 1]], "his place is the old one"


def test_center_when_it_is_silent_with_many_tickets_then_they_are_dropped_a_part_a_look() -> None:
    game = game_with(0, rooms=0)
    for user in range(1, LOST_A_LOOK_MAX + 51):
        game.arrive(user, 2)
        game.queue(user, PAIR, level=LEVEL)
    game.settle()
    game.cut_off(2)
    game.advance(LIMITS.center_fresh_ms - 500)
    left = {len(held(game).tickets)}
    for _ in range(40):
        game.advance(50)
        left.add(len(held(game).tickets))
    assert left == {LOST_A_LOOK_MAX + 50, 50, 0} and 2 not in held(game).centers


def test_match_when_its_message_was_lost_then_is_told_again() -> None:
    game = game_with(2)
    queue(game, 1, 2)
    while game.kinds_told(2).count("RaidMatched") == 0:
        game.advance(50, delivers=False)
        for ends in list(game.links):
            if ends == (MATCHING, 3):
                drop(game, *ends)
            else:
                for _ in range(len(game.links[ends])):
                    game.deliver(*ends)
    assert game.kinds_told(1) == ["RaidQueueOk"]
    game.advance(6_000)
    assert [type(one) for one in game.told[1]] == [RaidQueueOk, RaidMatched]
    assert game.kinds_told(2).count("RaidMatched") == 1, "and only to whom it was lost"
    assert not center_tickets(game)


def test_match_when_a_player_queues_while_it_is_on_its_way_then_he_is_not_matched_twice() -> None:
    game = game_with(3)
    queue(game, 1, 2)
    game.advance(50, delivers=False)
    game.settle()
    game.where.clear()  # the books would not stop it
    queue(game, 3)
    game.advance(3_000)
    counts = Counter(user for team in teams(game) for user in team)
    assert set(counts.values()) == {1}


def test_question_when_it_is_lost_then_he_is_told_and_no_ghost_of_it_stays() -> None:
    game = game_with(2)
    game.queue(1, level=LEVEL)
    drop(game, 3, MATCHING)
    game.advance(LIMITS.ask_ms + 500)
    assert game.told[1] == [Refused(Code.MATCHING_AWAY)]
    game.advance(2_000)
    assert not center_tickets(game) and not held(game).tickets


def test_answer_when_it_is_lost_then_what_waits_there_is_dropped_or_replaced() -> None:
    game = game_with(4, rooms=0)
    game.queue(1, level=LEVEL)
    game.queue(2, level=LEVEL)
    for center in CENTERS:
        game.deliver(center, MATCHING)
        drop(game, MATCHING, center)
    assert len(held(game).tickets) == 2
    game.advance(LIMITS.ask_ms + 100)
    queue(game, 2)
    game.advance(6_000)
    assert list(held(game).tickets) == [2] == list(center_tickets(game))
    assert held(game).tickets[2].ticket == center_tickets(game)[2]


def test_cancel_when_no_matching_server_lives_then_is_done_and_stays_so() -> None:
    game = game_with(2, rooms=0)
    queue(game, 1, 2)
    game.cut_off(MATCHING)
    game.cancel(1)
    assert game.told[1][-1] == Refused(Code.MATCHING_AWAY), "it was there a moment ago"
    game.advance(LIMITS.server_fresh_ms + 250)
    game.cancel(1)
    assert isinstance(game.told[1][-1], RaidCancelOk)
    game.heal(MATCHING)
    game.advance(4_000)
    assert list(held(game).tickets) == [2]


def test_cancel_when_his_team_is_formed_then_is_too_late_and_he_has_his_seat() -> None:
    game = game_with(2)
    queue(game, 1, 2)
    game.mute.update((31, 32))
    game.advance(100)
    game.cancel(1)
    game.settle()
    assert game.told[1][-1] == Refused(Code.ALREADY_MATCHED)
    game.mute.clear()
    game.advance(LIMITS.reserve_ms + 3_000)
    assert isinstance(game.told[1][-1], RaidMatched)


@pytest.mark.parametrize("end", ["disconnect", "session"])
def test_player_when_he_is_gone_then_his_ticket_is_and_his_party_waits_on(end: str) -> None:
    game = game_with(4)
    kind = next(number for number, row in CONTENT.raids.kinds.items() if row.team_size == 4)
    queue(game, 1, 2, 3, kind=kind, party="A", party_size=3)
    game.disconnect(2)
    game.settle()
    assert sorted(held(game).tickets) == [1, 3]
    game.arrive(2, 3)
    queue(game, 2, kind=kind, party="A", party_size=3)
    queue(game, 4, kind=kind)
    game.advance(200)
    assert sorted(teams(game)[0]) == [1, 2, 3, 4]


def test_player_when_he_is_gone_while_seats_are_asked_for_then_does_not_come_back() -> None:
    game = game_with(3)
    queue(game, 1, 2)
    game.mute.update((31, 32))
    game.advance(100)
    game.disconnect(1)
    game.settle()
    assert sorted(held(game).tickets) == [1, 2], "in the team he stays until its end"
    game.mute.clear()
    game.advance(LIMITS.reserve_ms + 2_000)
    assert list(held(game).tickets) == [2] == list(center_tickets(game))
    assert not held(game).leaving and not held(game).forming


def test_player_when_he_comes_back_before_his_old_connection_is_missed_then_waits_on() -> None:
    game = game_with(2)
    queue(game, 1)
    game.arrive(1, 3)  # the same session on a connection of another number
    game.games[3].hold_session(1, 3, 1, conn=99)
    game.advance(3_000)
    assert list(held(game).tickets) == [1]


# -- who is taken out of the queue has his place when he is back -----------------------------------

BACK_MS = LIMITS.place_kept_ms // 2


def since_ms(game: MatchGame, user: int) -> int:
    """Since when he waits; what his center would tell again says the same."""
    mine = game.games[game.center_of(user)].tickets.waits(user)
    assert mine is not None and mine.since_ms == held(game).tickets[user].since_ms
    return mine.since_ms


def waits_for_long(game: MatchGame, user: int) -> int:
    """He queues at center 3 and waits; since when."""
    queue(game, user)
    began_ms = since_ms(game, user)
    game.advance(40_000)
    return began_ms


def since_ms_at(game: MatchGame, center: int, user: int, kind: int = PAIR, **wish: Any) -> int:
    """He comes to another center and queues again: since when he waits there."""
    game.arrive(user, center, epoch=2)
    queue(game, user, kind=kind, **wish)
    return since_ms(game, user)


def test_player_when_his_center_drains_then_has_his_place_at_the_next_one() -> None:
    game = game_with(4, rooms=0)
    began_ms = waits_for_long(game, 1)
    queue(game, 2)
    game.disconnect(1)
    game.advance(BACK_MS)
    assert not held(game).tickets.get(1)
    assert since_ms_at(game, 2, 1) == began_ms
    queue(game, 4)
    game.rooms = 1
    game.advance(500)
    assert teams(game) == [[1, 2]], "the fourth came later than both"


@pytest.mark.parametrize("is_back", [True, False])
def test_player_when_his_center_dies_then_has_his_place_at_the_next_one(is_back: bool) -> None:
    game = game_with(1, rooms=0)
    began_ms = waits_for_long(game, 1)
    if is_back:
        game.restart(3)
        game.advance(3_000)
    else:
        game.cut_off(3)
        SessionLost(1).apply(game.games[3].sessions)
        game.advance(LIMITS.center_fresh_ms + 500)
    assert not held(game).tickets
    assert since_ms_at(game, 2, 1) == began_ms


def test_player_when_he_comes_before_his_old_center_is_missed_then_has_his_place() -> None:
    game = game_with(1, rooms=0)
    began_ms = waits_for_long(game, 1)
    game.cut_off(3)
    SessionLost(1).apply(game.games[3].sessions)
    assert since_ms_at(game, 2, 1) == began_ms


@pytest.mark.parametrize("why", ["wish", "kind", "late"])
def test_player_when_nothing_was_taken_from_him_then_he_waits_from_now_on(why: str) -> None:
    game = game_with(1, rooms=0)
    began_ms = waits_for_long(game, 1)
    if why == "wish":
        game.cancel(1)
        game.settle()
    game.disconnect(1)
    game.settle()
    game.advance(LIMITS.place_kept_ms + 1_100 if why == "late" else BACK_MS)
    kind = FOUR if why == "kind" else PAIR
    assert since_ms_at(game, 2, 1, kind) >= began_ms + 40_000
    assert not held(game).places


@pytest.mark.parametrize("is_gone", [True, False])
@pytest.mark.parametrize("then", [{}, {"party": "B", "party_size": 2}])
def test_player_when_he_waited_for_friends_then_has_no_place_elsewhere(
    then: dict[str, Any], is_gone: bool
) -> None:
    """In an incomplete party nobody is matched: it would age him where he has nothing to lose."""
    game = game_with(1, rooms=0)
    queue(game, 1, party="A", party_size=2)
    began_ms = since_ms(game, 1)
    game.advance(40_000)
    if is_gone:
        game.disconnect(1)
        game.settle()
    else:
        SessionLost(1).apply(game.games[3].sessions)
    assert since_ms_at(game, 2, 1, **then) >= began_ms + 40_000


def test_player_when_his_party_comes_back_then_it_has_its_place() -> None:
    game = game_with(2, rooms=0)
    queue(game, 1, 2, party="A", party_size=2)
    began_ms = [since_ms(game, user) for user in (1, 2)]
    game.advance(40_000)
    for user in (1, 2):
        game.disconnect(user)
    game.settle()
    again = [since_ms_at(game, 2, user, party="A", party_size=2) for user in (1, 2)]
    assert again == began_ms


def test_ticket_when_an_older_one_is_listed_by_a_center_that_was_away_then_stays() -> None:
    """Both are of one session and one place: what was asked for later counts."""
    game = game_with(1, rooms=0)
    began_ms = waits_for_long(game, 1)
    game.cut_off(3)
    game.arrive(1, 2)
    queue(game, 1)
    newer = held(game).tickets[1]
    assert (newer.center, newer.since_ms) == (2, began_ms)
    game.heal(3)
    game.advance(15_000)
    assert held(game).tickets[1] == newer


def test_ticket_when_its_question_was_lost_and_it_is_listed_then_has_its_place() -> None:
    game = game_with(3, rooms=0)
    began_ms = waits_for_long(game, 1)
    game.disconnect(1)
    game.settle()
    queue(game, 2)  # at center 2
    game.arrive(1, 2, epoch=2)
    game.queue(1, level=LEVEL)
    drop(game, 2, MATCHING)
    tickets = game.games[2].tickets
    game.send(2, MATCHING, TicketsAll(1, [row_of(one) for one in tickets.of_user.values()], True))
    game.advance(LIMITS.ask_ms + 500)
    assert game.told[1][-1] == Refused(Code.MATCHING_AWAY)
    queue(game, 1)
    assert since_ms(game, 1) == began_ms


def test_player_when_his_seat_is_found_after_he_left_then_no_place_is_kept_for_him() -> None:
    game = game_with(2, rooms=0)
    waits_for_long(game, 1)
    game.rooms = 1
    game.advance(250)
    queue(game, 2)
    game.advance(50, delivers=False)
    game.disconnect(1)
    while game.links[3, MATCHING]:
        game.deliver(3, MATCHING)
    assert held(game).team_of and held(game).places
    game.settle()
    assert game.raids and not held(game).places


def test_tickets_when_a_thousand_are_told_then_are_told_in_parts_of_the_limit() -> None:
    game = game_with(0, rooms=0)
    users = range(1, LIMITS.told_rows_max * (LIMITS.told_parts_max + 1) + 8)
    for user in users:
        game.arrive(user, 2)
        game.queue(user, PAIR, level=LEVEL)
    game.settle()
    game.restart(MATCHING)
    parts: list[TicketsAll] = []
    for _ in range(80):
        game.advance(50, delivers=False)
        parts += [m for m in game.links.get((2, MATCHING), []) if isinstance(m, TicketsAll)]
        game.settle()
    assert max(len(part.rows) for part in parts) == LIMITS.told_rows_max
    assert [part.last for part in parts].count(True) == 1 and parts[-1].last
    assert set(held(game).tickets) == set(users)


def test_tickets_when_one_is_put_before_the_first_part_then_it_is_not_taken_for_gone() -> None:
    game = game_with(3, rooms=0)
    queue(game, 1)
    held(game).drop(1)  # a difference that comes from nowhere
    center = 2 + 1 % 2
    told = game.games[center].tickets.telling
    while not told:
        game.advance(50)
    queue(game, 3)  # of the same center
    assert told, "all is told already"
    game.advance(1_000)
    assert set(held(game).tickets) == {1, 3}


def test_list_of_tickets_when_its_rest_never_comes_then_is_dropped_and_nobody_with_it() -> None:
    game = game_with(0, rooms=0)
    for user in (1, 2):
        game.arrive(user, 2)
        game.queue(user, PAIR, level=LEVEL)
    game.settle()
    part = TicketsAll(7, [row_of(game.games[2].tickets.of_user[1])], last=False)
    game.send(2, MATCHING, part)
    game.settle()
    center = held(game).centers[2]
    assert center.listing is not None and center.listing.heard
    game.advance(LIMITS.center_fresh_ms + 500)
    assert center.listing is None
    assert set(held(game).tickets) == {1, 2}


def test_tickets_when_players_come_and_go_all_the_time_then_are_told_again_seldom() -> None:
    game = game_with(40, rooms=0)
    queue(game, *range(1, 21))
    told = 0
    for step in range(400):
        game.advance(50, delivers=False)
        user = 21 + step % 20
        if game.games[CENTERS[user % 2]].tickets.get(user):
            game.disconnect(user)
            game.arrive(user, 2 + user % 2)
        elif not game.busy(user):
            game.queue(user, level=LEVEL)
        for ends in sorted(game.links):
            link = game.links[ends]
            told += sum(isinstance(message, TicketsAll) for message in link)
            for _ in range(len(link) // 2 + 1):  # always some on their way
                game.deliver(*ends)
    assert told <= 2 * (400 * 50 // LIMITS.differs_ms + 1)
    game.advance(15_000)
    tickets = {user: one.ticket for user, one in held(game).tickets.items()}
    assert tickets == center_tickets(game)
