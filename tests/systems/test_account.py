"""Logging in: lockouts, bans, one session, one token."""

from typing import Any

import msgspec
import pytest
from tests.systems.game import CENTER, CONTENT, Game, assert_refused, done, read_token, sent

from mmo.contract import Env, Outcome, Refuse, ToRole
from mmo.state.attempts import Attempts, CameIn
from mmo.state.place import LoginFailed, SessionOpened
from mmo.systems.account import login, may_log_in
from mmo.wire.messages.account import Login, LoginOk, LoginVerified
from mmo.wire.messages.link import SessionEnded
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code
from mmo.wire.subscriber import subscriber_of

ACCOUNT = CONTENT.account
ADDRESS = "10.1.2.3"


def of_one_who_left(game: Game) -> Env:
    """The environment of a rule whose client did not wait."""
    env = game.env(address=ADDRESS)
    env.sender = msgspec.structs.replace(env.sender, gone=True)
    return env


def verified(matches: bool, user: int = 70_000, **fields: Any) -> LoginVerified:
    """What the edge found out."""
    known: dict[str, Any] = {
        "user": user,
        "name": "quokka" if user else "nobody",
        "matches": matches,
        "session_epoch": 4,
        "locked_until_ms": 0,
        "failures": 0,
    }
    return LoginVerified(**{**known, **fields})


def logging_in(game: Game, message: LoginVerified, address: str = ADDRESS) -> Outcome | Refuse:
    """Decide and apply."""
    outcome = login(
        message,
        attempts=game.attempts,
        servers=game.servers,
        env=game.env(address=address),
    )
    if isinstance(outcome, Outcome):
        game.apply(outcome)
    return outcome


def asking_to_log_in(game: Game, name: str = "quokka", address: str = ADDRESS) -> Refuse | None:
    """What the rule before the hash says."""
    asked = Login(name, "password")
    return may_log_in(asked, attempts=game.attempts, env=game.env(address=address))


def guessing(
    game: Game, count: int, address: str = ADDRESS, user: int = 70_000, **fields: Any
) -> list[LoginFailed | None]:
    """Wrong passwords, each as soon as the lock before it ends; the rows they write."""
    rows = []
    for _ in range(count):
        refused = logging_in(game, verified(False, user, **fields), address)
        if isinstance(refused, Refuse):
            game.now_ms += int(refused.detail) * 1_000
            refused = logging_in(game, verified(False, user, **fields), address)
        rows.append(done(refused).row)
    return rows


def with_center() -> Game:
    """A login server that hears of one center."""
    game = Game("login", 1)
    game.hear(CENTER, "center")
    return game


def test_login_when_the_name_would_be_refused_today_then_comes_in_all_the_same() -> None:
    old = verified(True, name="\u3164\u3164")
    assert isinstance(done(logging_in(with_center(), old)).row, SessionOpened)


def test_login_when_right_then_opens_the_session_it_read_and_sends_to_a_center() -> None:
    game = with_center()
    outcome = done(logging_in(game, verified(True)))
    row, reply = outcome.row, outcome.replies[0]
    assert isinstance(row, SessionOpened) and isinstance(reply, LoginOk)
    assert (row.user, row.session_epoch, row.center_number) == (70_000, 4, CENTER)
    assert row.expires_ms == game.now_ms + 60_000
    assert (reply.host, reply.port, reply.number) == ("127.0.0.1", 7000 + CENTER, CENTER)
    token = read_token(reply.token)
    assert token.typ == "login+jwt"
    assert token.claims == {
        "sub": "70000",
        "epoch": 5,
        "name": "quokka",
        "aud": "center",
        "nbf": game.now_ms // 1000,
        "exp": game.now_ms // 1000 + 60,
        "jti": row.jti,
    }


def test_login_when_right_then_centers_are_told_that_the_old_session_is_over() -> None:
    outcome = done(logging_in(with_center(), verified(True)))
    assert [(send.role, send.message) for send in sent(outcome, ToRole)] == [
        ("center", SessionEnded(70_000, 4))
    ]


def test_login_when_two_come_at_once_then_both_rows_guard_the_same_epoch_with_own_tokens() -> None:
    game = with_center()
    first = done(logging_in(game, verified(True))).row
    second = done(logging_in(game, verified(True))).row
    assert first.session_epoch == second.session_epoch == 4
    assert first.jti != second.jti


