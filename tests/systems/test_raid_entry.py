"""The center's side of raids: who may queue, the ticket, the seat's token, back in, free again."""

from typing import Any

import pytest
from msgspec.structs import replace
from tests.systems.game import (
    CENTER,
    CHANNEL,
    CONTENT,
    MATCHING,
    RAID,
    Game,
    assert_refused,
    done,
    read_token,
    sent,
)

from mmo.contract import Ask, Outcome, PlayerCard, Presence, Refuse, Sender, Tell, ToNode, ToUser
from mmo.edges import raid_card
from mmo.state.center_tickets import SeatTold
from mmo.state.raid import RaidSeatPrepared
from mmo.systems import presence, raid_entry, raid_tickets, raid_tokens, session_notices
from mmo.systems.inventory import attack_power_of
from mmo.wire.messages.link import SessionEnded, SessionSeen
from mmo.wire.messages.presence import Logout
from mmo.wire.messages.raid_link import (
    RaidOver,
    RaidTeamFailed,
    RaidTeamFound,
    TicketCancel,
    TicketPut,
    TicketPutOk,
)
from mmo.wire.messages.raid_queue import (
    RaidFreed,
    RaidMatched,
    RaidParty,
    RaidPartyOk,
    RaidQueue,
    RaidQueueCarded,
    RaidQueueLeft,
    RaidQueueOk,
    RaidRejoin,
    RaidRejoinCarded,
    RaidUnmatched,
)
from mmo.wire.messages.session import Disconnected
from mmo.wire.opcode import Code

USER = 7
ALL = ("sessions", "servers", "tickets")
STRICT = next(row.number for row in CONTENT.raids.kinds.values() if row.level_min)
COUNTED = next((row.number for row in CONTENT.raids.kinds.values() if row.entries_per_day), 0)


def center(place: int = CENTER) -> Game:
    """A center with one player and a living matching and raid server."""
    game = Game("center", CENTER)
    game.hold_session(USER, place)
    game.hear(MATCHING, "matching")
    game.hear(RAID, "raid")
    return game


def calls(game: Game, rule: Any, message: Any, *needs: str, peer: int = 0) -> Any:
    """One rule with the named states, by the player or a peer."""
    states = {name: getattr(game, name) for name in needs}
    return rule(message, **states, env=game.env(0 if peer else USER, peer=peer))


def wish(**changed: Any) -> RaidQueueCarded:
    """A wish with its card."""
    card: dict[str, Any] = {
        "kind": 1, "party": "", "party_size": 0, "name": "name7", "session_epoch": 1, "level": 15,
        "worn": [], "raid": 0, "entries": 0,
    }  # fmt: skip
    return RaidQueueCarded(**(card | changed))


def queued(game: Game, **changed: Any) -> TicketPut:
    """He waits; the question that the matching server was asked."""
    outcome = game.apply(done(calls(game, raid_entry.queue, wish(**changed), *ALL)))
    (ask,) = outcome.asks
    assert isinstance(ask, Ask) and ask.refusal == Code.MATCHING_AWAY
    answer = TicketPutOk(1, ask.message.row.ticket, 0, 6, 1_500)
    game.apply(done(calls(game, raid_entry.queued, answer, "sessions", "tickets")))
    put: TicketPut = ask.message
    return put


def found(game: Game, **changed: Any) -> RaidTeamFound:
    """His seat is kept."""
    held = game.tickets.get(USER)
    seat: dict[str, Any] = {
        "user": USER, "session_epoch": 1, "ticket": held.ticket if held else 1, "raid": 99,
        "kind": 1, "number": RAID, "host": "127.0.0.1", "port": 7031, "seat": 1,
    }  # fmt: skip
    return RaidTeamFound(**(seat | changed))


