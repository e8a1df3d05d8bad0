"""Registering: what names and passwords must look like, and how many an address may make."""

import pytest
from tests.systems.game import Game, done
from tests.systems.test_account import ACCOUNT, ADDRESS, of_one_who_left

from mmo.contract import Outcome, Refuse
from mmo.state.place import AccountRegistered
from mmo.systems.account import may_register, register
from mmo.wire.messages.account import Register, RegisterHashed
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code


def registering(
    name: str, password_length: int = 8, game: Game | None = None, address: str = ADDRESS
) -> Outcome:
    """Register with a hash at hand."""
    game = game or Game("login", 1)
    hashed = RegisterHashed(name, "$argon2id$x", password_length)
    return game.apply(register(hashed, attempts=game.attempts, env=game.env(address=address)))


def asking_to_register(game: Game, address: str = ADDRESS) -> Refuse | None:
    """What the rule before the hash says."""
    asked = Register("quokka", "password")
    return may_register(asked, attempts=game.attempts, env=game.env(address=address))


def refusal_of(outcome: Outcome | Refuse | None) -> tuple[int, str]:
    """Code and detail of a refusal that was counted."""
    assert isinstance(outcome, Outcome)
    (said,) = outcome.replies
    assert isinstance(said, Refused) and outcome.row is None, outcome
    return said.code, said.detail


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
    assert refusal_of(outcome.row_refused) == (Code.NAME_TAKEN, "")


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
    assert refusal_of(registering(name)) == (Code.NAME_INVALID, "2 to 16 visible characters")


@pytest.mark.parametrize(
    "code",
    [
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180E, 0x180F, 0x2800),
        *(0x3164, 0xFE00, 0xFE0F, 0xFFA0, 0x1D159, 0xE0100, 0xE01EF),
    ],
)
def test_register_when_the_name_has_a_blank_that_is_no_space_then_is_refused(code: int) -> None:
    for name in (chr(code) * 2, f"a{chr(code)}b", f"ab{chr(code)}"):
        assert refusal_of(registering(name))[0] == Code.NAME_INVALID


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
        assert refusal_of(outcome) == (Code.PASSWORD_INVALID, "8 to 128 characters")


def test_register_when_an_address_had_its_share_then_gets_no_hash_for_a_while() -> None:
    game = Game("login", 1)
    for number in range(ACCOUNT.registrations_max):
        assert asking_to_register(game) is None
        # Taken, without the form, or made: the hash was spent.
        outcome = registering("quokka" if number % 2 else "", game=game)
        if outcome.row is not None:
            assert isinstance(outcome.row_refused, Outcome)
            assert list(outcome.row_refused.effects) == list(outcome.effects)
        game.now_ms += 1_000
    spent_ms = ACCOUNT.registrations_max * 1_000
    left_s = (ACCOUNT.registrations_ms - spent_ms) // 1_000
    assert asking_to_register(game) == Refuse(Code.LOCKED_OUT, str(left_s))
    assert asking_to_register(game, "10.9.9.9") is None
    game.now_ms += left_s * 1_000
    assert asking_to_register(game) is None
    registering("quokka", game=game)
    assert game.attempts.get(f"register:{ADDRESS}").failures == 1


def test_register_when_its_client_left_then_counts_and_makes_no_account() -> None:
    game = Game("login", 1)
    hashed = RegisterHashed("quokka", "$argon2id$x", 8)
    outcome = register(hashed, attempts=game.attempts, env=of_one_who_left(game))
    assert outcome.row is None and not outcome.replies
    game.apply(outcome)
    assert game.attempts.get(f"register:{ADDRESS}").failures == 1
