"""The table of rules: every fault is found before anything runs, and names its function."""

import random
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from tests.unit.node_game import messages as m
from tests.unit.node_game.roles import CHANNEL, LOGIN

from mmo.contract import Env, NodeView, Outcome, Role, Sender, before, edge, handles, ticks
from mmo.errors import OperatorError
from mmo.node.core_table import core_fields
from mmo.node.handlers import build_table
from mmo.wire.opcode import Op

PACKAGE = "node_rules_of_a_test"
ENV = Env(0, random.Random(1), None, NodeView(1, "n", "channel", 1, 1), Sender(0, 0, 0), lambda: 1)


@pytest.fixture
def module() -> Iterator[ModuleType]:
    """A module that is imported by the name that a role gives."""
    made = ModuleType(f"{PACKAGE}.faulty")
    sys.modules[PACKAGE], sys.modules[made.__name__] = ModuleType(PACKAGE), made
    yield made
    del sys.modules[PACKAGE], sys.modules[made.__name__]


def put(module: ModuleType, function: Callable[..., Any], name: str = "rule") -> None:
    function.__module__ = module.__name__
    setattr(module, name, function)


def fault(role: Role) -> str:
    with pytest.raises(OperatorError) as caught:
        build_table(role, {"board": object()}, ENV, PACKAGE, PACKAGE)
    assert caught.value.code in str(caught.value)
    return caught.value.code


def of(*systems: str, edges: tuple[str, ...] = (), **more: Any) -> Role:
    return Role(name="channel", systems=systems, edges=edges, **more)


def test_module_when_missing_is_named() -> None:
    assert fault(of("nowhere")) == "E0401"


def test_opcode_when_handled_twice_is_refused(module: ModuleType) -> None:
    def rule(message: Any, *, env: Env) -> Outcome:
        return Outcome()

    def again(message: Any, *, env: Env) -> Outcome:
        return Outcome()

    put(module, handles(m.ECHO)(rule))
    put(module, handles(m.ECHO)(again), "again")
    assert fault(of("faulty")) == "E0402"


def test_signature_when_it_differs_from_needs_is_refused(module: ModuleType) -> None:
    def without_need(message: Any, *, env: Env) -> Outcome:
        return Outcome()

    def positional(message: Any, board: Any, *, env: Env) -> Outcome:
        return Outcome()

    def without_env(message: Any, *, board: Any) -> Outcome:
        return Outcome()

    async def waits(message: Any, *, board: Any, env: Env) -> Outcome:
        return Outcome()

    for function in (without_need, positional, without_env, waits):
        put(module, handles(m.ECHO, needs=("board",))(function))
        assert fault(of("faulty")) == "E0403", function.__name__


def test_need_when_nothing_has_that_name_is_refused(module: ModuleType) -> None:
    def rule(message: Any, *, castle: Any, env: Env) -> Outcome:
        return Outcome()

    put(module, handles(m.ECHO, needs=("castle",))(rule))
    assert fault(of("faulty")) == "E0404"


def test_tick_when_its_state_is_missing_is_refused(module: ModuleType) -> None:
    def rule(state: Any, *, env: Env) -> Outcome:
        return Outcome()

    put(module, ticks(every_ms=1, of="castle")(rule))
    assert fault(of("faulty")) == "E0404"


def test_opcode_when_it_has_no_message_is_refused(module: ModuleType) -> None:
    def rule(message: Any, *, env: Env) -> Outcome:
        return Outcome()

    put(module, handles(59_999)(rule))
    assert fault(of("faulty")) == "E0405"


def test_mutating_rule_when_its_message_has_no_operation_is_refused(module: ModuleType) -> None:
    def rule(message: Any, *, env: Env) -> Outcome:
        return Outcome()

    put(module, handles(m.ECHO, mutates=True)(rule))
    assert fault(of("faulty")) == "E0406"


def test_lane_field_when_the_message_lacks_it_is_refused(module: ModuleType) -> None:
    def rule(message: Any, *, env: Env) -> Outcome:
        return Outcome()

    put(module, handles(m.KIN_OK, by="peer", peers=("center",), lane="user")(rule))
    assert fault(of("faulty")) == "E0406"


