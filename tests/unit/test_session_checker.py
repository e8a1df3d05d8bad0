"""The checker's judgement of sessions: no token of an older one lets in once a newer was told, and
the rogue shows such a token."""

import base64
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client_realm import Realm

from mmo.client.protocol import Token
from mmo.client.rogue import plot
from mmo.proof.checker import operations
from mmo.proof.checker.findings import Findings
from mmo.proof.checker.history import History
from mmo.proof.history import History as Written
from mmo.wire import codec
from mmo.wire.messages.account import LoginOk
from mmo.wire.messages.presence import LogoutOk, SessionOk, Welcome
from mmo.wire.messages.session import Refused
from mmo.wire.messages.shop import ShopLineView, ShopPageOk
from mmo.wire.opcode import Code

NAME, USER, LOGIN_PORT, PORT = "ann", 7, 7100, 7110
OLD = {"owner/old-session": 1}
REFUSED = Refused(int(Code.TOKEN_REFUSED))


def signed(typ: str, epoch: int) -> str:
    """A token as a server signs it, its signature left out."""
    parts = ({"alg": "EdDSA", "typ": typ}, {"sub": str(USER), "epoch": epoch, "name": NAME})
    texts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts)
    return ".".join((*(text.rstrip("=") for text in texts), "signature"))


def welcome(epoch: int) -> Welcome:
    return Welcome(USER, NAME, epoch, 0, 2, 1, 0, 0, 0, 0, 0, 0, [], [], [])


def session_ok(epoch: int) -> SessionOk:
    return SessionOk(USER, epoch, 3, signed("session+jwt", epoch))


class Player:
    """One who writes down what he shows and is told."""

    def __init__(self, history: Written) -> None:
        self._history = history

    def shows(self, typ: str, epoch: int) -> int:
        """A token is on its way."""
        return self._history.claims(NAME, PORT, "token", signed(typ, epoch))

    def is_told(self, claim: int, answer: Any) -> None:
        """Its answer came."""
        self._history.claimed(claim, answer.opcode, codec.encode(answer))

    def enters(self, typ: str, epoch: int, answer: Any) -> None:
        """Both, one after the other."""
        self.is_told(self.shows(typ, epoch), answer)

    def asks(self, what: str, answer: Any) -> None:
        """A login, or the lobby, or a logout."""
        self.is_told(self._history.claims(NAME, LOGIN_PORT, what, ""), answer)

    def logs_in(self, epoch: int) -> None:
        """A login opens the session `epoch`."""
        self.asks("login", LoginOk(USER, signed("login+jwt", epoch), "127.0.0.1", PORT, 2))


def found_of(directory: Path, play: Callable[[Player], None]) -> dict[str, int]:
    """What the checker says of what he did."""
    with closing(Written(directory)) as history:
        play(Player(history))
    found = Findings()
    operations.check_owner([], list(History(directory).claims.values()), found)
    return found.counts


def test_the_history_names_the_session_of_tokens_and_of_answers_and_keeps_no_token(
    tmp_path: Path,
) -> None:
    def play(ann: Player) -> None:
        ann.logs_in(4)
        ann.enters("login+jwt", 4, welcome(4))
        ann.enters("session+jwt", 4, session_ok(4))
        ann.enters("session+jwt", 4, REFUSED)
        ann.asks("logout", LogoutOk())

    assert found_of(tmp_path, play) == {}
    claims = History(tmp_path).claims.values()
    epochs = [(claim.epoch, claim.epoch_told) for claim in claims]
    assert epochs == [(0, 4), (4, 4), (4, 4), (4, 0), (0, 0)]
    assert "eyJ" not in next(tmp_path.glob("*.jsonl")).read_text(encoding="ascii")


@pytest.mark.parametrize("answer", [welcome(3), welcome(2), session_ok(2)])
@pytest.mark.parametrize("typ", ["session+jwt", "move+jwt"])
def test_a_token_of_an_older_session_that_lets_in_is_found(
    tmp_path: Path, typ: str, answer: Any
) -> None:
    def play(rogue: Player) -> None:
        rogue.logs_in(2)
        rogue.enters("login+jwt", 2, welcome(2))
        rogue.logs_in(3)
        rogue.enters(typ, 2, answer)

    assert found_of(tmp_path, play) == OLD


def test_any_answer_that_names_a_newer_session_ends_the_older(tmp_path: Path) -> None:
    for index, answer in enumerate((welcome(3), session_ok(3))):

        def play(rogue: Player, answer: Any = answer) -> None:
            rogue.enters("session+jwt", 3, answer)
            rogue.enters("session+jwt", 2, session_ok(2))

        assert found_of(tmp_path / str(index), play) == OLD


def test_what_may_have_come_before_the_newer_session_is_not_judged(tmp_path: Path) -> None:
    """The token was shown before the login was answered: nobody knows which came first."""

    def play(ann: Player) -> None:
        ann.enters("login+jwt", 2, welcome(2))
        late = ann.shows("session+jwt", 2)
        ann.logs_in(3)
        ann.is_told(late, session_ok(2))
        ann.enters("login+jwt", 3, welcome(3))

    assert found_of(tmp_path, play) == {}


def test_play_within_a_session_and_refusals_are_not_judged(tmp_path: Path) -> None:
    def play(ann: Player) -> None:
        ann.logs_in(2)
        ann.enters("login+jwt", 2, welcome(2))
        ann.enters("move+jwt", 2, welcome(2))
        ann.enters("session+jwt", 2, session_ok(2))
        ann.asks("lobby", welcome(2))
        ann.logs_in(3)
        ann.enters("session+jwt", 2, REFUSED)
        ann.shows("session+jwt", 2)  # and no answer came

    assert found_of(tmp_path, play) == {}


def test_a_login_of_which_nobody_was_told_ends_nothing_for_the_checker(tmp_path: Path) -> None:
    def play(ann: Player) -> None:
        ann.enters("login+jwt", 2, welcome(2))
        ann.asks("login", Refused(int(Code.RETRY_LATER)))
        ann.enters("session+jwt", 2, session_ok(2))

    assert found_of(tmp_path, play) == {}


class Town(Realm):
    """A realm with a shop, in which nothing can be moved or bought."""

    def _shoppageask(self, port: int, _: Any) -> list[Any]:
        return [ShopPageOk(1, 0, 1, [ShopLineView(1, 0, 1, "sword", 1, 0, 0, 10, 0, 0, 0, 0)])]

    def _itemmove(self, port: int, _: Any) -> list[Any]:
        return [Refused(int(Code.ITEM_UNKNOWN))]

    _buy = _itemmove


def test_a_rogue_shows_the_tokens_of_both_logins_again_and_that_of_the_session_before() -> None:
    town, turns = Town(), iter((True, False))
    town.names["용사one"] = "long enough"
    town.walk(plot(town.hero(), lambda: next(turns)))
    shown = [message.text for message in town.sent if isinstance(message, Token)]
    assert shown[-3:] == ["login 1", "login 2", "session 1"]
