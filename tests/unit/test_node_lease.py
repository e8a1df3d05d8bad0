"""What a node may do whose lease grows old: the cluster may have gone on without it."""

from collections.abc import Callable
from typing import Any

from tests.unit.node_clients import a_player
from tests.unit.node_game import messages as m
from tests.unit.test_node_faults import a_world, gold_of

from mmo.errors import StoreUnavailable
from mmo.testing.world import World
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

MakeWorld = Callable[..., World]


def test_server_that_could_not_renew_commits_nothing_until_it_has(world: MakeWorld) -> None:
    """When its lease ended, the cluster may have gone on without it, by other code."""
    game, store = a_world(world)
    player = a_player(game)

    async def nobody_hears(row: Any, lease_ms: int) -> int:
        raise StoreUnavailable("the line is cut")

    lease, store.lease = store.lease, nobody_hears  # type: ignore[method-assign]
    game.move(game.settings.lease_ms // 2 + 500)
    store.groups.clear()
    assert player.asks(m.Strike(7)) == m.Struck(1)
    assert player.asks(m.Buy(player.operation(), 5)) == Refused(Code.RETRY_LATER)
    game.move(1_000)
    assert store.groups == []
    store.lease = lease  # type: ignore[method-assign]
    game.move(1_500)
    assert gold_of(store, player) == 7
    player.heard()
    assert player.asks(m.Buy(player.operation(), 5)) == m.Bought(12)


def test_outcome_when_the_lease_grows_old_while_it_waits_is_not_committed(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = a_player(game)
    store.database.locked.add(player.user)
    player.post(m.Buy(player.operation(), 5))
    game.settle()
    game.engine.commits_until_ms = game.clock.now_ms - 1
    store.database.locked.clear()
    game.move(50)
    assert player.heard() == [Refused(Code.RETRY_LATER)]
    assert gold_of(store, player) == 0
