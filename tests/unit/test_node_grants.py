"""What is left for a player becomes his once, whatever happens to its claim."""

from collections.abc import Callable
from typing import Any

import msgspec
from tests.unit.node_clients import a_player
from tests.unit.node_game import messages as m
from tests.unit.test_node_faults import a_world, gold_of

from mmo.errors import StoreUnavailable
from mmo.state.grant import Bundle, Grant
from mmo.store import Verdict
from mmo.testing.world import World

MakeWorld = Callable[..., World]


def test_grant_when_unclaimed_is_claimed_within_a_sweep(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    grants = [Grant(player.user, 5, n, msgspec.msgpack.encode(Bundle(gold=n))) for n in (1, 2)]
    game.run(store.grant(grants))
    game.move(1_000)
    assert gold_of(store, player) == 3
    assert player.heard() == [m.Prize(1), m.Prize(3)]
    game.move(5_000)
    assert gold_of(store, player) == 3 and player.heard() == []


def test_grant_when_its_commit_was_lost_is_claimed_once(world: MakeWorld) -> None:
    for lost in ("next_before", "next_after"):
        game, store = a_world(world)
        player = a_player(game)
        grant = Grant(player.user, 5, 1, msgspec.msgpack.encode(Bundle(gold=4)))
        game.run(store.grant([grant]))
        commit = store.commit

        async def once(
            group: Any, lost: str = lost, store: Any = store, commit: Any = commit
        ) -> Any:
            setattr(store.faults, lost, 1)
            store.commit = commit
            return await commit(group)

        store.commit = once  # type: ignore[method-assign]
        game.move(4_000)
        assert gold_of(store, player) == 4, lost
        assert player.asks(m.Look()) == m.Looked(4)


def no_rule_is_blamed(game: World) -> bool:
    """Whether no commit was taken for a broken one."""
    return not [event for _, event, _ in game.log.lines if "constraint" in event]


def test_grant_when_its_lost_commit_lands_under_the_next_one_is_claimed_once(
    world: MakeWorld,
) -> None:
    """The first claim holds its locks until the second one waits for them (seed 211020)."""
    game, store = a_world(world)
    player = a_player(game)
    game.run(store.grant([Grant(player.user, 5, 1, msgspec.msgpack.encode(Bundle(gold=4)))]))
    commit, lost = store.commit, []

    async def unanswered(group: Any) -> Any:
        lost.append(group)
        store.commit = commit  # type: ignore[method-assign]
        store.database.locked.add(player.user)
        raise StoreUnavailable("the line is cut")

    store.commit = unanswered  # type: ignore[method-assign]
    game.move(1_000)
    assert lost
    while not store.groups:  # the second one
        game.move(50)
    store.database.locked.clear()
    assert game.run(commit(lost[0])) == [Verdict.COMMITTED]
    game.move(3_000)
    assert gold_of(store, player) == 4 and no_rule_is_blamed(game)
    assert player.asks(m.Look()) == m.Looked(4)


def test_grant_when_offered_by_a_look_older_than_the_player_is_claimed_once(
    world: MakeWorld,
) -> None:
    game, store = a_world(world)
    player = a_player(game)
    grant = Grant(player.user, 5, 1, msgspec.msgpack.encode(Bundle(gold=4)))
    game.run(store.grant([grant]))
    game.move(1_000)
    assert gold_of(store, player) == 4
    lane = game.engine.lanes.users[player.user]
    lane.stale = True
    assert player.asks(m.Look()) == m.Looked(4)
    assert lane.player is not None and not lane.player.grants_claimed, "loaded again"
    game.engine.residents._offer(grant)
    game.move(2_000)
    assert gold_of(store, player) == 4 and no_rule_is_blamed(game)
    assert player.asks(m.Buy(player.operation(), 5)) == m.Bought(9)