# the way in -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"session_epoch": 2}, Code.SESSION_OVER),
        ({"kind": 250}, Code.RAID_KIND_UNKNOWN),
        ({"kind": -1}, Code.RAID_KIND_UNKNOWN),
        ({"raid": 5}, Code.ALREADY_IN_RAID),
        ({"kind": STRICT, "level": 0}, Code.RAID_LEVEL_MISSING),
        ({"party": "A"}, Code.PARTY_INVALID),
        ({"party": "A", "party_size": 1}, Code.PARTY_INVALID),
        ({"party": "A", "party_size": 3}, Code.PARTY_INVALID),
        ({"party_size": 2}, Code.PARTY_INVALID),
    ],
)
def test_wish_when_it_cannot_be_then_is_refused_and_no_ticket_is_made(
    changed: dict[str, Any], code: Code
) -> None:
    game = center()
    assert_refused(calls(game, raid_entry.queue, wish(**changed), *ALL), code)


def test_wish_when_the_entries_of_the_day_are_used_then_is_refused() -> None:
    game = center()
    row = CONTENT.raids.kinds[COUNTED or 1]
    counted = replace(row, entries_per_day=3)
    kinds = {**CONTENT.raids.kinds, row.number: counted}
    game.content = replace(CONTENT, raids=replace(CONTENT.raids, kinds=kinds))
    said = calls(game, raid_entry.queue, wish(kind=row.number, entries=3), *ALL)
    assert_refused(said, Code.RAID_ENTRIES_SPENT)
    done(calls(game, raid_entry.queue, wish(kind=row.number, entries=2), *ALL))


def test_wish_when_no_session_is_held_then_is_refused() -> None:
    game = Game("center", CENTER)
    assert_refused(calls(game, raid_entry.queue, wish(), *ALL), Code.NOT_ENTERED)
    said = calls(game, raid_entry.cancel, None, *ALL)
    assert_refused(said, Code.NOT_ENTERED)


def test_wish_when_no_matching_server_is_there_or_lives_then_is_refused_at_once() -> None:
    game = Game("center", CENTER)
    game.hold_session(USER, CENTER)
    assert_refused(calls(game, raid_entry.queue, wish(), *ALL), Code.MATCHING_AWAY)
    game.hear(MATCHING, "matching", open=False)
    assert_refused(calls(game, raid_entry.queue, wish(), *ALL), Code.MATCHING_AWAY)
    game.hear(MATCHING, "matching")
    game.now_ms += CONTENT.matching.limits.server_fresh_ms + 1
    assert_refused(calls(game, raid_entry.queue, wish(), *ALL), Code.MATCHING_AWAY)
    game.hear(MATCHING + 1, "matching")
    (ask,) = done(calls(game, raid_entry.queue, wish(), *ALL)).asks
    assert ask.number == MATCHING + 1


def test_wish_when_accepted_then_he_is_shown_as_waiting_and_the_answer_says_so() -> None:
    game = center()
    outcome = game.apply(done(calls(game, raid_entry.queue, wish(), *ALL)))
    ticket = outcome.asks[0].message.row.ticket
    assert game.tickets.waits(USER) is None
    answer = TicketPutOk(1, ticket, 0, 6, 1_500)
    said = game.apply(done(calls(game, raid_entry.queued, answer, "sessions", "tickets")))
    assert list(said.replies) == [RaidQueueOk(ticket, 6, 1_500)]
    assert sent(said, Presence) == [Presence(USER, "queued", CENTER)]
    assert_refused(calls(game, raid_entry.queue, wish(), *ALL), Code.ALREADY_QUEUED)


def test_wish_when_he_has_his_old_place_then_it_is_told_again_to_who_lost_it() -> None:
    game = center()
    outcome = game.apply(done(calls(game, raid_entry.queue, wish(), *ALL)))
    before_ms = game.now_ms - 40_000
    answer = TicketPutOk(1, outcome.asks[0].message.row.ticket, 0, 6, 1_500, before_ms)
    game.apply(done(calls(game, raid_entry.queued, answer, "sessions", "tickets")))
    assert [held.since_ms for held in game.tickets.of_user.values()] == [before_ms]


