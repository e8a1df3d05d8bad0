"""Seeded faults around every store call, connections that break: nothing is lost or doubled."""

import random
from collections.abc import Callable

import pytest
from tests.unit.node_game import messages as m
from tests.unit.node_game.roles import CHANNEL

from mmo.testing.fake_store import FakeStore, Faults
from mmo.testing.fake_tables import FakeDatabase
from mmo.testing.world import World
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

MakeWorld = Callable[..., World]
ACTIONS = 150
PLAYERS = 4
RETRIES_MAX = 200


class Bot:
    """Buys with retries under one operation id, strikes, breaks off and comes back."""

    def __init__(self, game: World, name: str) -> None:
        self.game = game
        self.name = name
        self.client = game.player(name)
        self.bought = 0  # gold of acknowledged purchases
        self.struck = 0  # gold that blows earned, told or still to be told
        self.pending: m.Buy | None = None

    def comes_back(self) -> None:
        """A new connection under the same session, until one is let in."""
        for _ in range(RETRIES_MAX):
            self.client = self.game.resumes(self.client, self.name)
            if any(isinstance(heard, m.Looked) for heard in self.client.heard()):
                return
            self.client.leaves()
            self.game.move(100)
        raise AssertionError(f"{self.name} was never let in again")

    def buys(self) -> None:
        """One attempt at the purchase that is open, or at a new one."""
        if self.pending is None:
            self.pending = m.Buy(self.client.operation(), 1 + self.client.counter % 7)
        answer = self.client.asks(self.pending)
        if isinstance(answer, m.Bought):
            self.bought += self.pending.gold
            self.pending = None
        else:
            assert answer is None or answer.code in (Code.RETRY_LATER, Code.NOT_ENTERED), answer

    def strikes(self) -> None:
        answer = self.client.asks(m.Strike(1))
        if isinstance(answer, m.Struck):
            self.struck += 1
        else:
            assert answer is None or isinstance(answer, Refused), answer


def act(bot: Bot, chance: random.Random) -> None:
    what = chance.random()
    if what < 0.45:
        bot.buys()
    elif what < 0.8:
        bot.strikes()
    elif what < 0.9:
        bot.client.leaves()
        if chance.random() < 0.3:
            bot.game.move(11_000)  # longer than the grace time: he is evicted
        bot.comes_back()
    else:
        bot.game.move(chance.randrange(500))


@pytest.mark.parametrize("seed", range(12))
def test_books_when_faults_strike_everywhere_balance_in_the_end(
    world: MakeWorld, seed: int
) -> None:
    store = FakeStore(FakeDatabase(), Faults(seed))
    game = world(CHANNEL, store=store, systems_package="tests.unit.node_game")
    store.database.clock_ms = game.clock
    bots = [Bot(game, f"bot {number}") for number in range(PLAYERS)]
    store.faults.before = store.faults.after = 0.08
    chance = random.Random(seed)
    for _ in range(ACTIONS):
        act(chance.choice(bots), chance)
    store.faults.before = store.faults.after = 0.0
    game.move(5_000)
    for bot in bots:
        bot.client.leaves()
        bot.comes_back()
        for _ in range(RETRIES_MAX):
            if bot.pending is None:
                break
            bot.buys()
            game.move(100)
        assert bot.pending is None
    game.move(5_000)
    for bot in bots:
        gold = store.database.heads[bot.client.user].coins[0]
        assert gold == bot.bought + bot.struck, bot.name
        assert bot.client.asks(m.Look()) == m.Looked(gold)
        lane = game.engine.lanes.users[bot.client.user]
        assert (lane.earned_count, lane.earned, lane.open) == (0, None, True)
    assert game.engine.metrics.counts["store_outages_total"] > 3
