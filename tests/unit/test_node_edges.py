"""Edges: the outside asked with deadlines, and the line before them."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.unit.node_game import messages as m
from tests.unit.node_game.roles import LOGIN

from mmo.node.handlers import Table, build_table
from mmo.testing.fake_store import FakeStore
from mmo.testing.fake_tables import FakeDatabase
from mmo.testing.world import Client, World
from mmo.wire.messages.account import LoginWait
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

GAME = "tests.unit.node_game"
MakeWorld = Callable[..., World]


class SlowPasswords:
    """Checks that end when the test says so."""

    def __init__(self) -> None:
        self.is_slow = False
        self.waiting: list[asyncio.Future[bool]] = []

    async def hash(self, password: str) -> str:
        return "-"

    async def verify(self, password_hash: str | None, password: str) -> bool:
        if self.is_slow:
            self.waiting.append(asyncio.get_running_loop().create_future())
            return await self.waiting[-1]
        return True

    def end_one(self, game: World) -> None:
        game.loop.call_soon(self.waiting.pop(0).set_result, True)
        game.settle()


def a_world(world: MakeWorld, **settings: Any) -> tuple[World, FakeStore, SlowPasswords]:
    passwords = SlowPasswords()
    store = FakeStore(FakeDatabase())
    game = world(
        LOGIN, store=store, passwords=passwords, systems_package=GAME, edges_package=GAME,
        **settings,
    )  # fmt: skip
    store.database.clock_ms = game.clock
    game.account("Ann")
    game.account("Bob")
    return game, store, passwords


def test_edge_when_it_ends_is_decided_and_answered(world: MakeWorld) -> None:
    game, _, _ = a_world(world)
    client = game.client()
    assert client.asks(m.Knock("Ann")) == m.Echoed("Ann", 0)
    assert client.asks(m.Knock("Eve")) == Refused(Code.CREDENTIALS_WRONG)


def test_edge_when_the_store_is_away_says_retry_later(world: MakeWorld) -> None:
    game, store, _ = a_world(world)
    store.faults.next_before = 1
    client = game.client()
    assert client.asks(m.Knock("Ann")) == Refused(Code.RETRY_LATER)
    assert client.asks(m.Knock("Ann")) == m.Echoed("Ann", 0)


def test_edge_when_it_raises_costs_one_message(world: MakeWorld) -> None:
    game, store, _ = a_world(world)

    async def broken(name: str) -> None:
        raise RuntimeError("a bug")

    store.credentials, kept = broken, store.credentials  # type: ignore[method-assign]
    client = game.client()
    assert client.asks(m.Knock("Ann")) == Refused(Code.INTERNAL)
    store.credentials = kept  # type: ignore[method-assign]
    assert client.asks(m.Knock("Ann")) == m.Echoed("Ann", 0)


def test_edge_when_its_row_loses_is_run_again(world: MakeWorld) -> None:
    game, store, _ = a_world(world)
    write, tries = store.write, []

    async def losing(row: Any) -> bool:
        tries.append(row.session_epoch)
        if len(tries) == 1:
            store.database.heads[1].session_epoch += 1  # another login came first
        return await write(row)

    store.write = losing  # type: ignore[method-assign]
    client = game.client()
    assert client.asks(m.Knock("Ann")) == m.Echoed("Ann", 1)
    assert tries == [0, 1]


def test_edge_when_its_row_always_loses_gives_up_after_three(world: MakeWorld) -> None:
    game, store, _ = a_world(world)
    tries = []

    async def never(row: Any) -> bool:
        tries.append(row)
        return False

    store.write = never  # type: ignore[method-assign]
    client = game.client()
    assert client.asks(m.Knock("Ann")) == Refused(Code.RETRY_LATER)
    assert len(tries) == 3


def knocks_and_leaves(game: World, passwords: SlowPasswords) -> None:
    """Ann's client is gone when her password is checked."""
    passwords.is_slow = True
    client = game.client()
    client.post(m.Knock("Ann"))
    game.settle()
    client.leaves()
    game.settle()
    passwords.end_one(game)


def test_edge_when_its_client_is_gone_opens_no_session(world: MakeWorld) -> None:
    """The same client may have come again by then: a late session would end his new one."""
    game, store, passwords = a_world(world)
    knocks_and_leaves(game, passwords)
    assert store.database.heads[1].session_epoch == 0
    passwords.is_slow = False
    assert game.client().asks(m.Knock("Ann")) == m.Echoed("Ann", 0)
    assert store.database.heads[1].session_epoch == 1


def test_edge_when_its_client_is_gone_is_decided_by_a_rule_that_counts_what_it_cost(
    world: MakeWorld,
) -> None:
    game, store, passwords = a_world(world)
    game.engine.table.node[m.KNOCKED].when_gone = True
    knocks_and_leaves(game, passwords)
    assert store.database.heads[1].session_epoch == 1


