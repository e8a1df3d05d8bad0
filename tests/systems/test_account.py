"""Registering and logging in: forms, lockouts, one session, one token."""

from typing import Any

import pytest
from tests.systems.game import CENTER, CONTENT, Game, assert_refused, done, read_token, sent

from mmo.contract import Outcome, Refuse, ToRole
from mmo.state.place import AccountRegistered, LoginFailed, SessionOpened
from mmo.systems.account import address_key, login, register
from mmo.wire.messages.account import LoginOk, LoginVerified, RegisterHashed
from mmo.wire.messages.link import SessionEnded
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

ACCOUNT = CONTENT.account
ADDRESS = "10.1.2.3"


def registering(name: str, password_length: int = 8) -> Outcome | Refuse:
    """Register with a hash at hand."""
    game = Game("login", 1)
    return register(RegisterHashed(name, "$argon2id$x", password_length), env=game.env())


@pytest.mark.parametrize(
    "name",
    [
        "ab",
        "a" * 16,
        "쿼카",
        "쿼카쿼카쿼카쿼카쿼카쿼카쿼카쿼카",  # 16 characters, 48 bytes
        "O'Brien",
        'say "hi"',
        "a;--DROP",
        "back\\slash",
        "Ωμέγα",
        "日本語",
        "two words",
        "🦘🦘",
    ],
)
def test_register_when_the_name_has_the_form_then_is_kept_as_it_is(name: str) -> None:
    outcome = done(registering(name))
    assert outcome.row == AccountRegistered(name, "$argon2id$x", Game("login", 1).now_ms)
    assert outcome.replies[0].name == name
    assert outcome.row_refused == Refuse(Code.NAME_TAKEN)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a",
        "a" * 17,
        "쿼" * 17,
        "a\0b",
        "a\nb",
        "a\x7fb",
        "a\u200bb",  # zero width space
        "a\u202eb",  # right-to-left override
        "a\u2028b",
        "a\ue000b",  # private use
        "a\uffffb",  # never assigned
        " ab",
        "ab ",
        "a  b",
        "a\u3000b",  # a wide space
        "\u1112\u1161\u11ab",  # Hangul jamo that NFC composes
    ],
)
def test_register_when_the_name_has_not_the_form_then_is_refused(name: str) -> None:
    assert_refused(registering(name), Code.NAME_INVALID)


@pytest.mark.parametrize(
    ("length", "good"), [(0, False), (7, False), (8, True), (128, True), (129, False)]
)
def test_register_when_the_password_is_too_short_or_long_then_is_refused(
    length: int, good: bool
) -> None:
    outcome = registering("quokka", length)
    if good:
        assert done(outcome).row is not None
    else:
        assert_refused(outcome, Code.PASSWORD_INVALID)


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


def with_center() -> Game:
    """A login server that hears of one center."""
    game = Game("login", 1)
    game.hear(CENTER, "center")
    return game


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


def test_login_when_unknown_or_wrong_then_the_answer_is_the_same() -> None:
    game = with_center()
    unknown = done(logging_in(game, verified(False, user=0)))
    wrong = done(logging_in(game, verified(False)))
    assert list(unknown.replies) == list(wrong.replies) == [Refused(Code.CREDENTIALS_WRONG)]
    assert unknown.row is None
    assert wrong.row == LoginFailed(70_000, 1, 0)


def test_login_when_five_are_wrong_then_the_account_is_locked_for_the_right_one_too() -> None:
    game = with_center()
    for failures in range(1, 5):
        outcome = done(logging_in(game, verified(False, failures=failures - 1)))
        assert outcome.row == LoginFailed(70_000, failures, 0)
    outcome = done(logging_in(game, verified(False, failures=4)))
    assert outcome.row == LoginFailed(70_000, 5, game.now_ms + 60_000)
    locked = {"failures": 5, "locked_until_ms": game.now_ms + 60_000}
    assert_refused(logging_in(game, verified(True, **locked)), Code.LOCKED_OUT, "60")
    assert_refused(logging_in(game, verified(False, **locked)), Code.LOCKED_OUT, "60")
    game.now_ms += 60_000
    game.hear(CENTER, "center")
    assert done(logging_in(game, verified(True, **locked))).row is not None


def test_login_when_guesses_were_read_before_the_first_failed_then_the_limit_still_holds() -> None:
    game = with_center()
    for _ in range(5):
        done(logging_in(game, verified(False, failures=0)))  # all read the same old row
    assert_refused(logging_in(game, verified(True, failures=0)), Code.LOCKED_OUT, "60")


@pytest.mark.parametrize(
    ("failures", "seconds"), [(4, 60), (5, 120), (6, 240), (7, 480), (8, 900), (9, 900), (200, 900)]
)
def test_login_when_wrong_again_after_a_lock_then_the_next_is_twice_as_long(
    failures: int, seconds: int
) -> None:
    game = with_center()
    outcome = done(logging_in(game, verified(False, failures=failures)))
    assert outcome.row == LoginFailed(70_000, failures + 1, game.now_ms + seconds * 1000)


def test_login_when_one_address_guesses_many_names_then_the_address_is_locked() -> None:
    game = with_center()
    for guess in range(ACCOUNT.address_failures_max):
        done(logging_in(game, verified(False, user=guess % 2 * (guess + 1))))
    assert_refused(logging_in(game, verified(True)), Code.LOCKED_OUT, "60")
    assert done(logging_in(game, verified(True), "10.9.9.9")).row is not None


def test_login_when_guesses_come_from_one_ipv6_network_then_it_is_locked() -> None:
    game = with_center()
    for guess in range(ACCOUNT.address_failures_max):
        done(logging_in(game, verified(False, user=0), f"[2001:db8:0:7::{guess:x}]"))
    assert_refused(logging_in(game, verified(True), "[2001:db8:0:7:ffff::1]"), Code.LOCKED_OUT)
    assert done(logging_in(game, verified(True), "[2001:db8:0:8::1]")).row is not None


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "address:192.0.2.7"),
        ("[::ffff:192.0.2.7]", "address:192.0.2.7"),
        ("[2001:db8::1]", "address:2001:db8::/64"),
        ("[2001:db8:1:2:3:4:5:6]", "address:2001:db8:1:2::/64"),
        ("[fe80::1%eth0]", "address:fe80::/64"),
        ("", "address:"),
        ("no address", "address:no address"),
    ],
)
def test_addresses_are_counted_by_what_one_subscriber_has(address: str, key: str) -> None:
    assert address_key(address) == key


def test_login_when_right_then_the_accounts_failures_are_forgotten_not_the_addresss() -> None:
    game = with_center()
    for _ in range(3):
        done(logging_in(game, verified(False)))
    done(logging_in(game, verified(True)))
    assert game.attempts.get("user:70000").failures == 0
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
    for number in range(ACCOUNT.addresses_kept_max + 50):
        done(logging_in(game, verified(False, user=0), f"10.0.{number // 256}.{number % 256}"))
    assert len(game.attempts.of_key) == ACCOUNT.addresses_kept_max
