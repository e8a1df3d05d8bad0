"""Matching: who is matched with whom, in which order, and what becomes of a team on its way."""

import pytest
from msgspec.structs import replace
from tests.systems.game import CONTENT
from tests.systems.match_game import MATCHING, RAIDS, MatchGame

from mmo.content.matching import Curve
from mmo.systems import matching, raid_entry
from mmo.systems.matching_teams import AGAIN_MS
from mmo.wire.messages.raid_link import TicketPut, TicketPutOk, TicketRow
from mmo.wire.messages.raid_queue import RaidExplainOk, RaidMatched, RaidUnmatched
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

LIMITS = CONTENT.matching.limits
PAIR = 1  # raid kind of two
SIZES = {number: row.team_size for number, row in CONTENT.raids.kinds.items()}
FOUR = next(number for number, size in SIZES.items() if size == 4)
LEVEL = 12  # open to every kind


def game_with(users: int, rooms: int = 100) -> MatchGame:
    """Players 1 to `users` in the lobby of two centers."""
    game = MatchGame(rooms)
    for user in range(1, users + 1):
        game.arrive(user, 2 + user % 2)
    return game


def queue(
    game: MatchGame, *users: int, kind: int = PAIR, level: int = LEVEL, **wish: object
) -> None:
    """They queue one after the other, each a millisecond later, and the servers rest."""
    for user in users:
        for each in game.games.values():
            each.now_ms += 1
        game.now_ms += 1
        game.queue(user, kind, level=level, **wish)
        game.settle()
    game.now_ms += -game.now_ms % 50


def teams(game: MatchGame) -> list[list[int]]:
    """The members of every team that seats were asked for, in the order of asking."""
    return [[seated.user for seated in asked.team] for asked in game.asked_for]


def refusal(game: MatchGame, user: int) -> int:
    """The code of the last refusal that a player was told."""
    last = game.told[user][-1]
    assert isinstance(last, Refused), last
    return last.code


@pytest.mark.parametrize(
    ("level", "group"), [(0, 1), (2, 1), (3, 2), (5, 2), (6, 3), (11, 4), (12, 5), (15, 6), (99, 6)]
)
def test_group_when_levels_are_those_of_the_reference_then_is_a_third_and_one(
    level: int, group: int
) -> None:
    assert CONTENT.matching.group_of(level) == group


def test_players_when_their_groups_differ_then_wait_until_the_windows_of_both_widen() -> None:
    game = game_with(3)
    queue(game, 1, level=2)
    queue(game, 2, level=3)
    game.advance(1_000)
    assert not teams(game)
    widened_ms = LIMITS.widening[1][0]
    game.advance(widened_ms - 1_500)
    assert not teams(game)
    game.advance(1_000)
    assert teams(game) == [[1, 2]]


def test_players_when_only_one_window_reaches_then_are_not_matched() -> None:
    game = game_with(3)
    queue(game, 1, level=2)
    game.advance(LIMITS.widening[1][0] + 1_000)
    queue(game, 2, level=3)
    game.advance(1_000)
    assert not teams(game), "the newcomer's window is still his own group"
    queue(game, 3, level=4)
    game.advance(100)
    assert teams(game) == [[2, 3]]


def test_players_when_other_content_widens_their_curve_then_need_no_newcomer() -> None:
    game = game_with(2)
    rules = game.games[MATCHING]

    def widen(reach: int) -> None:
        own = replace(CONTENT.matching, curve=Curve((0,), (reach,)), curves={})
        rules.content = replace(CONTENT, matching=own)

    widen(0)
    queue(game, 1, level=2)
    queue(game, 2, level=14)
    game.advance(LIMITS.widening[-1][0])
    assert not teams(game)
    widen(9)
    game.advance(AGAIN_MS + 100)
    assert teams(game) == [[1, 2]]


def test_player_when_others_always_match_at_once_then_he_is_taken_at_the_end_of_his_curve() -> None:
    game = game_with(50)
    queue(game, 1, level=2)
    end_ms, reach = LIMITS.widening[-1]
    user, waited_ms = 2, 0
    while waited_ms < end_ms - 5_000:  # pairs of another group come and go
        queue(game, user, level=6)
        queue(game, user + 1, level=6)
        game.advance(4_000)
        user, waited_ms = user + 2, waited_ms + 4_000
    assert reach >= 2 and all(1 not in team for team in teams(game))
    game.advance(max(0, end_ms - waited_ms) + 1_000)
    queue(game, user, level=6)
    game.advance(100)
    assert teams(game)[-1] == [1, user]