def test_edge_when_its_row_loses_and_its_client_is_gone_is_not_run_again(
    world: MakeWorld,
) -> None:
    game, store, _ = a_world(world)
    client = game.client()
    tries = []

    async def losing(row: Any) -> bool:
        tries.append(row)
        game.core.disconnect(client.connection)
        for _ in range(5):  # the end of the connection is served meanwhile
            await asyncio.sleep(0)
        assert not game.engine.sources
        return False

    store.write = losing  # type: ignore[method-assign]
    client.post(m.Knock("Ann"))
    game.settle()
    assert len(tries) == 1


def crowd(
    game: World, passwords: SlowPasswords, count: int, address: str = "192.0.2.1:1000"
) -> list[Client]:
    passwords.is_slow = True
    clients = [game.client(address) for _ in range(count)]
    for client in clients:
        client.post(m.Knock("Bob"))
        game.settle()
    return clients


def end_all(game: World, passwords: SlowPasswords) -> None:
    passwords.is_slow = False
    while passwords.waiting:
        passwords.end_one(game)


def test_edge_when_the_rule_before_it_refuses_asks_nothing(world: MakeWorld) -> None:
    game, store, _ = a_world(world)
    game.engine.states["board"].barred = ("192.0.2.1",)
    store.faults.next_before = 1  # the store would refuse
    assert game.client().asks(m.Knock("Ann")) == Refused(Code.LOCKED_OUT, "9")
    store.faults.next_before = 0
    other = game.client("192.0.2.2:1000")
    assert other.asks(m.Knock("Ann")) == m.Echoed("Ann", 0)


def test_edge_when_the_rule_before_it_changes_its_mind_in_the_line_is_not_run(
    world: MakeWorld,
) -> None:
    game, _, passwords = a_world(world, edges_running_max=1)
    clients = crowd(game, passwords, 3)
    game.engine.states["board"].barred = ("192.0.2.1",)
    passwords.end_one(game)
    for client in clients[1:]:
        assert Refused(Code.LOCKED_OUT, "9") in client.heard()
    assert not passwords.waiting and not len(game.engine.edges.line)


def test_edge_when_the_rule_before_it_raises_costs_one_message(world: MakeWorld) -> None:
    game, _, _ = a_world(world)
    client = game.client()
    assert client.asks(m.Knock("fails")) == Refused(Code.INTERNAL)
    assert client.asks(m.Knock("Ann")) == m.Echoed("Ann", 0)


def test_line_when_all_places_run_tells_numbers_as_it_moves(world: MakeWorld) -> None:
    game, _, passwords = a_world(world, edges_running_max=1)
    clients = crowd(game, passwords, 4)
    numbers = [[x.number for x in client.heard()] for client in clients]
    assert numbers == [[], [1], [2], [3]]
    passwords.end_one(game)
    assert isinstance(clients[0].heard()[0], m.Echoed)
    game.move(1_000)
    assert [[x.number for x in client.heard()] for client in clients[1:]] == [[], [1], [2]]
    game.move(5_000)
    assert [client.heard() for client in clients[1:]] == [[], [], []]  # told once a change
    for client in clients[1:]:
        passwords.end_one(game)
        assert [x for x in client.heard() if isinstance(x, m.Echoed)]
    passwords.is_slow = False


def test_line_when_full_refuses_with_the_wait(world: MakeWorld) -> None:
    game, _, passwords = a_world(world, edges_running_max=1, waiting_max=2)
    clients = crowd(game, passwords, 4)
    [refused] = clients[3].heard()
    assert refused.code == Code.LOGIN_LINE_FULL and int(refused.detail) >= 1
    passwords.is_slow = False
    for _ in range(3):
        if passwords.waiting:
            passwords.end_one(game)


def test_line_when_full_of_those_who_left_gives_their_places_to_who_is_there(
    world: MakeWorld,
) -> None:
    game, _, passwords = a_world(world, edges_running_max=1, waiting_max=3)
    clients = crowd(game, passwords, 4)
    told = [client.heard()[0] for client in clients[1:]]
    for client in (clients[2], clients[1]):
        client.leaves()
        game.move(1_000)
    [new] = crowd(game, passwords, 1, "192.0.2.2:1000")
    assert [x.number for x in new.heard()] == [3]
    clients[3].heard()
    again = game.client()
    again.post(m.Knock("Bob", told[0].ticket))  # he was away for a shorter time than the other
    game.settle()
    assert [x.number for x in again.heard()] == [1]
    late = game.client()
    late.post(m.Knock("Bob", told[1].ticket))
    game.settle()
    assert [x.code for x in late.heard()] == [Code.LOGIN_LINE_FULL]
    end_all(game, passwords)


