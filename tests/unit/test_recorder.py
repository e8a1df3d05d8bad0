"""Recorded messages are asked again of new code, and what differs is named."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.node_game import messages as m
from tests.unit.reload_game import RULES, Game, bundle_of

from mmo.contract import Outcome, Refuse
from mmo.errors import OperatorError
from mmo.node.bundle import Bundle
from mmo.node.modules import reached
from mmo.node.recorder import Recorder, TooLong, first_difference, packed_within
from mmo.testing.world import World
from mmo.wire.messages.session import Refused


@pytest.fixture
def game(world: Callable[..., World]) -> Game:
    """A node that runs generation 1."""
    return Game(world)


def sampled(game: Game, player: Any, *messages: Any) -> None:
    """Each message is sampled."""
    for message in messages:
        game.world.engine.recorder.arm()
        player.asks(message)


def test_new_code_that_says_the_same_differs_in_nothing(game: Game) -> None:
    ann = game.world.player("ann")
    sampled(game, ann, m.Echo("a"), m.Buy(ann.operation(), 5), m.Echo("b"))
    assert {record.opcode for record in game.world.engine.recorder.records} >= {m.ECHO, m.BUY}
    assert game.prepares(bundle_of("one"))["differences"] == []


def test_what_differs_is_named_with_field_and_count(game: Game) -> None:
    ann = game.world.player("ann")
    sampled(game, ann, *(m.Echo(text) for text in ("a", "b", "c")), m.Buy(ann.operation(), 5))
    worth = RULES.replace("CoinsMoved(Currency.GOLD, message.gold,", "CoinsMoved(Currency.GOLD, 7,")
    told = game.prepares(bundle_of("two", rules=worth))["differences"]
    assert told == [
        "systems.rules.echo: 3 of 3 recorded messages, replies[0].text: 'aone' -> 'atwo'",
        "systems.rules.buy: 1 of 1 recorded messages, changes[0].amount: 5 -> 7",
    ]
    assert game.says(ann) == m.Echoed("one", 1), "nothing was changed"


def test_new_code_that_raises_where_the_old_answered_is_refused(game: Game) -> None:
    ann = game.world.player("ann")
    sampled(game, ann, m.Echo("a"))
    broken = RULES.replace("message.text + WORD", "message.txt + WORD")
    line = next(n for n, text in enumerate(broken.splitlines(), 1) if "message.txt" in text)
    with pytest.raises(OperatorError, match=f"systems/rules.py:{line} AttributeError") as raised:
        game.prepares(bundle_of("two", rules=broken))
    assert raised.value.code == "E0430" and game.generations.candidate is None


def test_a_rule_that_needs_something_else_is_not_asked_what_was_recorded_without_it(
    game: Game,
) -> None:
    ann = game.world.player("ann")
    sampled(game, ann, m.Echo("a"))
    wanting = RULES.replace(
        "@handles(m.ECHO)\ndef echo(message: m.Echo, *, env",
        '@handles(m.ECHO, needs=("wallet",))\ndef echo(message: m.Echo, *, wallet: Wallet, env',
    )
    assert wanting != RULES
    assert game.prepares(bundle_of("two", rules=wanting))["differences"] == []


def test_what_was_recorded_of_a_class_that_is_gone_is_forgotten(
    game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled(game, game.world.player("ann"), m.Echo("a"))

    def gone(packed: bytes) -> Any:
        raise ModuleNotFoundError("mmo_generation_5_7")

    monkeypatch.setattr("mmo.node.recorder.pickle.loads", gone)
    assert game.prepares(bundle_of("two"))["differences"] == []
    assert not [one for one in game.world.engine.recorder.records if one.opcode == m.ECHO]


def test_only_rules_that_a_change_can_reach_are_asked(
    game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = game.world.player("ann")
    sampled(game, ann, m.Echo("a"))
    asked: list[str] = []
    monkeypatch.setattr(Recorder, "_ask", lambda self, new, route, *rest: asked.append(route.name))

    def asks(path: str, text: str) -> list[str]:
        asked.clear()
        first = bundle_of("one")
        game.prepares(Bundle(first.files | {path: text}, first.packages))
        return asked

    assert asks("systems/apart.py", "SIDES = 6\n") == [], "nothing imports it"
    assert "systems.rules.echo" in asks("systems/words.py", 'WORD = "two"\n'), "rules imports it"
    assert "systems.rules.echo" in asks("systems/rules.py", RULES + "\n")
    levels = bundle_of("one").files["content/levels.toml"]
    assert "systems.rules.echo" in asks("content/levels.toml", levels + "\n"), "any rule reads it"


def test_a_change_reaches_who_imports_it_through_others() -> None:
    texts = {
        "systems/a.py": "A = 1\n",
        "systems/b.py": "from hot.systems.a import A\n",
        "systems/c.py": "from hot.systems import b\n",
        "systems/d.py": "from mmo.state.bag import Bag\n",
    }
    bundle = Bundle(texts, {"hot.systems": "systems"})
    assert reached(bundle, ["systems/a.py"]) == {"systems.a", "systems.b", "systems.c"}
    assert reached(bundle, ["systems/c.py", "roles.toml"]) == {"systems.c"}
    assert reached(bundle, ["systems/gone.py"]) == {"systems.gone"}


def test_a_message_that_failed_before_may_fail_again(game: Game) -> None:
    ann = game.world.player("ann")
    sampled(game, ann, m.Fail("a bug"))
    assert game.prepares(bundle_of("one"))["differences"] == []


def test_a_sample_changes_no_answer_and_is_taken_once(game: Game) -> None:
    ann = game.world.player("ann")
    game.world.engine.recorder.arm()
    count = len(game.world.engine.recorder.records)
    assert [game.says(ann, str(n)) for n in range(5)] == [m.Echoed(f"{n}one", 1) for n in range(5)]
    assert len(game.world.engine.recorder.records) == count + 1
    assert not isinstance(ann.asks(m.Buy(ann.operation(), 5)), Refused)


def test_samples_are_bounded(game: Game) -> None:
    ann = game.world.player("ann")
    recorder = game.world.engine.recorder
    sampled(game, ann, *(m.Echo("x") for _ in range(20)))
    assert recorder.records.maxlen == 1_000
    before = len(recorder.records)
    sampled(game, ann, m.Echo("x" * 40_000))
    assert len(recorder.records) == before, "too long to be kept"
    sampled(game, ann, m.Echo("x"))
    assert len(recorder.records) == before, "and not tried again"


class Counted:
    """Something in a large state that counts how often one of its kind was packed."""

    packed = 0

    def __reduce__(self) -> Any:
        Counted.packed += 1
        return Counted, ()


def test_what_is_far_too_long_is_packed_to_the_bound_and_no_further() -> None:
    with pytest.raises(TooLong):
        packed_within([Counted() for _ in range(200_000)], 65_536)
    assert 0 < Counted.packed < 50_000


def test_states_are_copied_as_they_were(game: Game) -> None:
    rules = RULES.replace(
        "@handles(m.ECHO)\ndef echo(message: m.Echo, *, env: Env) -> Outcome:\n    return "
        "Outcome(replies=(m.Echoed(message.text + WORD, env.node.generation),))",
        '@handles(m.ECHO, needs=("board",))\n'
        "def echo(message: m.Echo, *, board: Board, env: Env) -> Outcome:\n"
        "    return Outcome(\n"
        "        replies=(m.Echoed(WORD, board.echoes),), effects=(Happened('echo'),)\n    )",
    )
    assert rules != RULES
    game.switches(bundle_of("two", rules=rules))
    ann = game.world.player("ann")
    sampled(game, ann, m.Echo(""), m.Echo(""), m.Echo(""))
    assert game.prepares(bundle_of("two", rules=rules + "\n"), 3)["differences"] == []


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        (Outcome(), Outcome(), ""),
        (Outcome(), Refuse(3), "outcome"),
        (Refuse(3, "a"), Refuse(3, "b"), "detail"),
        (Outcome(replies=(1, 2)), Outcome(replies=(1,)), "replies"),
        (Outcome(replies=(1, 2)), Outcome(replies=(1, 3)), "replies[1]"),
        (Outcome(release=1), Outcome(release=2), "release"),
    ],
)
def test_the_first_difference_is_found(before: Any, after: Any, place: str) -> None:
    assert first_difference(before, after)[0] == place