def test_players_when_more_wait_than_a_team_then_the_oldest_come_first() -> None:
    game = game_with(5, rooms=0)
    queue(game, 3, 1, 5, 2, 4)
    game.rooms = 1
    game.advance(300)
    assert teams(game)[0] == [3, 1]
    game.rooms = 100
    game.advance(500)
    assert teams(game) == [[3, 1], [5, 2]]


def test_groups_when_rooms_are_short_then_the_one_that_waits_longest_is_served() -> None:
    game = game_with(12, rooms=0)
    queue(game, 1, 2, level=15)
    queue(game, 3, 4, level=1)
    queue(game, 5, 6, level=15)
    queue(game, 7, 8, level=7)
    for rooms in (1, 2, 3, 4):  # of both raid servers together
        game.rooms = 0 if rooms == 0 else rooms
        game.advance(250)
    assert teams(game) == [[1, 2], [3, 4], [5, 6], [7, 8]]


def test_party_when_a_friend_is_missing_then_waits_and_is_then_kept_together() -> None:
    game = game_with(9)
    queue(game, 1, 2, kind=FOUR, party="FRIENDS", party_size=3)
    queue(game, 4, 5, 6, kind=FOUR)
    game.advance(1_000)
    assert not teams(game)
    assert game.explain(1).rule == "party"
    queue(game, 3, kind=FOUR, party="FRIENDS", party_size=3)
    game.advance(100)
    (team,) = teams(game)
    assert set(team) >= {1, 2, 3} and len(team) == 4


def test_party_when_sizes_do_not_add_up_then_is_never_split_and_others_play_on() -> None:
    game = game_with(12)
    queue(game, 1, 2, 3, kind=FOUR, party="A", party_size=3)
    queue(game, 4, 5, 6, kind=FOUR, party="B", party_size=3)
    game.advance(500)
    assert not teams(game)
    queue(game, 7, 8, kind=FOUR, party="C", party_size=2)
    queue(game, 9, 10, kind=FOUR, party="D", party_size=2)
    game.advance(100)
    assert [set(team) for team in teams(game)] == [{7, 8, 9, 10}]
    queue(game, 11, kind=FOUR)
    game.advance(100)
    assert set(teams(game)[1]) == {1, 2, 3, 11}, "the older party first"


@pytest.mark.parametrize(
    ("party", "size"), [("A", 1), ("A", 5), ("A", 0), ("", 2)], ids=["one", "many", "none", "code"]
)
def test_party_when_its_size_is_none_of_the_kind_then_is_refused(party: str, size: int) -> None:
    game = game_with(1)
    queue(game, 1, kind=FOUR, party=party, party_size=size)
    assert refusal(game, 1) == Code.PARTY_INVALID


def test_party_when_it_is_full_or_of_another_size_then_the_next_is_refused() -> None:
    game = game_with(5, rooms=0)
    queue(game, 1, 2, kind=FOUR, party="A", party_size=2)
    queue(game, 3, kind=FOUR, party="A", party_size=2)
    assert refusal(game, 3) == Code.PARTY_INVALID
    game.cancel(2)
    game.settle()
    queue(game, 4, kind=FOUR, party="A", party_size=3)
    assert refusal(game, 4) == Code.PARTY_INVALID
    queue(game, 3, kind=FOUR, party="A", party_size=2)
    assert game.kinds_told(3)[-1] == "RaidQueueOk"


def test_ticket_when_cancelled_then_he_is_out_of_the_queue_and_not_matched() -> None:
    game = game_with(3)
    queue(game, 1)
    game.cancel(1)
    game.settle()
    assert game.kinds_told(1)[-1] == "RaidCancelOk"
    queue(game, 2)
    game.advance(1_000)
    assert not teams(game) and game.games[MATCHING].matching.gauges()["waiting"] == 1
    queue(game, 1)
    game.advance(200)
    assert teams(game) == [[2, 1]]