def test_wish_when_the_matching_server_refuses_then_the_asker_is_told_and_holds_no_ticket() -> None:
    game = center()
    outcome = game.apply(done(calls(game, raid_entry.queue, wish(), *ALL)))
    answer = TicketPutOk(1, outcome.asks[0].message.row.ticket, Code.PARTY_INVALID, 0, -1)
    said = game.apply(done(calls(game, raid_entry.queued, answer, "sessions", "tickets")))
    assert said.replies[0].code == Code.PARTY_INVALID
    assert game.tickets.get(USER) is None and not game.tickets.asking


def test_wish_when_a_channel_server_owns_him_then_he_waits_and_that_server_speaks_for_him() -> None:
    game = center(place=CHANNEL)
    queued(game)
    assert game.tickets.waits(USER) is not None
    said = done(calls(game, raid_tokens.team_found, found(game), *ALL, peer=MATCHING))
    assert not sent(said, Presence) and sent(said, ToUser)


def test_ticket_when_made_then_level_and_attack_are_those_of_the_store() -> None:
    game = center()
    worn = [(3, 2, 0), (5, 9, game.now_ms - 1)]
    row = queued(game, level=9, worn=worn).row
    assert (row.level, row.attack) == (9, attack_power_of(CONTENT, [(3, 2, 0)], game.now_ms))
    assert row.attack == 6 + 2 * CONTENT.combat.damage_per_enhance
    assert "level" not in RaidQueue.__struct_fields__


def test_ticket_when_his_session_is_a_newer_one_then_the_old_is_replaced() -> None:
    game = center()
    old = queued(game).row
    game.hold_session(USER, CENTER, epoch=2)
    new = queued(game, session_epoch=2).row
    assert new.ticket != old.ticket and game.tickets.confirmed == 1
    assert game.tickets.ticket_sum == new.ticket


def test_party_code_when_asked_for_then_is_long_and_never_the_same() -> None:
    game = center()
    codes = set()
    for _ in range(50):
        (answer,) = raid_entry.party(RaidParty(), env=game.env(USER)).replies
        assert isinstance(answer, RaidPartyOk)
        codes.add(answer.party)
    assert len(codes) == 50 and {len(code) for code in codes} == {10}


# the seat ---------------------------------------------------------------------------------------


def test_seat_when_found_then_row_first_and_a_token_for_that_server_room_and_seat_alone() -> None:
    game = center()
    queued(game)
    said = done(calls(game, raid_tokens.team_found, found(game), *ALL, peer=MATCHING))
    row = said.row
    assert isinstance(row, RaidSeatPrepared)
    (push,) = sent(said, ToUser)
    matched = push.message
    assert isinstance(matched, RaidMatched)
    assert (matched.raid, matched.seat, matched.number, matched.port) == (99, 1, RAID, 7031)
    token = read_token(matched.token)
    claims = token.claims
    assert token.typ == "raid+jwt" and claims["aud"] == str(RAID)
    assert (claims["room"], claims["seat"], claims["jti"]) == (99, 1, row.jti)
    assert (claims["sub"], claims["epoch"]) == (str(USER), 1)
    life_ms = CONTENT.tokens.raid_s * 1000
    assert life_ms == 60_000 and row.expires_ms == game.now_ms + life_ms
    assert claims["exp"] * 1000 <= row.expires_ms
    assert sent(said, Presence) == [Presence(USER, "raid", CENTER)]
    game.apply(said)
    assert game.tickets.get(USER) is None and not game.tickets.confirmed


def test_seat_when_told_again_by_matching_then_the_first_token_stays_good() -> None:
    game = center()
    queued(game)
    message = found(game)
    game.apply(done(calls(game, raid_tokens.team_found, message, *ALL, peer=MATCHING)))
    again = done(calls(game, raid_tokens.team_found, message, *ALL, peer=MATCHING))
    assert again.row is None and not again.sends
    taken = done(calls(game, raid_tokens.team_found, message, *ALL, peer=RAID))
    assert taken.row is not None, "a raid server that lives again tells it anew"


