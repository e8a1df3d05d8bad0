"""A small game as a bundle: rules and a role as texts, with a word that each version says.

Owns the texts and the way to a started node that runs them. Judges nothing.
"""

from collections.abc import Callable
from typing import Any

from tests.unit.node_game import messages as m

from mmo.content.tables import data_directory
from mmo.node.bundle import Bundle
from mmo.node.generation import build
from mmo.testing.fake_store import FakeDatabase, FakeStore
from mmo.testing.world import World

ROLE = """
from tests.unit.node_game.rules import Board

from mmo.contract import Role

ROLE = Role(
    name="channel",
    systems=("rules",),
    states={"board": lambda content, node: Board()},
    dials=("center",),
    owns_players=True,
    token_types=("move+jwt", "session+jwt"),
)
"""

RULES = """
from hot.systems.words import WORD
from tests.unit.node_game import messages as m
from tests.unit.node_game.rules import Board, Happened

from mmo.contract import Env, Outcome, Refuse, handles, ticks
from mmo.state.wallet import Account, CoinsMoved, Currency, Wallet
from mmo.wire.messages.session import Disconnected, Entered
from mmo.wire.opcode import Code, Op


@handles(m.ECHO)
def echo(message: m.Echo, *, env: Env) -> Outcome:
    return Outcome(replies=(m.Echoed(message.text + WORD, env.node.generation),))


@handles(m.BUY, needs=("wallet",), mutates=True)
def buy(message: m.Buy, *, wallet: Wallet, env: Env) -> Outcome | Refuse:
    return Outcome(
        replies=(m.Bought(wallet.gold + message.gold),),
        changes=(CoinsMoved(Currency.GOLD, message.gold, Account.MINT_GRANT),),
    )


@handles(m.FAIL)
def fail(message: m.Fail, *, env: Env) -> Outcome | Refuse:
    if message.how == "spin":
        while True:
            pass
    raise RuntimeError(message.how)


@handles(Op.ENTER, by="node", needs=("wallet",))
def enter(message: Entered, *, wallet: Wallet, env: Env) -> Outcome:
    return Outcome(replies=(m.Looked(wallet.gold),))


@handles(Op.CLOSED, by="node", needs=("board",))
def gone(message: Disconnected, *, board: Board, env: Env) -> Outcome:
    return Outcome()


@ticks(every_ms=100, of="board")
def tick(board: Board, *, env: Env) -> Outcome:
    return Outcome(effects=(Happened("left", 0, WORD),))
"""

TABLES = {
    f"content/{path.name}": path.read_text(encoding="utf-8")
    for path in data_directory().glob("*.toml")
}


def bundle_of(word: str, **files: str) -> Bundle:
    """The game that says `word`. `files`: texts that replace others, `rules="..."`."""
    texts = {
        "roles/channel.py": files.get("role", ROLE),
        "systems/rules.py": files.get("rules", RULES),
        "systems/words.py": f'WORD = "{word}"\n',
    }
    return Bundle({**texts, **TABLES}, {"hot.systems": "systems"})


class Game:
    """A node that runs generation 1 of the game, and the ways to change it."""

    def __init__(
        self,
        world: Callable[..., World],
        database: FakeDatabase | None = None,
        bundle: Bundle | None = None,
        **settings: Any,
    ) -> None:
        self.first = bundle or bundle_of("one")
        self.database = database or FakeDatabase()
        self.store = FakeStore(self.database)
        self.database.code.bundle = self.first.digest
        self.database.bundles[self.first.digest] = self.first.packed
        generation = build(1, self.first, "channel")
        self.world = world(None, store=self.store, generation=generation, **settings)
        if database is None:
            self.database.clock_ms = self.world.clock
        self.generations = self.world.engine.generations

    def prepares(self, bundle: Bundle, number: int = 2) -> dict[str, Any]:
        """The node builds a candidate."""
        self.database.bundles[bundle.digest] = bundle.packed
        question = {"number": number, "bundle": bundle.digest}
        answer: dict[str, Any] = self.world.run(self.generations.prepare(question))
        return answer

    def holds(self, bundle: Bundle, number: int = 2, within_ms: int = 1_000) -> None:
        """The node pauses for a switch that happens within a time, or never."""
        deadline_ms = self.world.clock() + within_ms
        question = {"number": number, "bundle": bundle.digest, "deadline_ms": deadline_ms}
        self.generations.hold(question)

    def row_moves(self, bundle: Bundle, number: int = 2) -> None:
        """The switch itself."""
        self.database.code.generation = number
        self.database.code.bundle = bundle.digest

    def looks(self) -> None:
        """The node is told to read the row."""
        self.world.run(self.generations.look({}))
        self.world.settle()

    def switches(self, bundle: Bundle, number: int = 2) -> None:
        """All of it."""
        self.prepares(bundle, number)
        self.holds(bundle, number)
        self.row_moves(bundle, number)
        self.looks()

    def says(self, player: Any, text: str = "") -> Any:
        """What the game's rule answers."""
        return player.asks(m.Echo(text))