def test_opcode_when_it_cannot_come_from_there_is_refused(module: ModuleType) -> None:
    def rule(message: Any, *, env: Env) -> Outcome:
        return Outcome()

    put(module, handles(m.KIN)(rule))
    assert fault(of("faulty")) == "E0407"
    put(module, handles(m.ECHO, by="peer", peers=("center",))(rule))
    assert fault(of("faulty")) == "E0407"


def test_rate_class_when_unknown_is_refused(module: ModuleType) -> None:
    def rule(message: Any, *, env: Env) -> Outcome:
        return Outcome()

    put(module, handles(m.ECHO, rate="often")(rule))
    assert fault(of("faulty")) == "E0408"


def test_edge_when_it_is_not_async_is_refused(module: ModuleType) -> None:
    def rule(message: Any, outside: Any, sender: Any) -> None:
        return None

    put(module, edge(m.KNOCK, deadline_ms=1)(rule))
    assert fault(of(edges=("faulty",))) == "E0403"


def test_rule_before_an_edge_when_there_is_no_edge_or_another_rule_is_refused(
    module: ModuleType,
) -> None:
    def rule(message: Any, *, env: Env) -> None:
        return None

    def again(message: Any, *, env: Env) -> None:
        return None

    async def door(message: Any, outside: Any, sender: Any) -> None:
        return None

    put(module, before(m.KNOCK)(rule))
    assert fault(of("faulty")) == "E0414"
    put(module, edge(m.KNOCK, deadline_ms=1)(door), "door")
    build_table(of("faulty", edges=("faulty",)), {}, ENV, PACKAGE, PACKAGE)
    put(module, before(m.KNOCK)(again), "again")
    assert fault(of("faulty", edges=("faulty",))) == "E0414"


def test_rule_before_an_edge_when_it_needs_a_part_of_a_player_is_refused(
    module: ModuleType,
) -> None:
    def rule(message: Any, *, wallet: Any, env: Env) -> None:
        return None

    put(module, before(m.KNOCK, needs=("wallet",))(rule))
    assert fault(of("faulty")) == "E0404"


def test_role_when_it_accepts_tokens_without_owning_players_is_refused() -> None:
    assert fault(of(token_types=("move+jwt",))) == "E0409"


def test_imported_rule_when_in_another_module_is_not_taken_twice(module: ModuleType) -> None:
    from tests.unit.node_game.rules import echo

    module.echo = echo  # type: ignore[attr-defined]
    table = build_table(of("faulty"), {"board": object()}, ENV, PACKAGE, PACKAGE)
    assert table.user == {}


def test_core_fields_when_derived_open_exactly_what_the_role_handles() -> None:
    table = build_table(CHANNEL, {"board": object()}, ENV, "tests.unit.node_game", "")
    fields = core_fields(CHANNEL, table, 11, ("login", "center"))
    opcodes = {opcode: state for opcode, state, _ in fields["client_opcodes"]}
    assert opcodes[Op.ENTER] == 0 and opcodes[Op.HELLO] == opcodes[Op.PING] == 2
    assert opcodes[m.ECHO] == opcodes[m.BUY] == 1
    assert not opcodes.keys() & {m.PAID, m.KIN, m.KIN_OK, Op.GRANT_CLAIM, Op.CLOSED, 30}
    links = set(fields["link_opcodes"])
    assert ("center", m.KIN) in links and ("login", m.KIN) not in links
    assert ("center", m.KIN_OK) in links and ("login", Op.LEASE_SEEN) in links
    assert not {opcode for _, opcode in links if opcode >= 100}
    assert fields["token_audiences"] == ["channel", "11", "session"]


def test_core_fields_when_the_role_has_no_tokens_keep_enter_closed() -> None:
    table = build_table(
        LOGIN, {"board": object()}, ENV, "tests.unit.node_game", "tests.unit.node_game"
    )
    fields = core_fields(LOGIN, table, 1, ("login",))
    opcodes = {opcode: state for opcode, state, _ in fields["client_opcodes"]}
    assert Op.ENTER not in opcodes and opcodes[m.KNOCK] == 0