def test_ticket_when_asked_for_twice_then_a_player_is_never_matched_with_himself() -> None:
    game = game_with(2)
    queue(game, 1)
    queue(game, 1)
    assert refusal(game, 1) == Code.ALREADY_QUEUED
    center, here = game.games[3], game.games[MATCHING]
    row = raid_entry.row_of(center.tickets.of_user[1])
    again = TicketPut(77, replace(row, ticket=row.ticket + 1))  # behind the center's back
    said = matching.put(again, matching=here.matching, env=here.env(peer=3))
    here.apply(said)
    game.advance(500)
    assert not teams(game)
    assert len(here.matching.tickets) == 1
    game.advance(3_000)
    held = here.matching.tickets[1]
    assert held.ticket == row.ticket, "the center's word holds"


def test_ticket_when_it_comes_at_the_same_moment_as_another_then_both_wait() -> None:
    game = game_with(4)
    for user in (1, 2, 3, 4):
        game.queue(user, level=LEVEL)
    game.settle()
    game.advance(100)
    assert sorted(user for team in teams(game) for user in team) == [1, 2, 3, 4]


def test_ticket_when_a_newer_session_asks_elsewhere_then_the_older_is_over() -> None:
    game = game_with(2)
    queue(game, 1)  # at center 3
    game.arrive(1, 2, epoch=2)
    game.queue(1, level=LEVEL)
    game.settle()
    assert len(game.games[MATCHING].matching.tickets) == 1
    assert game.games[3].tickets.get(1) is None, "the older center was told"
    here = game.games[MATCHING]
    row = replace(raid_entry.row_of(game.games[2].tickets.of_user[1]), session_epoch=1, ticket=5)
    said = matching.put(TicketPut(1, row), matching=here.matching, env=here.env(peer=3))
    (answer,) = said.replies
    assert answer.code == Code.SESSION_OVER and not said.effects


def test_ticket_when_the_server_holds_all_it_may_then_is_refused() -> None:
    game = game_with(1)
    here = game.games[MATCHING]
    small = replace(LIMITS, tickets_max=1)
    here.content = replace(CONTENT, matching=replace(CONTENT.matching, limits=small))
    for user, code in ((5, 0), (6, Code.BUSY), (5, 0)):
        row = TicketRow(user, user, 1, PAIR, 1, 0, here.now_ms)
        said = matching.put(TicketPut(1, row), matching=here.matching, env=here.env(peer=2))
        (answer,) = said.replies
        assert isinstance(answer, TicketPutOk) and answer.code == code
        here.apply(said)


def test_rooms_when_no_raid_server_lives_then_teams_wait_and_nothing_is_asked() -> None:
    game = game_with(2)
    for number in RAIDS:
        game.cut_off(number)
    game.advance(LIMITS.server_fresh_ms + 500)
    queue(game, 1, 2)
    game.advance(5_000)
    assert not teams(game)
    assert game.explain(1).rule == "rooms"
    game.heal(RAIDS[1])
    game.advance(500)
    assert teams(game) == [[1, 2]]
    assert set(game.runs_at.values()) == {RAIDS[1]}


def test_rooms_when_servers_differ_in_load_then_the_emptier_is_asked() -> None:
    game = game_with(40)
    queue(game, *range(1, 41))
    game.advance(500)
    used = list(game.runs_at.values())
    assert len(used) == 20 and used.count(RAIDS[0]) == used.count(RAIDS[1]) == 10


def test_rooms_when_all_are_taken_then_none_is_asked_for_twice() -> None:
    game = game_with(30, rooms=3)
    queue(game, *range(1, 31))
    game.advance(3_000)
    assert len(game.raids) == 6 and len(game.asked_for) == 6
    game.end_raid(next(iter(game.raids)))
    game.advance(500)
    assert len(game.asked_for) == 7 and not game.refused_books


def test_team_when_the_server_does_not_answer_then_waits_for_the_release_and_comes_back() -> None:
    game = game_with(2)
    game.mute.update(RAIDS)
    queue(game, 1, 2)
    game.advance(100)
    assert len(game.asked_for) == 1
    server = next(iter(game.runs_at.values()))
    game.advance(LIMITS.reserve_ms - 500)
    assert game.raids, "not released too early"
    game.mute.clear()
    game.advance(1_500)
    assert game.where and len(game.asked_for) == 2, "released, settled, and matched again"
    assert game.refused_books == 0
    assert [type(one) for one in game.told[1]][-1] is RaidMatched
    assert server in RAIDS