@pytest.mark.parametrize(
    ("loads", "chosen"),
    [
        ({}, None),
        ({3: {"users": 5}, 2: {"users": 9}}, 3),
        ({3: {"users": 5}, 2: {"users": 5}}, 2),
        ({3: {"users": 0, "open": False}, 2: {"users": 9}}, 2),
        ({3: {"users": 0, "seen_ms": 0}, 2: {"users": 9}}, 2),
        ({3: {"open": False}}, None),
    ],
)
def test_login_when_centers_differ_then_the_open_one_with_fewest_players_is_chosen(
    loads: dict[int, dict[str, Any]], chosen: int | None
) -> None:
    game = Game("login", 1)
    for number, fields in loads.items():
        game.hear(number, "center", **fields)
    outcome = logging_in(game, verified(True))
    if chosen is None:
        assert_refused(outcome, Code.SERVER_AWAY)
    else:
        assert done(outcome).replies[0].number == chosen


def test_login_when_its_client_left_then_a_guess_counts_and_a_right_one_opens_nothing() -> None:
    game = with_center()
    states: Any = {"attempts": game.attempts, "servers": game.servers}
    assert login(verified(True), **states, env=of_one_who_left(game)) == Outcome()
    outcome = done(login(verified(False), **states, env=of_one_who_left(game)))
    assert outcome.row == LoginFailed(70_000, 1, 0)


def test_login_when_unknown_or_wrong_then_the_answer_is_the_same() -> None:
    game = with_center()
    unknown = done(logging_in(game, verified(False, user=0)))
    wrong = done(logging_in(game, verified(False)))
    assert list(unknown.replies) == list(wrong.replies) == [Refused(Code.CREDENTIALS_WRONG)]
    assert unknown.row is None
    assert wrong.row == LoginFailed(70_000, 1, 0)


def test_login_when_the_account_is_shut_then_only_the_right_password_is_told() -> None:
    game = with_center()
    until_ms = game.now_ms + 86_400_001
    shut = logging_in(game, verified(True, banned_until_ms=until_ms))
    assert_refused(shut, Code.BANNED, "86401")
    wrong = done(logging_in(game, verified(False, banned_until_ms=until_ms)))
    assert list(wrong.replies) == [Refused(Code.CREDENTIALS_WRONG)]
    game.now_ms = until_ms
    game.hear(CENTER, "center")
    over = done(logging_in(game, verified(True, banned_until_ms=until_ms)))
    assert isinstance(over.row, SessionOpened)


def test_login_when_five_are_wrong_then_the_account_is_locked_for_the_right_one_too() -> None:
    game = with_center()
    for failures in range(1, 6):
        outcome = done(logging_in(game, verified(False, failures=failures - 1)))
        assert outcome.row == LoginFailed(70_000, failures, 0)
    assert_refused(logging_in(game, verified(True, failures=5)), Code.LOCKED_OUT, "60")
    assert_refused(logging_in(game, verified(False, failures=5)), Code.LOCKED_OUT, "60")
    game.now_ms += 60_000
    game.hear(CENTER, "center")
    assert done(logging_in(game, verified(True, failures=5))).row is not None


def test_login_when_one_address_guesses_on_and_on_then_locks_out_nobody_elsewhere() -> None:
    game = with_center()
    rows = guessing(game, 60)
    assert rows[:5] == [LoginFailed(70_000, count, 0) for count in (1, 2, 3, 4, 5)]
    assert rows[5:] == [None] * 55
    game.hear(CENTER, "center")
    assert asking_to_log_in(game, address="10.9.9.9") is None
    assert done(logging_in(game, verified(True, failures=5), "10.9.9.9")).row is not None
    assert asking_to_log_in(game) is not None


