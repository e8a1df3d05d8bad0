"""What a node does when the store fails, fences, locks or forgets an answer."""

from collections.abc import Callable
from typing import Any

import msgspec
from tests.unit.node_clients import a_player
from tests.unit.node_game import messages as m
from tests.unit.node_game.roles import CENTER, CHANNEL

from mmo.errors import StoreCorrupt, StoreError, StoreUnavailable
from mmo.state.grant import Bundle, Grant
from mmo.testing.fake_store import FakeStore
from mmo.testing.fake_tables import FakeDatabase
from mmo.testing.world import Client, World
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import CloseReason, Code

GAME = "tests.unit.node_game"
MakeWorld = Callable[..., World]


def a_world(world: MakeWorld, role: Any = CHANNEL, **settings: Any) -> tuple[World, FakeStore]:
    store = FakeStore(FakeDatabase())
    game = world(role, store=store, systems_package=GAME, **settings)
    store.database.clock_ms = game.clock
    return game, store


def gold_of(store: FakeStore, player: Client) -> int:
    return store.database.heads[player.user].coins[0]


def elsewhere(store: FakeStore, player: Client, new_session: bool = False) -> None:
    """Another server claims the player."""
    head = store.database.heads[player.user]
    head.place_number, head.place_epoch = 77, head.place_epoch + 1
    head.session_epoch += new_session


