"""The password edge: names in NFC, unknown names cost as much as wrong passwords."""

from typing import Any

from mmo.contract import Credentials, Sender
from mmo.edges import password
from mmo.wire.messages.account import Login, LoginVerified, Register

SENDER = Sender(1, 0, 1)


class Accounts:
    """The outside with one account; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, ...]] = []

    async def credentials(self, name: str) -> Credentials | None:
        self.asked.append(("credentials", name))
        if name == "쿼카":
            return Credentials(70_001, name, "hash", 9, 55, 2, 77)
        return None

    async def hash_password(self, password: str) -> str:
        return f"hash of {password}"

    async def verify_password(self, password_hash: str | None, password: str) -> bool:
        self.asked.append(("verify", password_hash))
        return password_hash == "hash" and password == "right password"


async def test_register_when_the_name_is_decomposed_then_is_composed_and_counted() -> None:
    accounts: Any = Accounts()
    decomposed = "\u110f\u116f\u110f\u1161"  # the four jamo of two syllables
    hashed = await password.register(Register(decomposed, "pässword"), accounts, SENDER)
    assert hashed.name == "쿼카"
    assert (hashed.password_hash, hashed.password_length) == ("hash of pässword", 8)


async def test_login_when_the_name_is_unknown_then_a_hash_is_burnt_all_the_same() -> None:
    accounts: Any = Accounts()
    result = await password.login(Login("nobody", "right password"), accounts, SENDER)
    assert result == LoginVerified(0, "nobody", False, 0, 0, 0)
    assert accounts.asked == [("credentials", "nobody"), ("verify", None)]


async def test_login_when_known_then_everything_the_rule_needs_is_handed_on() -> None:
    accounts: Any = Accounts()
    right = await password.login(Login("쿼카", "right password"), accounts, SENDER)
    wrong = await password.login(Login("쿼카", "wrong password"), accounts, SENDER)
    assert right == LoginVerified(70_001, "쿼카", True, 9, 55, 2, 77)
    assert wrong == LoginVerified(70_001, "쿼카", False, 9, 55, 2, 77)