def test_login_when_many_addresses_guess_one_name_then_it_is_locked_but_where_it_came_from() -> (
    None
):
    game = with_center()
    done(logging_in(game, verified(True), "10.9.9.9"))
    rows = [row for number in range(4) for row in guessing(game, 5, f"10.2.0.{number}")]
    assert rows == [
        LoginFailed(70_000, count, game.now_ms + 60_000 if count == 20 else 0)
        for count in range(1, 21)
    ]
    known = {"failures": 20, "locked_until_ms": game.now_ms + 60_000}
    assert_refused(logging_in(game, verified(True, **known), "10.3.0.1"), Code.LOCKED_OUT, "60")
    assert asking_to_log_in(game, address="10.3.0.1") == Refuse(Code.LOCKED_OUT, "60")
    assert asking_to_log_in(game, address="10.9.9.9") is None
    assert done(logging_in(game, verified(True, **known), "10.9.9.9")).row is not None
    assert asking_to_log_in(game, address="10.3.0.1") is None  # the right password ended it


def test_login_when_two_addresses_take_turns_then_each_further_guess_counts_for_the_name() -> None:
    game = with_center()
    for number in (1, 2):
        guessing(game, 5, f"10.2.0.{number}")
    for turn in range(11):
        guessing(game, 1, f"10.2.0.{1 + turn % 2}")
    assert game.attempts.get("name:quokka").failures >= ACCOUNT.account_failures_max
    assert asking_to_log_in(game, address="10.3.0.1") is not None


def test_login_when_another_server_locked_the_account_then_it_is_known_before_the_next_hash() -> (
    None
):
    game = with_center()
    assert asking_to_log_in(game) is None
    known = {"failures": 20, "locked_until_ms": game.now_ms + 60_000}
    outcome = done(logging_in(game, verified(True, **known)))
    assert list(outcome.replies) == [Refused(Code.LOCKED_OUT, "60")] and outcome.row is None
    assert asking_to_log_in(game) == Refuse(Code.LOCKED_OUT, "60")


def test_login_when_the_name_is_unknown_then_it_is_locked_as_a_known_one() -> None:
    for user in (0, 70_000):
        game = with_center()
        name = "quokka" if user else "nobody"
        for number in range(4):
            assert asking_to_log_in(game, name) is None
            guessing(game, 5, f"10.2.0.{number}", user)
            assert asking_to_log_in(game, name, f"10.2.0.{number}") is not None
        assert asking_to_log_in(game, name) == Refuse(Code.LOCKED_OUT, "60")


def test_login_when_a_name_is_decomposed_then_the_lock_is_the_same() -> None:
    game = with_center()
    for _ in range(5):
        done(logging_in(game, verified(False, name="\ucffc\uce74")))
    assert asking_to_log_in(game, "\u110f\u116f\u110f\u1161") is not None


def test_login_when_guesses_were_read_before_the_first_failed_then_the_limit_still_holds() -> None:
    game = with_center()
    for _ in range(5):
        done(logging_in(game, verified(False, failures=0)))  # all read the same old row
    assert_refused(logging_in(game, verified(True, failures=0)), Code.LOCKED_OUT, "60")


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(19, 60), (20, 120), (21, 240), (22, 480), (23, 900), (24, 900), (200, 900)],
)
def test_login_when_wrong_again_after_a_lock_then_the_next_is_twice_as_long(
    failures: int, seconds: int
) -> None:
    game = with_center()
    message = verified(False, failures=failures, locked_until_ms=game.now_ms)
    outcome = done(logging_in(game, message))
    assert outcome.row == LoginFailed(70_000, failures + 1, game.now_ms + seconds * 1000)


