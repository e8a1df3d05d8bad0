"""Roles: every one builds its table, and what one server sends another may and does receive."""

import random
import re
from typing import Any

import pytest

from mmo import roles
from mmo.content import data_directory, load_content
from mmo.contract import Env, NodeView, Role, Sender
from mmo.node.core_table import core_fields
from mmo.node.handlers import LINK_OPCODES, Table, build_table
from mmo.wire.opcode import INTERNAL, Op

ROLES = tuple(roles.ROLES)
PUSHES = {
    *(Op.CLOSING, Op.REFUSED, Op.LOGIN_WAIT, Op.WELCOME, Op.SERVER_LEAVING, Op.KILL_REWARD),
    *(Op.GRANT_REWARD, Op.ITEMS_EXPIRED, Op.PASS_PROGRESS, Op.CASH_CHANGED),
    *(Op.RAID_MATCHED, Op.RAID_UNMATCHED, Op.RAID_FREED, Op.RAID_ENTERED, Op.DATAGRAM_KEY),
    *(Op.RAID_TEAM, Op.RAID_START, Op.RAID_STRUCK, Op.RAID_STREAM, Op.RAID_ENDED),
}
"""What a server tells a client without a request of the same name."""


def table_of(role: Role) -> Table:
    """The checked table of a role, as a node builds it."""
    content = load_content()
    view = NodeView(1, f"{role.name}-1", role.name, 1, 1)
    states = {name: make(content, view) for name, make in role.states.items()}
    env = Env(0, random.Random(1), content, view, Sender(0, 0, 0), lambda: 1)
    return build_table(role, states, env, "mmo.systems", "mmo.edges")


def core_of(name: str) -> dict[str, Any]:
    """What the core of a role is told."""
    role = roles.ROLES[name]
    return core_fields(role, table_of(role), 1, ROLES)


def test_roles_when_counted_then_are_the_six_of_the_reference() -> None:
    assert set(ROLES) == {"login", "center", "channel", "matching", "raid", "cash"}


@pytest.mark.parametrize("name", ROLES)
def test_role_when_built_then_answers_health_and_dials_only_roles_that_exist(name: str) -> None:
    role = roles.ROLES[name]
    assert int(Op.NODE_HEALTH) in table_of(role).peer
    assert set(role.dials) <= set(ROLES)
    assert name == "center" or "center" in role.dials


@pytest.mark.parametrize("name", ROLES)
def test_role_when_it_owns_players_then_it_takes_tokens_grants_and_kills(name: str) -> None:
    role = roles.ROLES[name]
    handled = table_of(role).node
    owned = {Op.ENTER, Op.CLOSED, Op.GRANT_CLAIM, Op.KILL_EARNED} <= handled.keys()
    assert owned == role.owns_players
    admits = {Op.ENTER, Op.CLOSED} <= handled.keys()
    assert admits == (role.owns_players or role.runs_raids) == bool(role.token_types)


@pytest.mark.parametrize("name", ROLES)
def test_role_when_a_client_speaks_then_no_link_or_internal_opcode_is_open_to_him(
    name: str,
) -> None:
    core = core_of(name)
    opcodes = {opcode for opcode, _, _ in core["client_opcodes"]}
    assert all(opcode >= 100 for opcode in opcodes)
    links = {opcode for _, opcode in core["link_opcodes"]}
    assert links and links <= set(LINK_OPCODES) and not links & opcodes
    answers = {op for op in Op if op.name.endswith(("_OK", "PONG"))}
    assert not opcodes & (INTERNAL - {Op.ENTER} | PUSHES | answers)


def test_roles_when_clients_need_no_token_then_only_the_login_server_serves_them() -> None:
    always = {Op.HELLO, Op.PING, Op.ENTER}
    served = {
        name: {opcode for opcode, state, _ in core_of(name)["client_opcodes"] if state != 1}
        for name in ROLES
    }
    assert served["login"] - always == {Op.REGISTER, Op.LOGIN}
    assert all(not served[name] - always for name in ROLES if name != "login")


@pytest.mark.parametrize(
    ("sender", "receiver", "opcode"),
    [
        ("login", "center", Op.SESSION_ENDED),
        ("channel", "center", Op.SESSION_ENDED),
        ("center", "channel", Op.SESSION_ENDED),
        ("center", "channel", Op.SEAT_HOLD),
        ("channel", "center", Op.SEAT_HELD),
        ("channel", "center", Op.SERVER_LOAD),
        ("center", "login", Op.SERVER_LOAD),
        ("center", "center", Op.SERVER_LOAD),
        ("channel", "center", Op.PLAYER_ARRIVED),
        ("channel", "center", Op.PLAYER_LEFT),
        ("center", "channel", Op.PLAYER_MOVED),
        ("center", "center", Op.SESSION_SEEN),
        *(("center", name, Op.NODE_HEALTH) for name in ROLES),
        *((name, "center", Op.NODE_HEALTH_OK) for name in ROLES),
    ],
)
def test_link_when_one_server_tells_another_then_the_allowlist_lets_it_in(
    sender: str, receiver: str, opcode: Op
) -> None:
    assert (sender, int(opcode)) in core_of(receiver)["link_opcodes"]


@pytest.mark.parametrize(
    ("sender", "receiver", "opcode"),
    [
        ("raid", "center", Op.SESSION_ENDED),
        ("cash", "channel", Op.SEAT_HOLD),
        ("channel", "channel", Op.PLAYER_MOVED),
        ("login", "channel", Op.SESSION_ENDED),
        ("channel", "login", Op.SERVER_LOAD),
        ("matching", "center", Op.PLAYER_ARRIVED),
    ],
)
def test_link_when_a_role_has_no_business_with_a_message_then_it_is_refused(
    sender: str, receiver: str, opcode: Op
) -> None:
    assert (sender, int(opcode)) not in core_of(receiver)["link_opcodes"]


@pytest.mark.parametrize("name", ROLES)
def test_tokens_when_shown_then_each_role_accepts_only_its_own_types(name: str) -> None:
    expected = {
        "center": ["login+jwt", "session+jwt"],
        "channel": ["move+jwt", "session+jwt"],
        "raid": ["raid+jwt"],
    }.get(name, [])
    assert core_of(name)["token_types"] == expected


def test_content_when_read_then_each_file_is_a_table_that_the_loader_knows() -> None:
    loader = (data_directory().parent / "tables.py").read_text(encoding="utf-8")
    named = set(re.findall(r'"(\w+\.toml)"', loader))
    assert {path.name for path in data_directory().iterdir()} <= named