def test_seat_when_the_raid_is_settled_meanwhile_then_he_is_told_and_free() -> None:
    game = center()
    queued(game)
    said = done(calls(game, raid_tokens.team_found, found(game), *ALL, peer=MATCHING))
    instead = said.row_refused
    assert isinstance(instead, Outcome)
    game.apply(instead)
    assert sent(instead, ToUser) == [ToUser(USER, RaidUnmatched(Code.RAID_NOT_RUNNING))]
    assert sent(instead, Presence) == [Presence(USER, "online", CENTER)]
    assert game.tickets.get(USER) is None and not game.tickets.seats


def test_seat_when_his_session_is_gone_then_nothing_is_prepared() -> None:
    game = Game("center", CENTER)
    said = done(calls(game, raid_tokens.team_found, found(game), *ALL, peer=MATCHING))
    assert said.row is None and not said.sends


def test_seat_when_a_raid_server_took_over_then_his_ticket_elsewhere_leaves_the_queue() -> None:
    game = center()
    put = queued(game)
    message = found(game, ticket=put.row.ticket - 1)
    said = done(calls(game, raid_tokens.team_found, message, *ALL, peer=RAID))
    notices = [
        send.message for send in said.sends if isinstance(send, ToNode) and send.number == 21
    ]
    assert notices == [TicketCancel(0, USER, put.row.ticket)]


def test_ticket_when_it_failed_then_only_its_own_holder_is_told() -> None:
    game = center()
    put = queued(game)
    failed = RaidTeamFailed(USER, put.row.ticket - 1, Code.ALREADY_IN_RAID)
    other = done(calls(game, raid_tokens.team_failed, failed, "sessions", "tickets", peer=MATCHING))
    assert not other.sends and not other.effects
    failed = replace(failed, ticket=put.row.ticket)
    said = game.apply(
        done(calls(game, raid_tokens.team_failed, failed, "sessions", "tickets", peer=MATCHING))
    )
    assert sent(said, ToUser) == [ToUser(USER, RaidUnmatched(Code.ALREADY_IN_RAID))]


# back into a raid, and free ----------------------------------------------------------------------


def test_rejoin_when_his_raid_runs_then_has_a_fresh_token() -> None:
    game = center()
    wish_back = RaidRejoinCarded(99, 1, 1, RAID)
    said = done(calls(game, raid_tokens.rejoin, wish_back, "sessions", "servers"))
    (matched,) = said.replies
    assert isinstance(matched, RaidMatched) and matched.host == "127.0.0.1"
    assert read_token(matched.token).claims["jti"] == said.row.jti
    assert said.row_refused == Refuse(Code.NOT_IN_RAID)


def test_rejoin_when_there_is_no_raid_or_its_server_is_away_then_is_refused() -> None:
    game = center()
    none = calls(game, raid_tokens.rejoin, RaidRejoinCarded(0, 0, 0, 0), "sessions", "servers")
    assert_refused(none, Code.NOT_IN_RAID)
    wish_back = RaidRejoinCarded(99, 1, 1, RAID)
    game.now_ms += CONTENT.matching.limits.server_fresh_ms + 1
    silent = calls(game, raid_tokens.rejoin, wish_back, "sessions", "servers")
    assert_refused(silent, Code.SERVER_AWAY)


def test_raid_when_over_then_members_who_are_here_are_told_and_shown_as_online() -> None:
    game = center()
    SeatTold(USER, 99, RAID).apply(game.tickets)
    over = RaidOver(99, [USER, USER + 1], True)
    said = done(calls(game, raid_tokens.raid_over, over, "sessions", peer=RAID))
    assert list(said.tells) == [Tell(USER, RaidFreed(99, True))]
    freed = game.apply(
        done(calls(game, raid_tokens.freed, RaidFreed(99, True), "sessions", "tickets"))
    )
    assert sent(freed, ToUser) == [ToUser(USER, RaidFreed(99, True))]
    assert sent(freed, Presence) == [Presence(USER, "online", CENTER)]
    assert not game.tickets.seats