def test_operation_when_repeated_is_answered_from_its_record(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    operation = player.operation()
    assert player.asks(m.Buy(operation, 5)) == m.Bought(5)
    assert player.asks(m.Buy(player.operation(), 5)) == m.Bought(10)
    assert player.asks(m.Buy(operation, 5)) == m.Bought(5)
    assert gold_of(store, player) == 10


def test_operation_when_same_id_asks_something_else_is_refused(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    operation = player.operation()
    player.asks(m.Buy(operation, 5))
    assert player.asks(m.Buy(operation, 6)) == Refused(Code.OPERATION_MISMATCH)
    assert gold_of(store, player) == 5


def test_operation_when_id_makes_no_sense_is_refused(world: MakeWorld) -> None:
    game, _ = a_world(world)
    player = a_player(game)
    for operation in ((0, 1), (1, 0), (-1, 1), (1, -1), (2, 1), (1, 2**63)):
        assert player.asks(m.Buy(operation, 5)) == Refused(Code.OPERATION_MISSING), operation


def test_operation_when_older_than_the_kept_ones_is_looked_up(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    operations = [player.operation() for _ in range(70)]
    for operation in operations:
        player.asks(m.Buy(operation, 1))
    assert player.asks(m.Buy(operations[0], 1)) == m.Bought(1)
    assert player.asks(m.Buy(operations[0], 2)) == Refused(Code.OPERATION_MISMATCH)
    assert gold_of(store, player) == 70


def test_operation_when_its_counter_was_skipped_is_new(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    player.asks(m.Buy((player.epoch, 9), 1))
    assert player.asks(m.Buy((player.epoch, 3), 1)) == m.Bought(2)
    assert player.asks(m.Buy((player.epoch, 3), 1)) == m.Bought(2)
    assert gold_of(store, player) == 2


def test_operation_when_its_epoch_is_purged_is_refused(world: MakeWorld) -> None:
    game, _ = a_world(world)
    player = a_player(game)
    lane = game.engine.lanes.users[player.user]
    assert lane.player is not None
    lane.player.head = msgspec.structs.replace(
        lane.player.head, operation_floor_epoch=9, session_epoch=9
    )
    assert player.asks(m.Buy((1, 1), 5)) == Refused(Code.OPERATION_EXPIRED)


def test_operation_when_it_was_purged_under_a_resident_is_never_done_again(
    world: MakeWorld,
) -> None:
    """What this node remembers of him is from before the purge; the commit finds the floor."""
    game, store = a_world(world)
    player = a_player(game)
    first = (player.epoch, 1)
    assert player.asks(m.Buy(first, 5)) == m.Bought(5)
    lane = game.engine.lanes.users[player.user]
    assert lane.player is not None
    lane.player.operations.records.clear()
    del store.database.events[player.user, *first]
    store.database.heads[player.user].operation_floor_epoch = player.epoch + 1
    assert player.asks(m.Buy(first, 5)) == Refused(Code.OPERATION_EXPIRED)
    assert player.asks(m.Buy((player.epoch, 2), 5)) == Refused(Code.OPERATION_EXPIRED)
    assert gold_of(store, player) == 5


def test_commit_when_store_fails_before_it_is_safe_to_repeat(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    operation = player.operation()
    store.faults.next_before = 1
    assert player.asks(m.Buy(operation, 5)) == Refused(Code.RETRY_LATER)
    assert player.asks(m.Buy(operation, 5)) == m.Bought(5)
    assert gold_of(store, player) == 5


def test_commit_when_its_answer_is_lost_is_not_done_twice(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    operation = player.operation()
    store.faults.next_after = 1
    assert player.asks(m.Buy(operation, 5)) == Refused(Code.RETRY_LATER)
    assert gold_of(store, player) == 5
    assert player.asks(m.Look()) == m.Looked(5)
    assert player.asks(m.Buy(operation, 5)) == m.Bought(5)
    assert gold_of(store, player) == 5


def test_outage_when_it_lasts_refuses_economy_and_keeps_combat(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    store.database.is_down = True
    assert player.asks(m.Buy(player.operation(), 5)) == Refused(Code.RETRY_LATER)
    for blows in range(1, 33):
        assert player.asks(m.Strike(1)) == m.Struck(blows)
    assert player.asks(m.Strike(1)) == Refused(Code.RETRY_LATER)
    assert player.asks(m.Look()) == m.Looked(0)
    assert game.engine.states["board"].blows[player.user] == 32
    assert [x for x in player.heard() if isinstance(x, m.Prize)] == []
    game.move(3_000)
    store.database.is_down = False
    game.move(1_000)
    prizes = [x.gold for x in player.heard() if isinstance(x, m.Prize)]
    assert prizes == list(range(1, 33))
    assert gold_of(store, player) == 32
    assert player.asks(m.Strike(1)) == m.Struck(33)


def test_earned_when_its_answer_was_lost_is_paid_once(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    store.faults.next_after = 1
    player.asks(m.Strike(7))
    game.move(1_000)
    assert gold_of(store, player) == 7
    assert [x.gold for x in player.heard() if isinstance(x, m.Prize)] == [7]
    assert player.asks(m.Look()) == m.Looked(7)
    assert game.engine.lanes.users[player.user].earned_count == 0


def test_earned_when_player_is_fenced_becomes_a_grant(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    elsewhere(store, player)
    player.asks(m.Strike(7))
    game.move(1_000)
    assert gold_of(store, player) == 0
    [(key, bundle)] = store.database.grants.items()
    assert key[0] == player.user and key[1] == m.PAID
    assert msgspec.msgpack.decode(bundle, type=Bundle) == Bundle(gold=7)


def test_earned_when_lost_answer_and_fence_meet_is_not_paid_twice(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    store.faults.next_after = 1
    player.post(m.Strike(7))
    game.settle()
    elsewhere(store, player)
    game.move(2_000)
    assert gold_of(store, player) == 7
    assert store.database.grants == {}


def test_earned_when_its_commit_stands_still_and_another_claims_is_not_paid_twice(
    world: MakeWorld,
) -> None:
    """The commit has its lock and waits for its disk: nobody sees it, and it is decided."""
    game, store = a_world(world)
    player = a_player(game)
    commit, stalled = store.commit, []

    async def stands_still(group: Any) -> Any:
        stalled.append(group)
        store.database.locked.add(player.user)
        store.commit = commit  # type: ignore[method-assign]
        raise StoreUnavailable("no answer in time")

    store.commit = stands_still  # type: ignore[method-assign]
    player.post(m.Strike(7))
    game.settle()
    game.move(1_500)
    assert stalled and not store.database.events, "kept, and not taken for undone"
    store.database.locked.clear()
    game.run(FakeStore(store.database).commit(stalled[0]))  # the disk answers
    elsewhere(store, player)  # whoever waited for the lock gets it next
    game.move(2_000)
    assert gold_of(store, player) == 7
    assert store.database.grants == {}


def test_grants_when_the_store_refuses_one_then_the_others_are_written(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    bundle = msgspec.msgpack.encode(Bundle(gold=1))
    grant = store.grant

    async def refuses(grants: Any) -> Any:
        if any(one.source_id == 2 for one in grants):
            raise StoreError("4025: no such bundle")
        return await grant(grants)

    store.grant = refuses  # type: ignore[method-assign]

    async def owes() -> None:
        for number in (1, 2, 3):
            game.engine.committer.owe(Grant(player.user, 5, number, bundle))

    game.run(owes())
    game.settle()
    assert sorted(key[2] for key in store.database.grants) == [1, 3]
    [told] = [keys for _, event, keys in game.log.lines if event.startswith("grant refused")]
    assert "source_id=2" in told["grant"], "what could not be given is in the log"


def test_version_when_moved_is_loaded_and_decided_again(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    head = store.database.heads[player.user]
    head.version, head.coins = 3, (100, 0, 0)
    assert player.asks(m.Buy(player.operation(), 5)) == m.Bought(105)
    assert gold_of(store, player) == 105


def test_version_when_it_moves_each_time_gives_up_after_three(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    head = store.database.heads[player.user]
    commit = store.commit
    tries: list[int] = []

    async def moving(group: Any) -> Any:
        head.version += 1
        tries.append(1)
        return await commit(group)

    store.commit = moving  # type: ignore[method-assign]
    assert player.asks(m.Buy(player.operation(), 5)) == Refused(Code.RETRY_LATER)
    assert len(tries) == 3 and gold_of(store, player) == 0


def test_row_when_locked_elsewhere_waits_for_its_deadline_only(world: MakeWorld) -> None:
    game, store = a_world(world)
    ann, bob = a_player(game, "Ann"), a_player(game, "Bob")
    store.database.locked.add(ann.user)
    ann.post(m.Buy(ann.operation(), 5))
    bob.post(m.Buy(bob.operation(), 5))
    game.settle()
    assert bob.heard() == [m.Bought(5)] and ann.heard() == []
    game.move(100)
    assert ann.heard() == []
    game.move(2_000)
    assert ann.heard() == [Refused(Code.RETRY_LATER)]
    ann.post(m.Buy(ann.operation(), 5))
    game.settle()
    store.database.locked.clear()
    game.move(50)
    assert ann.heard() == [m.Bought(5)]


def test_member_when_guilty_hurts_nobody_else(world: MakeWorld) -> None:
    game, _ = a_world(world)
    ann, bob = a_player(game, "Ann"), a_player(game, "Bob")
    ann.post(m.Buy(ann.operation(), -1_000_000))
    bob.post(m.Buy(bob.operation(), 5))
    game.settle()
    assert ann.heard() == [Refused(Code.INTERNAL)] and bob.heard() == [m.Bought(5)]
    assert ann.asks(m.Buy(ann.operation(), 5)) == m.Bought(5)


def test_player_when_fenced_by_a_move_is_told_and_closed(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    elsewhere(store, player)
    player.post(m.Buy(player.operation(), 5))
    game.settle()
    assert player.heard()[0] == Refused(Code.WRONG_PLACE)
    assert player.closed_reason == CloseReason.MOVED
    assert player.user not in game.engine.lanes.users
    assert game.engine.states["board"].left == [(player.user, CloseReason.MOVED, True)]
    assert gold_of(store, player) == 0


def test_player_when_fenced_by_a_login_is_told_and_closed(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    elsewhere(store, player, new_session=True)
    player.post(m.Buy(player.operation(), 5))
    game.settle()
    assert player.heard()[0] == Refused(Code.WRONG_PLACE)
    assert player.closed_reason == CloseReason.SESSION_TAKEN
    assert player.user not in game.engine.lanes.users


def test_sweep_when_a_newer_session_exists_closes_the_older(world: MakeWorld) -> None:
    for role in (CHANNEL, CENTER):
        game, store = a_world(world, role)
        player = a_player(game)
        elsewhere(store, player, new_session=True)
        game.move(1_000)
        assert player.closed_reason == CloseReason.SESSION_TAKEN
        assert player.user not in game.engine.lanes.users


def test_sweep_when_a_player_moved_away_lets_go_of_him(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    elsewhere(store, player)
    game.move(1_000)
    assert player.closed_reason == CloseReason.MOVED


def test_sweep_when_a_player_moved_away_keeps_his_session_at_a_center(world: MakeWorld) -> None:
    game, store = a_world(world, CENTER)
    player = a_player(game)
    elsewhere(store, player)
    game.move(1_000)
    assert player.closed_reason == 0
    assert player.asks(m.Look()) == Refused(Code.WRONG_PLACE)
    assert player.asks(m.Echo("here")) == m.Echoed("here", 1)
    assert player.asks(m.Reserve(0)) == m.Looked(0)  # back to the lobby
    assert player.asks(m.Look()) == m.Looked(0)


def test_row_when_its_guard_fails_answers_its_refusal(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    assert player.asks(m.MoveTo(12)) == m.MovedTo(12)
    assert store.database.heads[player.user].reservation_number == 12
    store.database.heads[player.user].session_epoch += 1
    assert player.asks(m.MoveTo(12)) == Refused(Code.SESSION_OVER)


def test_row_when_the_store_is_away_answers_retry_later(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    store.faults.next_before = 1
    assert player.asks(m.MoveTo(12)) == Refused(Code.RETRY_LATER)
    store.database.is_down = True
    assert player.asks(m.MoveTo(12)) == Refused(Code.RETRY_LATER)
    store.database.is_down = False
    game.move(500)
    assert player.asks(m.MoveTo(12)) == m.MovedTo(12)


def test_store_when_it_answers_but_fails_every_commit_is_probed_with_pauses(
    world: MakeWorld,
) -> None:
    game, store = a_world(world)
    player = a_player(game)
    tries: list[int] = []

    async def failing(group: Any) -> Any:
        tries.append(game.clock.now_ms)
        raise StoreUnavailable("read-only")

    commit, store.commit = store.commit, failing  # type: ignore[method-assign]
    player.asks(m.Strike(7))
    game.move(2_000)
    assert 2 <= len(tries) <= 12
    store.commit = commit  # type: ignore[method-assign]
    game.move(1_000)
    assert gold_of(store, player) == 7


def test_drain_when_it_is_not_known_whose_a_reward_is_then_waits(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    find = store.find_operation

    async def nobody_knows(*asked: Any, **named: Any) -> Any:
        raise StoreError("the row is locked")

    store.find_operation = nobody_knows  # type: ignore[method-assign]
    store.faults.next_after = 1
    player.post(m.Strike(7))
    game.settle()
    elsewhere(store, player)
    game.engine.lanes.users[player.user].stale = True
    game.move(2_000)
    assert not game.engine.committer._kept
    assert not game.engine.committer.is_idle
    store.find_operation = find  # type: ignore[method-assign]
    game.move(5_000)
    assert game.engine.committer.is_idle
    assert gold_of(store, player) == 7 and store.database.grants == {}


def test_player_that_cannot_be_read_is_his_trouble_and_no_outage(world: MakeWorld) -> None:
    game, store = a_world(world)
    player, other = a_player(game), a_player(game, "Bob")
    load = store.load

    async def unreadable(user: int) -> Any:
        if user == player.user:
            raise StoreCorrupt("two items in one slot")
        return await load(user)

    store.load = unreadable  # type: ignore[method-assign]
    game.engine.lanes.users[player.user].stale = True
    assert player.asks(m.Look()) == Refused(Code.INTERNAL)
    assert not game.engine.committer.is_out
    assert other.asks(m.Buy(other.operation(), 5)) == m.Bought(5)
