"""The real game in the world for tests: a center and a channel over one database."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mmo.content.tables import load_content
from mmo.roles.center import ROLE as CENTER
from mmo.roles.channel import ROLE as CHANNEL
from mmo.state.place import PlacePrepared
from mmo.testing.fake_store import FakeStore
from mmo.testing.fake_tables import FakeDatabase
from mmo.testing.world import Client, World
from mmo.wire.messages import hunt, presence
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import CloseReason, Code

MakeWorld = Callable[..., World]
HITS_MAX = 2_000


class Cluster:
    """Two servers that share a database; their links are what the test carries over."""

    def __init__(self, world: MakeWorld) -> None:
        database = FakeDatabase()
        content = load_content()
        self.center = world(
            CENTER, store=FakeStore(database), content=content, number=2, name="center-1"
        )
        self.channel = world(
            CHANNEL, store=FakeStore(database), content=content, number=11, name="channel-1"
        )
        database.clock_ms = self.center.clock
        self.database = database

    def move_over(self, player: Client, jti: str = "mv") -> Client:
        """What MOVE, SEAT_HOLD and the move token do."""
        until_ms = self.channel.clock.now_ms + 10_000
        row = PlacePrepared(player.user, player.epoch, 11, jti, until_ms)
        assert self.center.run(self.center.store.write(row))
        client = self.channel.client()
        client.user, client.epoch = player.user, player.epoch
        self.channel.show(client, player.user, "move+jwt", jti=jti, name="Ann")
        self.channel.settle()
        return client


@pytest.fixture
def cluster(world: MakeWorld) -> Iterator[Cluster]:
    yield Cluster(world)


def of(kind: type, heard: list[Any]) -> list[Any]:
    return [message for message in heard if isinstance(message, kind)]


def hunt_until(game: World, player: Client, level: int) -> list[hunt.KillReward]:
    """Hit the first monsters until the level is reached; what was told."""
    rewards: list[hunt.KillReward] = []
    for number in range(HITS_MAX):
        player.post(hunt.Hit(1 + number % 3))
        game.move(1_000)
        rewards += of(hunt.KillReward, player.heard())
        if rewards and rewards[-1].level >= level:
            return rewards
    raise AssertionError(f"level {level} was not reached in {HITS_MAX} hits: {rewards[-1:]}")


def test_player_when_walking_through_the_cluster_finds_everything_as_told(cluster: Cluster) -> None:
    at_center = cluster.center.player("Ann")
    [welcome] = of(presence.Welcome, at_center.heard())
    assert (welcome.level, welcome.exp, welcome.gold) == (1, 0, 0) and welcome.session_token
    player = cluster.move_over(at_center)
    [arrived] = of(presence.Welcome, player.heard())
    assert arrived.number == 11
    assert isinstance(player.asks(hunt.ChannelListAsk()), hunt.ChannelListOk)
    entered = player.asks(hunt.ChannelEnter(1))
    assert isinstance(entered, hunt.ChannelEnterOk) and entered.users == 1
    player.heard()
    told = hunt_until(cluster.channel, player, level=3)[-1]
    player.leaves()
    cluster.channel.move(11_000)
    assert cluster.channel.engine.lanes.users == {}
    again = cluster.center.player("Ann", user=at_center.user)
    [back] = of(presence.Welcome, again.heard())
    assert (back.level, back.exp, back.gold) == (told.level, told.exp, told.gold)


def test_player_when_owned_by_a_channel_is_told_wrong_place_there_after_the_lobby(
    cluster: Cluster,
) -> None:
    at_center = cluster.center.player("Ann")
    player = cluster.move_over(at_center)
    head = cluster.database.heads[player.user]
    assert head.place_number == 11
    cluster.center.move(1_000)  # the sweep of the center lets go of him
    at_center.heard()
    head.place_number, head.place_epoch = 2, head.place_epoch + 1
    cluster.channel.move(1_000)
    assert player.closed_reason == CloseReason.MOVED
    assert cluster.channel.engine.states["world"].seats == {}


def test_lobby_when_the_notice_of_an_arrival_was_lost_takes_the_player_back(
    cluster: Cluster,
) -> None:
    at_center = cluster.center.player("Ann")
    cluster.move_over(at_center)  # no link: the center is not told
    sessions = cluster.center.engine.states["sessions"]
    assert sessions.get(at_center.user).place == 2
    cluster.center.move(1_000)
    assert sessions.get(at_center.user).place == 11, "the sweep tells what no notice told"
    at_center.heard()
    assert isinstance(at_center.asks(presence.Lobby()), presence.Welcome)
    cluster.center.move(1_000)
    assert sessions.get(at_center.user).place == 2


def test_hit_when_not_in_a_channel_is_refused(cluster: Cluster) -> None:
    player = cluster.move_over(cluster.center.player("Ann"))
    assert player.asks(hunt.Hit(1)) == Refused(Code.NOT_IN_CHANNEL)