# leaving ------------------------------------------------------------------------------------------


def leaves(game: Game, how: str) -> Outcome:
    """The session of the player ends in one of the ways it can."""
    sessions = game.sessions
    said: Any
    if how == "closed":
        said = presence.disconnected(
            Disconnected(USER, 1), sessions=sessions, env=game.env(USER, conn=5)
        )
    elif how == "logout":
        said = presence.logout(Logout(), sessions=sessions, env=game.env(USER))
    elif how == "ended":
        message = SessionEnded(USER, 1)
        said = session_notices.session_ended(message, sessions=sessions, env=game.env(peer=1))
    else:
        seen = SessionSeen(USER, 1, 3)
        said = session_notices.session_seen(seen, sessions=sessions, env=game.env(peer=3))
    return game.apply(done(said))


@pytest.mark.parametrize("how", ["closed", "logout", "ended", "seen elsewhere"])
def test_queue_when_his_session_ends_then_he_leaves_it_and_matching_is_told(how: str) -> None:
    game = center()
    put = queued(game)
    SeatTold(USER, 98, RAID).apply(game.tickets)
    said = leaves(game, how)
    assert list(said.tells) == [Tell(USER, RaidQueueLeft(USER))]
    left = game.apply(done(calls(game, raid_tickets.left, RaidQueueLeft(USER), *ALL)))
    (notice,) = left.sends
    assert isinstance(notice, ToNode)
    assert (notice.number, notice.message) == (MATCHING, TicketCancel(0, USER, put.row.ticket))
    assert game.tickets.gauges() == {"waiting": 0, "seats": 0}
    assert not game.tickets.ticket_sum


def test_queue_when_he_waits_by_a_new_connection_then_the_end_of_the_old_changes_nothing() -> None:
    game = center()
    queued(game)
    said = game.apply(done(calls(game, raid_tickets.left, RaidQueueLeft(USER), *ALL)))
    assert not said.sends and game.tickets.waits(USER) is not None


# the edge -----------------------------------------------------------------------------------------


class Cards:
    """The outside of the edge: one card, and the day it was asked for."""

    def __init__(self, card: PlayerCard | None) -> None:
        self.card_of = card
        self.day = 0

    def now_ms(self) -> int:
        return 1_700_000_000_000  # 2023-11-14 UTC

    async def card(self, user: int, day: int) -> PlayerCard | None:
        self.day = day
        return self.card_of


def run_edge(edge: Any, message: Any, outside: Any) -> Any:
    """Run an edge that never really waits."""
    work = edge(message, outside, Sender(5, USER, 1))
    try:
        work.send(None)
    except StopIteration as over:
        return over.value
    raise AssertionError("the edge waits for something else")


def test_edge_when_it_reads_the_card_then_the_wish_carries_it_and_nothing_of_the_client() -> None:
    entries = (1, 1, 1, 2, 2, 2, 2, 3)
    card = PlayerCard(USER, "anna", 3, 9, 0, ((3, 2, 0),), 77, 1, 0, RAID, entries)
    outside = Cards(card)
    carded = run_edge(raid_card.queue, RaidQueue(2, "AB", 3), outside)
    assert carded == RaidQueueCarded(2, "AB", 3, "anna", 3, 9, [(3, 2, 0)], 77, 4)
    assert outside.day == 20231114
    back = run_edge(raid_card.rejoin, RaidRejoin(), outside)
    assert back == RaidRejoinCarded(77, 1, 0, RAID)
    assert run_edge(raid_card.queue, RaidQueue(2), Cards(None)) == Refuse(Code.NOT_ENTERED)
    assert run_edge(raid_card.rejoin, RaidRejoin(), Cards(None)) == Refuse(Code.NOT_ENTERED)
