"""Token keys change in rounds of restarts, and no server ever refuses what another one signs.

Owns the way from the files of a home through what a node signs with to what the core believes.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contract.core_sides import RealSide

from mmo.cli.core import believed_keys, make_sign
from mmo.cluster.home import Home
from mmo.cluster.secret_files import (
    add_token_key,
    choose_token_key,
    ensure_secrets,
    read_secrets,
    token_kids,
)
from mmo.config.load import load_config
from mmo.wire.opcode import Op

CONFIG = load_config(environment={}).config


class Node:
    """What a server that starts now signs with and believes."""

    def __init__(self, home: Home) -> None:
        secrets = read_secrets(home, CONFIG)
        self.kid = secrets.signing_kid
        self._sign = make_sign(CONFIG, secrets)
        self.side = RealSide(token_keys=believed_keys(secrets))

    def token(self) -> bytes:
        """One for a session, signed here."""
        now_s = int(time.time())
        claims = {"aud": "session", "sub": "7", "jti": "j", "nbf": now_s, "exp": now_s + 60}
        return self._sign(claims, "session+jwt").encode()

    def believes(self, token: bytes) -> bool:
        """Whether a client that shows it is let in."""
        self.side.events.clear()
        client = self.side.connect()
        client.send(int(Op.ENTER), 1, token)

        def heard() -> set[int]:
            return {event[2] for event in self.side.events} & {Op.ENTER, Op.CLOSED}

        return Op.ENTER in self.side.until(heard)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """One that was started: it has one key."""
    made = Home(tmp_path / "home")
    ensure_secrets(made, CONFIG)
    return made


@pytest.fixture
def start(home: Home) -> Iterator[Callable[[], Node]]:
    """Starts a node by what the home has now."""
    nodes: list[Node] = []

    def starts() -> Node:
        nodes.append(Node(home))
        return nodes[-1]

    yield starts
    for node in nodes:
        node.side.end()


def test_a_key_is_changed_in_rounds_and_everybody_believes_everybody(
    home: Home, start: Callable[[], Node]
) -> None:
    before = start()
    new = add_token_key(home.secrets)
    first = start()
    assert first.kid == before.kid != new
    assert before.believes(first.token()) and first.believes(before.token())
    choose_token_key(home.secrets, new)
    second = start()
    assert second.kid == new
    assert first.believes(second.token()) and second.believes(first.token())
    (home.secrets / f"token-{before.kid}.pem").unlink()
    third = start()
    assert third.kid == new
    assert second.believes(third.token()) and third.believes(second.token())
    assert not third.believes(before.token()), "a key that is gone believes nothing"


def test_a_key_that_signs_before_all_know_it_is_refused(
    home: Home, start: Callable[[], Node]
) -> None:
    """Why there are two rounds."""
    before = start()
    choose_token_key(home.secrets, add_token_key(home.secrets))
    assert token_kids(home.secrets) != [before.kid]
    assert not before.believes(start().token())
