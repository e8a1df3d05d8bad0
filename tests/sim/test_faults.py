"""The cluster under store faults: a clear answer and no half change, and books that agree.

The first part takes the store away at each step of a player's life; the second lets seeded faults
and seeded players loose and looks at the invariants after each step.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from tests.sim.realm import PASSWORD, Realm
from tests.systems.pass_game import mission, season

from mmo.errors import StoreUnavailable
from mmo.state.pass_progress import MissionCount
from mmo.store import PlayerCommit, Verdict
from mmo.testing.fake_store import FakeStore, Faults
from mmo.testing.world import Client
from mmo.wire.messages.account import Login, LoginOk, Register
from mmo.wire.messages.hunt import ChannelEnter, Hit, HitOk, KillReward
from mmo.wire.messages.presence import Lobby, Logout, LogoutOk, Move, MoveOk, Welcome
from mmo.wire.messages.season_pass import PassProgressed
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

NEEDS = (0, 1, 2, 4, 6, 10, 16, 23, 31, 40, 51, 60, 71, 80, 91, 100)


def assert_retry_later(answer: object) -> None:
    """A clear no that invites to come again."""
    assert isinstance(answer, Refused), answer
    assert answer.code == Code.RETRY_LATER, Code(answer.code).name


def outage(realm: Realm, step: Callable[[], Any]) -> Any:
    """Take one step while the database is down; its answer, and the database comes back."""
    before = _everything(realm)
    realm.database.is_down = True
    answer = step()
    realm.database.is_down = False
    assert _everything(realm) == before
    realm.move(1_500)
    return answer


def _everything(realm: Realm) -> tuple[object, ...]:
    database = realm.database
    return (
        sorted(database.accounts),
        {user: (head.version, head.session_epoch, head.place_epoch) for user, head in
         database.heads.items()},
        len(database.events),
        list(database.coins),
    )  # fmt: skip


def test_step_when_the_database_is_away_then_is_refused_cleanly_and_works_afterwards(
    realm: Realm,
) -> None:
    login = realm.worlds[1]
    assert_retry_later(
        outage(realm, lambda: realm.asks(login.client(), Register("quokka", PASSWORD)))
    )
    realm.register("quokka")
    assert_retry_later(outage(realm, lambda: realm.asks(login.client(), Login("quokka", PASSWORD))))
    ticket = realm.log_in("quokka")
    assert_retry_later(outage(realm, lambda: realm.enter(ticket.number, ticket.token)[1]))
    center, welcome = realm.enter(ticket.number, ticket.token)
    assert isinstance(welcome, Welcome)
    assert_retry_later(outage(realm, lambda: realm.asks(center, Move(11))))
    move = realm.asks(center, Move(11))
    assert isinstance(move, MoveOk)
    assert_retry_later(outage(realm, lambda: realm.enter(11, move.token)[1]))
    channel, there = realm.enter(11, move.token)
    assert isinstance(there, Welcome)
    assert_retry_later(outage(realm, lambda: realm.asks(center, Lobby())))
    assert_retry_later(outage(realm, lambda: realm.asks(center, Logout())))
    assert realm.hunt(channel, 1, 1)[0].exp_gained == 1
    assert isinstance(realm.asks(center, Logout()), LogoutOk)


def test_kill_when_the_database_is_away_then_combat_goes_on_and_the_reward_follows(
    realm: Realm,
) -> None:
    realm.register("quokka")
    center, _ = realm.arrive("quokka")
    channel, _ = realm.travel(center, 11)
    realm.asks(channel, ChannelEnter(1))
    channel.heard()

    def kill() -> list[Any]:
        blows: list[Any] = []
        while not (blows and blows[-1].killed):
            blows.append(realm.asks(channel, Hit(1)))
            assert isinstance(blows[-1], HitOk), blows[-1]
            realm.move(250)
        return channel.heard()

    told = outage(realm, kill)
    assert not any(isinstance(message, KillReward) for message in told)
    realm.move(3_000)
    rewards = [message for message in channel.heard() if isinstance(message, KillReward)]
    assert [reward.exp_gained for reward in rewards] == [1]
    assert realm.asks(center, Lobby()).level == 2


@pytest.mark.parametrize("happened", [False, True])
def test_login_when_the_database_goes_away_after_the_claim_then_it_counts_once(
    realm: Realm, monkeypatch: pytest.MonkeyPatch, happened: bool
) -> None:
    realm.register("quokka")
    ticket = realm.log_in("quokka")
    center = realm.worlds[ticket.number]
    now_ms = center.clock.now_ms
    running = season(missions=(mission(1, "login"),), starts_ms=0, ends_ms=2 * now_ms)
    passes = msgspec.structs.replace(realm.content.passes, seasons={1: running})
    center.engine.env.content = msgspec.structs.replace(realm.content, passes=passes)
    store: FakeStore = center.store
    commit, asked = store.commit, list[Sequence[PlayerCommit]]()

    async def fails_once(group: Sequence[PlayerCommit]) -> list[Verdict]:
        asked.append(group)
        if len(asked) > 1:
            return await commit(group)
        if happened:
            await commit(group)
        raise StoreUnavailable("the first answer is lost")

    monkeypatch.setattr(store, "commit", fails_once)
    client, welcome = realm.enter(ticket.number, ticket.token)
    assert isinstance(welcome, Welcome) and asked
    realm.move(2_000)
    assert realm.database.passes[welcome.user][1].missions == (MissionCount(1, 0, 1),)
    told = [message for message in client.heard() if isinstance(message, PassProgressed)]
    assert [(one.mission, one.exp) for one in told] == ([] if happened else [(1, 1)])


def test_lobby_when_he_levelled_in_a_channel_then_the_center_knows_the_new_level(
    realm: Realm,
) -> None:
    realm.register("quokka")
    center, before = realm.arrive("quokka")
    channel, _ = realm.travel(center, 11)
    last = realm.hunt(channel, 1, 3)[-1]
    after = realm.asks(center, Lobby())
    assert (before.level, after.level, after.exp) == (1, last.level, last.exp)
    assert last.level > 1


class Bot:
    """A player who does whatever the seed says and keeps a record of what he was told."""

    def __init__(self, realm: Realm, name: str, chance: random.Random) -> None:
        self.realm = realm
        self.name = name
        self.chance = chance
        self.center: Client | None = None
        self.channel: Client | None = None
        self.exp_told = 0
        self.kills = 0

    def step(self) -> None:
        """One thing."""
        self.listen()
        for client in (self.center, self.channel):
            if client is not None and client.closed_reason:
                self.forget(client)
        if self.center is None:
            self.log_in()
        elif self.channel is None or self.chance.random() < 0.1:
            self.chance.choice((self.travel, self.travel, self.lobby, self.vanish))()
        elif self.chance.random() < 0.1:
            self.vanish()
        else:
            self.hunt()

    def listen(self) -> None:
        """Count what rewards were told."""
        for client in (self.center, self.channel):
            for message in client.heard() if client is not None else ():
                if isinstance(message, KillReward):
                    self.exp_told += message.exp_gained

    def forget(self, client: Client) -> None:
        """A connection is gone."""
        self.center = None if client is self.center else self.center
        self.channel = None if client is self.channel else self.channel

    def log_in(self) -> None:
        """Log in and show the token."""
        login = self.realm.asks(self.realm.worlds[1].client(), Login(self.name, PASSWORD))
        if isinstance(login, LoginOk):
            client, answer = self.realm.enter(login.number, login.token)
            if isinstance(answer, Welcome):
                self.center, self.channel = client, None

    def travel(self) -> None:
        """Move to one of the channel servers and into a channel."""
        assert self.center is not None
        move = self.realm.asks(self.center, Move(self.chance.choice((11, 12))))
        if isinstance(move, MoveOk):
            client, answer = self.realm.enter(move.number, move.token)
            if isinstance(answer, Welcome):
                self.listen()
                self.channel = client
                self.realm.asks(client, ChannelEnter(self.chance.randint(1, 3)))

    def lobby(self) -> None:
        """Back to the center."""
        assert self.center is not None
        self.realm.asks(self.center, Lobby())

    def vanish(self) -> None:
        """One of the connections breaks."""
        client = self.chance.choice([one for one in (self.center, self.channel) if one])
        self.listen()
        client.leaves()
        self.forget(client)

    def hunt(self) -> None:
        """Blows at one of the small ones."""
        assert self.channel is not None
        monster = self.chance.randint(1, 16)
        for _ in range(3):
            answer = self.realm.asks(self.channel, Hit(monster))
            if not isinstance(answer, HitOk):
                return
            if answer.killed:
                self.kills += 1
                return
            self.realm.move(250)


def exp_of(realm: Realm, user: int) -> int:
    """All experience that the store holds of a player."""
    head = realm.database.heads[user]
    return sum(NEEDS[1 : head.level]) + head.exp


def assert_sound(realm: Realm) -> None:
    """What must hold after every step, whatever went wrong."""
    database = realm.database
    for number in (11, 12):
        world = realm.worlds[number].engine.states["world"]
        assert set(world.where) <= set(world.seats)
        inside = [user for channel in world.channels for user in channel.users]
        assert sorted(inside) == sorted(world.where)
        assert world.seats_taken(realm.worlds[number].clock.now_ms) <= 30
        assert all(monster.hp >= 0 for channel in world.channels for monster in channel.monsters)
    for user, head in database.heads.items():
        gold = sum(line[-1] for line in database.coins if line[0] == user)
        assert gold == head.coins[0]
        versions = database.versions.get(user, [])
        assert versions == list(range(1, len(versions) + 1))


@pytest.mark.parametrize("seed", range(4))
def test_players_when_the_store_fails_at_random_then_nothing_told_is_lost_and_nobody_haunts(
    seed: int,
) -> None:
    # Long leases: which server lives is not the question here, and none is restarted.
    realm = Realm(lease_fence_ms=60_000, lease_ms=90_000)
    try:
        chance = random.Random(seed)
        bots = [Bot(realm, f"bot{number}", chance) for number in range(6)]
        for bot in bots:
            realm.register(bot.name)
        for number, world in realm.worlds.items():
            if number in (1, 2, 3, 11, 12):
                world.store.faults = Faults(seed * 100 + number, before=0.08, after=0.08)
        for _ in range(150):
            chance.choice(bots).step()
            realm.move(chance.choice((0, 60, 250)))
            assert_sound(realm)
        for world in realm.worlds.values():
            world.store.faults = Faults()
        realm.move(13_000)
        for bot in bots:
            bot.listen()
        assert sum(bot.kills for bot in bots) > 5, "the bots did nothing that could be lost"
        for bot in bots:
            user = realm.database.accounts[bot.name].user
            assert exp_of(realm, user) >= bot.exp_told
            owners = [
                number
                for number, world in realm.worlds.items()
                if (lane := world.engine.lanes.users.get(user)) and lane.player is not None
            ]
            assert owners in ([], [realm.database.heads[user].place_number])
        seats = {user for n in (11, 12) for user in realm.worlds[n].engine.states["world"].seats}
        playing = {
            bot.channel.user for bot in bots if bot.channel and not bot.channel.closed_reason
        }
        assert seats == playing
        for bot in bots:
            user = realm.database.accounts[bot.name].user
            _, welcome = realm.arrive(bot.name)
            realm.move(2_000)
            assert exp_of(realm, user) >= bot.exp_told and welcome.user == user
        assert not realm.database.grants.keys() - realm.database.claimed.keys()
        assert_sound(realm)
    finally:
        realm.close()
