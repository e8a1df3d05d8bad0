"""Who may be connected to the payment door: strangers hold places for a while, and shut nobody out.

Owns connections from accept on, before and after TLS; what is answered is tested with the door.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.test_payment_door import Door

from mmo.cli import payment_places
from mmo.cli.payment_places import PROVE_S, Place, Places
from mmo.config.load import load_config
from mmo.edges.payment import Strangers
from mmo.testing.world import Lines, World

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Held:
    """Places of a door, with what became of who held one."""

    def __init__(self, whole_max: int, address_max: int) -> None:
        self.counts: list[str] = []
        self.log = Lines()
        self.ended: list[str] = []
        strangers = Strangers(lambda: 0, self.log, self.counts.append)
        self.places = Places(whole_max, address_max, strangers)

    def take(self, host: str, name: str = "", now_s: float = 0.0) -> Place | None:
        """One more connection; it has the name of its host unless told otherwise."""
        return self.places.take(host, now_s, lambda: self.ended.append(name or host))

    def took(self, host: str, name: str = "", now_s: float = 0.0) -> Place:
        """One more connection, which is let in."""
        place = self.take(host, name, now_s)
        assert place is not None
        return place


def test_who_is_longest_without_a_signature_makes_way_when_all_places_are_taken() -> None:
    held = Held(3, 0)
    held.took("10.0.0.1").prove()
    for host in ("10.0.0.2", "10.0.0.3", "10.0.0.4"):
        held.took(host)
    assert held.ended == ["10.0.0.2"]
    assert held.counts == ["payment_connections_unproved_total"]


def test_one_address_makes_way_only_for_itself() -> None:
    held = Held(4, 2)
    held.took("10.0.0.9")
    for name in "abcd":
        held.took("10.0.0.1", name)
    assert held.ended == ["a", "b"]


def test_who_signed_makes_way_for_nobody_and_the_new_one_is_refused() -> None:
    held = Held(2, 1)
    for _ in range(2):
        held.took("10.0.0.1").prove()
    assert held.take("10.0.0.1") is None
    assert held.ended == []
    assert held.counts == ["payment_connections_refused_total"]
    assert held.log.events("warning") == ["payment connection refused"]


def test_who_signed_does_not_count_for_his_address() -> None:
    held = Held(9, 1)
    for _ in range(3):
        held.took("10.0.0.1").prove()
    held.took("10.0.0.1")
    assert held.ended == []


def test_the_address_with_the_most_connections_that_showed_nothing_makes_way() -> None:
    held = Held(4, 0)
    held.took("10.0.0.9")
    for name in "ab":
        held.took("10.0.0.1", name)
    held.took("10.0.0.8")
    held.took("10.0.0.7")
    assert held.ended == ["a"]


def test_a_place_that_was_left_is_free_again_and_left_once() -> None:
    held = Held(1, 1)
    first = held.took("10.0.0.1")
    first.prove()
    held.places.leave(first)
    held.places.leave(first)
    held.took("10.0.0.1").prove()
    assert held.take("10.0.0.1") is None


def test_who_signs_nothing_in_time_is_ended_and_who_signed_is_not() -> None:
    held = Held(9, 0)
    held.took("10.0.0.1").prove()
    held.took("10.0.0.2")
    held.took("10.0.0.3", now_s=1.0)
    held.places.end_late(PROVE_S - 0.1)
    assert held.ended == []
    held.places.end_late(PROVE_S)
    assert held.ended == ["10.0.0.2"]
    held.places.end_late(PROVE_S)
    assert held.ended == ["10.0.0.2"]


@pytest.fixture
def open_door(tmp_path: Path, world: Callable[..., World]) -> Iterator[Callable[..., Door]]:
    """Opens a door with more in `[cash]`; closed at the end."""
    with contextlib.ExitStack() as opened:

        def opens(**cash: object) -> Door:
            given = {f"MMO__CASH__{name.upper()}": str(value) for name, value in cash.items()}
            door = Door(tmp_path, world, load_config(environment=given).config)
            opened.callback(door.close)
            return door

        yield opens


def connects(door: Door, count: int, *, tls: bool) -> list[Line]:
    """Connections of a stranger, in order."""

    async def one() -> Line:
        context = door.context if tls else None
        return await asyncio.open_connection("127.0.0.1", door.server.port, ssl=context)

    return [door.game.run(one()) for _ in range(count)]


def ends(door: Door, line: Line) -> bool:
    """Waits until the door ended a connection."""
    reader, writer = line

    async def end() -> None:
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 5)
        writer.close()

    door.game.run(end())
    return reader.at_eof() or reader.exception() is not None


@pytest.mark.parametrize("tls", [True, False])
def test_places_full_of_silent_strangers_shut_no_signed_notice_out(
    open_door: Callable[..., Door], tls: bool
) -> None:
    door = open_door(connections_max=4, connections_per_address_max=0)
    lines = connects(door, 4, tls=tls)
    assert door.pays()[0] == 200
    assert ends(door, lines[0])
    assert not lines[1][0].at_eof()
    for line in lines:
        line[1].close()


@pytest.mark.parametrize("tls", [True, False])
def test_a_stranger_has_as_many_places_as_his_address(
    open_door: Callable[..., Door], tls: bool
) -> None:
    door = open_door(connections_per_address_max=2)
    lines = connects(door, 3, tls=tls)
    assert ends(door, lines[0])
    assert not lines[2][0].at_eof()
    for line in lines:
        line[1].close()


@pytest.mark.parametrize("tls", [True, False])
def test_who_signs_nothing_in_time_loses_his_connection(
    open_door: Callable[..., Door], tls: bool
) -> None:
    door = open_door()
    (line,) = connects(door, 1, tls=tls)
    assert door.pays(order="o-9")[0] == 200
    door.server.places.end_late(door.game.loop.time() + PROVE_S)
    assert ends(door, line)
    assert door.pays(order="o-10")[0] == 200


def test_who_does_not_begin_tls_is_ended_by_a_deadline_of_the_doors_own(
    open_door: Callable[..., Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payment_places, "HANDSHAKE_S", 0.05)
    door = open_door()
    (line,) = connects(door, 1, tls=False)
    assert ends(door, line)


def test_a_door_that_closes_ends_handshakes_and_is_closed_twice(
    open_door: Callable[..., Door],
) -> None:
    door = open_door()
    (line,) = connects(door, 1, tls=False)
    door.close()
    assert ends(door, line)


def test_the_door_listens_on_an_address_of_its_own(open_door: Callable[..., Door]) -> None:
    door = open_door(host="127.0.0.2")
    with pytest.raises(ConnectionRefusedError):
        connects(door, 1, tls=False)