def test_line_when_one_address_has_its_share_refuses_it_alone(world: MakeWorld) -> None:
    game, _, passwords = a_world(
        world, edges_running_max=1, waiting_max=9, waiting_per_address_max=2
    )
    first = crowd(game, passwords, 4, "[2001:db8::1]:1000")
    assert [x.code for x in first[3].heard()] == [Code.LOGIN_LINE_FULL]
    [same] = crowd(game, passwords, 1, "[2001:db8::2]:1000")  # the same /64 network
    assert [x.code for x in same.heard()] == [Code.LOGIN_LINE_FULL]
    [other] = crowd(game, passwords, 1, "[2001:db8:0:1::1]:1000")
    assert [x.number for x in other.heard()] == [3]
    first[1].leaves()
    game.settle()
    [next_one] = crowd(game, passwords, 1, "[2001:db8::3]:1000")  # in the place of the one away
    assert [x.number for x in next_one.heard()] == [3]
    passwords.end_one(game)  # one of the two goes, so there is a place again
    [last] = crowd(game, passwords, 1, "[2001:db8::4]:1000")
    assert [x.number for x in last.heard()] == [3]
    end_all(game, passwords)


def test_line_when_an_address_comes_and_leaves_again_and_again_stays_open_to_others(
    world: MakeWorld,
) -> None:
    game, _, passwords = a_world(world, edges_running_max=1, waiting_max=5)
    crowd(game, passwords, 1)
    for _ in range(20):
        [guest] = crowd(game, passwords, 1)
        guest.leaves()
        game.settle()
    assert len(game.engine.edges.line) == 5
    [player] = crowd(game, passwords, 1, "192.0.2.2:1000")
    assert [x.number for x in player.heard()] == [5]
    end_all(game, passwords)


def test_line_when_a_client_reconnects_keeps_his_number(world: MakeWorld) -> None:
    game, _, passwords = a_world(world, edges_running_max=1)
    clients = crowd(game, passwords, 4)
    [told] = clients[1].heard()
    assert isinstance(told, LoginWait) and told.number == 1
    clients[1].leaves()
    game.move(5_000)
    again = game.client()
    again.post(m.Knock("Bob", told.ticket))
    game.settle()
    assert [x.number for x in again.heard()] == [1]
    passwords.end_one(game)
    passwords.end_one(game)
    assert [x for x in again.heard() if isinstance(x, m.Echoed)]
    passwords.is_slow = False


def test_line_when_a_client_stays_away_too_long_forgets_him(world: MakeWorld) -> None:
    game, _, passwords = a_world(world, edges_running_max=1)
    clients = crowd(game, passwords, 3)
    [told] = clients[1].heard()
    clients[1].leaves()
    game.move(16_000)
    assert len(game.engine.edges.line) == 1
    again = game.client()
    again.post(m.Knock("Bob", told.ticket))
    game.settle()
    assert [x.number for x in again.heard()] == [2]
    passwords.is_slow = False
    while passwords.waiting:
        passwords.end_one(game)


def test_line_when_someone_elses_ticket_is_shown_does_not_take_his_place(world: MakeWorld) -> None:
    game, _, passwords = a_world(world, edges_running_max=1)
    clients = crowd(game, passwords, 3)
    [told] = clients[1].heard()
    thief = game.client()
    thief.post(m.Knock("Bob", told.ticket))
    game.settle()
    assert [x.number for x in thief.heard()] == [3]
    passwords.is_slow = False
    while passwords.waiting:
        passwords.end_one(game)


def test_line_when_the_code_is_switched_then_who_waits_is_served_by_the_new(
    world: MakeWorld,
) -> None:
    game, _, passwords = a_world(world, edges_running_max=1)
    clients = crowd(game, passwords, 4)
    engine = game.engine
    old = Table()
    old.become(engine.table)
    newer = build_table(engine.role, engine.states, engine.env, GAME, GAME)
    engine.table.become(newer)
    old.forget()
    for _ in clients:
        passwords.end_one(game)
    for client in clients:
        assert [x for x in client.heard() if isinstance(x, m.Echoed)], "served"


def test_line_when_its_rule_is_quarantined_then_who_waits_is_refused(world: MakeWorld) -> None:
    game, _, passwords = a_world(world, edges_running_max=1)
    clients = crowd(game, passwords, 3)
    engine = game.engine
    knock = engine.table.open[m.KNOCK]
    engine.quarantine._failures[knock] = deque()
    engine.quarantine._close(knock)
    passwords.end_one(game)
    for client in clients[1:]:
        assert Refused(Code.QUARANTINED, str(m.KNOCK)) in client.heard()
