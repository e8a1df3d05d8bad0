"""Finding the handler of an opcode: one step in a table, for every role in the box.

Owns the questions about the built table; the tables themselves are `test_roles`' business.
"""

import random

import pytest

from mmo.cli.roles import ROLE_NAMES, load_role
from mmo.content import load_content
from mmo.contract import Env, NodeView, Sender
from mmo.node.handlers import Table, build_table
from mmo.wire import codec


def table_of(name: str) -> Table:
    """The handler table of a role as its node builds it."""
    role, content = load_role(name), load_content()
    view = NodeView(1, f"{name}-1", name, 1, 1)
    states = {key: make(content, view) for key, make in role.states.items()}
    env = Env(0, random.Random(1), content, view, Sender(0, 0, 0), lambda: 1)
    return build_table(role, states, env, "mmo.systems", "mmo.edges")


@pytest.mark.parametrize("name", ROLE_NAMES)
def test_handler_when_looked_up_by_number_then_is_found_in_one_step(name: str) -> None:
    table = table_of(name)
    routes = [table.of(by) for by in ("user", "open", "peer", "node")]
    assert any(routes)
    for by in routes:
        assert type(by) is dict
        assert all(route.opcode == number for number, route in by.items())


@pytest.mark.parametrize("name", ROLE_NAMES)
def test_handler_when_the_number_is_unknown_then_there_is_none(name: str) -> None:
    table = table_of(name)
    for number in (0, 9, 15, 99, 9_999, 65_535):
        assert table.user.get(number) is None and table.open.get(number) is None
        assert codec.decoder_of(number) is None