def test_team_when_the_server_died_with_it_then_comes_back_after_the_time_of_a_takeover() -> None:
    game = game_with(2)
    game.mute.update(RAIDS)
    queue(game, 1, 2)
    game.advance(100)
    (raid,) = game.raids
    dead = game.runs_at[raid]
    game.cut_off(dead)
    game.mute.clear()
    game.advance(LIMITS.reserve_ms + 5_000)
    assert len(game.asked_for) == 1, "its raid may be open in the books"
    (other,) = set(RAIDS) - {dead}
    game.end_raid(raid, finished=False, by=other)
    game.advance(500)
    assert [asked.team[0].user for asked in game.asked_for] == [1, 1]
    assert game.refused_books == 0


def test_team_when_nobody_answers_for_its_raid_at_all_then_comes_back_in_the_end() -> None:
    game = game_with(2)
    game.mute.update(RAIDS)
    queue(game, 1, 2)
    game.advance(100)
    (raid,) = game.raids
    game.cut_off(game.runs_at[raid])
    game.mute.clear()
    game.advance(LIMITS.reserve_ms + LIMITS.release_ms + 1_000)
    assert len(game.asked_for) == 2


def test_team_when_its_answer_comes_after_the_release_then_the_seats_are_not_used() -> None:
    game = game_with(2)
    queue(game, 1, 2)
    for _ in range(3):
        game.advance(50, delivers=False)
    question = next(link for ends, link in game.links.items() if ends[1] in RAIDS and link)
    assert question
    game.advance(LIMITS.reserve_ms + 500, delivers=False)
    game.settle()
    game.advance(1_000)
    assert game.refused_books == 0
    assert len(game.raids) == 1 and game.kinds_told(1).count("RaidMatched") == 1


def test_team_when_the_books_refuse_then_who_may_enter_has_his_place_again() -> None:
    game = game_with(4)
    queue(game, 1)
    game.where[1] = 4_711  # he is in a raid that nobody here knows of
    queue(game, 2)
    game.advance(200)
    assert game.refused_books == 1
    last = [game.told[user][-1] for user in (1, 2)]
    assert last == [RaidUnmatched(Code.ALREADY_IN_RAID)] * 2
    since_ms = game.asked_for[0].team[1].ticket
    assert since_ms
    queue(game, 3)
    queue(game, 2)
    game.queue(1, level=LEVEL)
    game.settle()
    game.advance(200)
    assert teams(game)[-1] == [2, 3], "his old place is before that of the third"
    assert refusal(game, 1) == Code.ALREADY_IN_RAID


def test_estimate_when_teams_were_formed_then_is_their_mean_until_it_is_old() -> None:
    game = game_with(20)
    queue(game, 1)
    assert game.told[1][0].estimate_ms == -1
    game.advance(4_000)
    queue(game, 2)
    game.advance(200)
    queue(game, 3)
    estimate_ms = game.told[3][0].estimate_ms
    assert 1_000 < estimate_ms < 5_000
    game.advance(LIMITS.estimate_fresh_ms + 1_000)
    queue(game, 5, level=1)
    queue(game, 7)
    assert game.told[7][0].estimate_ms == -1


def test_explain_when_players_are_missing_then_names_window_candidates_and_widening() -> None:
    game = game_with(6)
    queue(game, 1, kind=FOUR, level=7)
    queue(game, 2, kind=FOUR, level=8)
    queue(game, 3, kind=FOUR, level=10)
    answer = game.explain(1)
    assert isinstance(answer, RaidExplainOk)
    assert (answer.kind, answer.group, answer.group_low, answer.group_high) == (FOUR, 3, 3, 3)
    assert (answer.rule, answer.candidates, answer.missing) == ("players", 1, 2)
    assert 14_000 < answer.widens_in_ms <= LIMITS.widening[1][0]
    game.advance(answer.widens_in_ms + 50)
    wider = game.explain(1)
    assert (wider.group_low, wider.group_high, wider.candidates, wider.missing) == (2, 4, 2, 1)
    game.advance(LIMITS.widening[-1][0])
    assert game.explain(1).widens_in_ms == -1


def test_explain_when_he_does_not_wait_then_is_refused() -> None:
    game = game_with(1)
    assert game.explain(1) == Refused(Code.NOT_QUEUED)


def test_matching_when_it_goes_down_then_asks_for_no_more_seats() -> None:
    game = game_with(2)
    here = game.games[MATCHING]
    here.view = replace(here.view, draining=True)
    queue(game, 1, 2)
    game.advance(500)
    assert not teams(game)