def test_login_when_one_address_fails_again_then_its_lock_for_the_name_doubles() -> None:
    game, locks = with_center(), []
    for _ in range(10):
        guessing(game, 1)
        until_ms = game.attempts.get(f"pair:{ADDRESS} quokka").locked_until_ms
        locks.append(max(until_ms - game.now_ms, 0) // 1_000)
    assert locks == [0, 0, 0, 0, 60, 120, 240, 480, 900, 900]


@pytest.mark.parametrize("failures", [3, 25])
def test_login_when_a_name_was_quiet_for_a_day_then_it_starts_again(failures: int) -> None:
    game = with_center()
    locked_until_ms = game.now_ms if failures >= ACCOUNT.account_failures_max else 0
    known: dict[str, Any] = {"failures": failures, "locked_until_ms": locked_until_ms}
    [row] = guessing(game, 1, **known)
    assert row is not None and row.failures == failures + 1
    game.now_ms += ACCOUNT.account_failures_forgotten_ms + 900_001
    known = {"failures": row.failures, "locked_until_ms": row.locked_until_ms}
    [row] = guessing(game, 1, "10.9.9.9", **known)
    assert row is not None and row.failures == 1
    assert 0 < row.locked_until_ms < game.now_ms  # the count falls by a lock, which is over


def test_login_when_a_name_was_quiet_here_alone_then_what_others_counted_stays() -> None:
    game = with_center()
    guessing(game, 1, failures=0)
    game.now_ms += ACCOUNT.account_failures_forgotten_ms + 1
    [row] = guessing(game, 1, failures=15)
    assert row is not None and row.failures == 16


def test_login_when_one_address_guesses_many_names_then_the_address_is_locked() -> None:
    game = with_center()
    for guess in range(ACCOUNT.address_failures_max):
        user = guess % 2 * (guess + 1)
        done(logging_in(game, verified(False, user=user, name=f"name{guess}")))
    assert asking_to_log_in(game, "whoever") == Refuse(Code.LOCKED_OUT, "60")
    assert_refused(logging_in(game, verified(True)), Code.LOCKED_OUT, "60")
    assert done(logging_in(game, verified(True), "10.9.9.9")).row is not None


def test_login_when_guesses_come_from_one_ipv6_network_then_it_is_locked() -> None:
    game = with_center()
    for guess in range(ACCOUNT.address_failures_max):
        message = verified(False, user=0, name=f"name{guess}")
        done(logging_in(game, message, f"[2001:db8:0:7::{guess:x}]"))
    assert_refused(logging_in(game, verified(True), "[2001:db8:0:7:ffff::1]"), Code.LOCKED_OUT)
    assert done(logging_in(game, verified(True), "[2001:db8:0:8::1]")).row is not None


@pytest.mark.parametrize(
    ("address", "subscriber"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("[::ffff:192.0.2.7]", "192.0.2.7"),
        ("[2001:db8::1]", "2001:db8::/64"),
        ("[2001:db8:1:2:3:4:5:6]", "2001:db8:1:2::/64"),
        ("[fe80::1%eth0]", "fe80::/64"),
        ("", ""),
        ("no address", "no address"),
    ],
)
def test_addresses_are_counted_by_what_one_subscriber_has(address: str, subscriber: str) -> None:
    assert subscriber_of(address) == subscriber


def test_login_when_right_then_the_accounts_failures_are_forgotten_not_the_addresss() -> None:
    game = with_center()
    for _ in range(3):
        done(logging_in(game, verified(False)))
    done(logging_in(game, verified(True)))
    assert game.attempts.get("name:quokka").failures == 0
    assert game.attempts.get(f"pair:{ADDRESS} quokka").failures == 0
    assert game.attempts.get(f"address:{ADDRESS}").failures == 3


def test_login_when_an_address_was_quiet_then_it_starts_again() -> None:
    game = with_center()
    for _ in range(3):
        done(logging_in(game, verified(False, user=0)))
    game.now_ms += ACCOUNT.failures_forgotten_ms + 1
    done(logging_in(game, verified(False, user=0)))
    assert game.attempts.get(f"address:{ADDRESS}").failures == 1


def test_attempts_when_from_ever_new_addresses_then_memory_stays_bounded() -> None:
    game = with_center()
    kept_max = ACCOUNT.addresses_kept_max
    for number in range(kept_max // 3 + 50):  # an address, a name and the name from there each
        message = verified(False, user=0, name=f"name{number}")
        done(logging_in(game, message, f"10.0.{number // 256}.{number % 256}"))
    assert len(game.attempts.of_key) == kept_max


def test_attempts_when_a_name_is_long_then_little_of_it_is_kept() -> None:
    game = with_center()
    done(logging_in(game, verified(False, user=0, name="a" * 256)))
    assert max(map(len, game.attempts.of_key)) < 100


def test_homes_when_ever_new_names_come_in_then_memory_stays_bounded() -> None:
    attempts = Attempts()
    for number in range(5):
        CameIn(f"name{number}", "10.0.0.1", 3).apply(attempts)
    CameIn("name2", "10.0.0.2", 3).apply(attempts)
    assert attempts.home_of == {"name3": "10.0.0.1", "name4": "10.0.0.1", "name2": "10.0.0.2"}
