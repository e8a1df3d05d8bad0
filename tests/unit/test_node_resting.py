"""Residents at rest: nothing is lost, nobody who plays is packed, who wakes is as before."""

from typing import Any

import msgspec
import pytest

from mmo.node.lanes import Lane
from mmo.node.resting import SLICES, Resting
from mmo.state import rest
from mmo.state.bag import Bag, Item
from mmo.state.counters import Counter
from mmo.state.growth import Growth
from mmo.state.pass_progress import MissionCount, PassProgress
from mmo.state.player import Head, OperationBook, OperationRecord, Player
from mmo.state.score import Score
from mmo.state.wallet import Wallet

REST_MS = 2_000


def full_player() -> Player:
    """Everything a player can have, at odd values."""
    head = Head(2**40, "강한 영웅", 2**41, 7, 11, 12, 5, 1_700_000_000_000, 1_700_000_000_001)
    items = [Item(2**50, 0, 3, 1001, 1, 9, True, 0, 14), Item(5, 2, 0, 7, 99, 0, False, 2**41, 0)]
    book = OperationBook([OperationRecord(7, n, bytes([n] * 8), 403, b"\x93") for n in (1, 2, 9)])
    book.highest[-4] = 2**33
    player = Player(head, Growth(15, 0), Wallet(2**53 - 1, 1, 2), Bag(items), Score(2**60), book)
    missions = (MissionCount(1, 2, 3), MissionCount(2, 0, 0))
    claimed = frozenset({(1, 0), (2, 1)})
    player.pass_progress = {3: PassProgress(3, 4, 5, True, missions, claimed)}
    player.counters = {(1, 8): Counter(20_000, 2)}
    player.grants_claimed = frozenset({(410, 2**45)})
    return player


def parts_of(player: Player) -> dict[str, Any]:
    """Every slot in a comparable form; each slot is in it."""
    parts = {name: getattr(player, name) for name in Player.__slots__}
    bag, book = parts.pop("bag"), parts.pop("operations")
    parts["items"], parts["worn"] = bag.items(), bag.worn()
    parts["highest"], parts["records"] = book.highest, list(book.records.items())
    return parts


def fresh_player() -> Player:
    head = Head(1, "ann", 0, 1, 11, 1)
    return Player(head, Growth(), Wallet(), Bag(), Score(), OperationBook())


@pytest.mark.parametrize("make", [full_player, fresh_player])
def test_what_is_unpacked_is_what_was_packed(make: Any) -> None:
    player = make()
    assert parts_of(rest.unpack(rest.pack(player))) == parts_of(player)


def test_no_part_of_a_player_is_left_out_of_the_comparison() -> None:
    empty, full = parts_of(fresh_player()), parts_of(full_player())
    assert all(empty[name] != full[name] for name in empty)


def test_the_epochs_are_read_without_unpacking() -> None:
    assert rest.fence_of(rest.pack(full_player())) == rest.Fence(7, 12)


def test_who_rests_takes_a_tenth_of_a_kilobyte() -> None:
    assert len(rest.pack(fresh_player())) <= 64


def test_a_lane_puts_its_player_to_rest_at_the_second_look_and_wakes_the_same() -> None:
    lane, player = Lane(1), full_player()
    lane.player = player
    assert not lane.look()
    assert lane.awake is None and lane.owns and lane.fence == rest.Fence(7, 12)
    assert lane.player is player  # he only lay down
    assert not lane.look() and lane.look() and not lane.look()
    assert lane.owns and lane.awake is None and lane.fence == rest.Fence(7, 12)
    woken = lane.player
    assert woken is not None and woken is not player
    assert parts_of(woken) == parts_of(player) and lane.awake is woken


@pytest.mark.parametrize("why", ["shut", "stale"])
def test_a_lane_that_waits_for_something_keeps_its_player_awake(why: str) -> None:
    lane = Lane(1)
    lane.player = fresh_player()
    setattr(lane, why, 1)
    assert not lane.look() and not lane.look() and lane.awake is not None


def test_a_sleeper_who_is_told_to_go_is_gone() -> None:
    lane = Lane(1)
    lane.player = fresh_player()
    assert not lane.look() and lane.look()
    lane.player = None
    assert not lane.owns and lane.player is None and lane.idle


class _Engine:
    """As much of an engine as looking at residents needs."""

    def __init__(self, lanes: list[Lane]) -> None:
        self.settings = msgspec.defstruct("Settings", [("resident_rest_ms", int)])(REST_MS)
        self.lanes = self.timers = self.metrics = self
        self.users = {lane.user: lane for lane in lanes}
        self.at_ms = 0
        self.counted = 0

    def now_ms(self) -> int:
        return self.at_ms

    def count(self, name: str, amount: int) -> None:
        self.counted += amount


def test_a_crowd_is_packed_a_slice_at_a_time() -> None:
    lanes = [Lane(user) for user in range(1, 1_001)]
    for lane in lanes:
        lane.player = fresh_player()
    engine = _Engine(lanes)
    resting = Resting(engine)  # type: ignore[arg-type]
    most = 0
    for _ in range(2 * SLICES + 2):
        before = engine.counted
        resting.look()
        most = max(most, engine.counted - before)
        engine.at_ms += REST_MS // SLICES
    assert engine.counted == 1_000 and 0 < most <= 1_000 // SLICES + 1
    assert all(lane.owns and lane.awake is None for lane in lanes)


def test_a_newcomer_who_only_watches_rests_after_two_slices() -> None:
    lane, talker = Lane(1), Lane(2)
    watching, talker.player = fresh_player(), fresh_player()
    lane.player = watching
    resting = Resting(_Engine([]))  # type: ignore[arg-type]
    resting.arrived(lane)
    resting.arrived(talker)
    resting.look()
    talking = talker.player
    resting.look()
    assert talker.player is talking  # he only lay down again
    assert lane.player is not watching  # packed, and woken as another object
