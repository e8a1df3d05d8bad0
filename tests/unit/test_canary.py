"""A canary: one node alone, then all or none, and back by itself."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.unit.node_game import messages as m
from tests.unit.reload_game import bundle_of
from tests.unit.test_switching import Cluster

from mmo.cli import canary
from mmo.cli.canary import Canary, Tally, Tried, judge
from mmo.config.load import load_config
from mmo.errors import OperatorError
from mmo.testing.world import World
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

BUDGET = load_config(environment={}).config.reload
FOR_S = 0.05
LONG_S = 60.0
"""For what ends by itself before."""

CASES: dict[str, tuple[Tally, Tally, str]] = {
    "the same": (Tally(1_000, 0, 10, 10**7), Tally(1_000, 0, 10, 10**7), ""),
    "no message": (Tally(), Tally(1_000, 0, 0, 10**7), ""),
    "two failures are chance": (Tally(10, 2, 0, 0), Tally(), ""),
    "three are not": (Tally(1_000, 3, 0, 0), Tally(1_000), "3 failures of rules in 1000 messages"),
    "three of many are": (Tally(10_000, 3, 0, 0), Tally(10_000), ""),
    "it failed before too": (Tally(1_000, 30, 0, 0), Tally(10_000, 300, 0, 0), ""),
    "refuses more": (
        *(Tally(1_000, 0, 200, 0), Tally(1_000, 0, 100, 0)),
        "200 refusals of a thousand messages; 100 without the new code",
    ),
    "refuses a little more": (Tally(1_000, 0, 140, 0), Tally(1_000, 0, 100, 0), ""),
    "too few to say": (Tally(100, 0, 100, 10**9), Tally(1_000, 0, 0, 10**6), ""),
    "slower": (
        *(Tally(1_000, 0, 0, 50 * 10**6), Tally(1_000, 0, 0, 20 * 10**6)),
        "50 us a message; 20 us without the new code",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_canary_is_judged_beside_the_others(case: str) -> None:
    ours, others, why = CASES[case]
    assert judge(ours, others, BUDGET) == why


def test_counts_are_taken_from_what_a_node_tells() -> None:
    stats = {"events_total": 9, "rules_raised_total": 2, "batch_ns_total": 70, "other": 1.5}
    refused = {"refused_internal_total": 2, "refused_cooldown_total": 3, "refused_busy_total": 1}
    assert Tally.of(stats | refused) == Tally(9, 2, 4, 70)
    assert Tally(9, 2, 4, 70).since(Tally(4, 1, 1, 20)) == Tally(5, 1, 3, 50)
    assert Tally(1, 2, 3, 4).plus(Tally(10, 20, 30, 40)) == Tally(11, 22, 33, 44)


class Coop(Cluster):
    """Three nodes, one of which tries. `while_tried` is called at each look at it."""

    def __init__(self, world: Callable[..., World]) -> None:
        super().__init__(world)
        self.while_tried: Callable[[], None] = lambda: None
        for number, game in self.games.items():
            row = self.database.leases[number].row
            named = msgspec.structs.replace(row, name=f"channel-{number}")
            self.database.leases[number].row = named
            game.world.node.lease.row = named

    async def _ask(self, node: Any, question: dict[str, Any], wait_s: float) -> dict[str, Any]:
        if question["ask"] == "stats":
            return self.games[node.number].world.node._stats({})
        if question["ask"] == "generation":
            self.while_tried()
            return self.games[node.number].generations.view()
        return await super()._ask(node, question, wait_s)

    def tries(self, word: str, for_s: float = FOR_S, **files: str) -> Tried:
        """A canary of the game that says `word` on the second node."""
        run = Canary(self.coordinator, self.settings).run
        return asyncio.run(run(bundle_of(word, **files), "channel-12", for_s, ""))


@pytest.fixture
def coop(world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> Coop:
    monkeypatch.setattr(canary, "LOOK_S", 0.005)
    return Coop(world)


def test_a_good_canary_is_taken_by_all(coop: Coop) -> None:
    seen: list[list[int]] = []
    coop.while_tried = lambda: seen.append(coop.generations)
    tried = coop.tries("two")
    assert (tried.why, tried.generation) == ("", 2)
    assert all(one == [1, 2, 1] for one in seen) and seen
    assert coop.generations == [2, 2, 2] and not any(coop.held)
    assert tried.switched is not None and len(tried.switched.nodes) == 3
    row = coop.database.code
    assert (row.generation, row.canary, coop.database.generations[2].state) == (2, 0, "reload")
    assert coop.reloads("three").generation == 3


def test_a_canary_that_fails_goes_back_by_itself_and_says_why(coop: Coop) -> None:
    game = coop.games[12]
    ann = game.world.player("ann")
    seqs: list[int] = []

    def posts() -> None:
        seqs.extend(ann.post(m.Fail("a bug")) for _ in range(3))
        game.world.core.pump(game.world.engine.router.on_batch, 100)

    coop.while_tried = posts
    tried = coop.tries("two", LONG_S)
    answers = [ann.answer(seq) for seq in seqs]
    assert answers and all(one == Refused(Code.INTERNAL, "") for one in answers)
    assert "failures of rules" in tried.why and "last: systems.rules.fail" in tried.why
    assert "systems/rules.py:" in tried.why and tried.switched is None
    assert coop.generations == [1, 1, 1] and not any(coop.held)
    assert coop.database.generations[2].state == "back"
    assert game.says(ann) == m.Echoed("one", 1)
    done = coop.reloads("three")
    assert done.generation == 3, "a number names one code for ever"
    assert game.says(ann) == m.Echoed("three", 3)


def test_nothing_else_is_reloaded_while_a_canary_tries(coop: Coop) -> None:
    seen: list[str] = []

    def other() -> None:
        row = coop.database.code
        if row.canary and not seen:
            seen.append("asked")
            work = coop.coordinator.row()
            try:
                work.send(None)
            except OperatorError as fault:
                seen.append(fault.code)

    coop.while_tried = other
    coop.tries("two")
    assert seen == ["asked", "E0420"]


def test_a_canary_that_nobody_decides_about_goes_back(
    coop: Coop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(Exception):
        pass

    def dies() -> None:
        coop.on_ask = lambda number, kind: (_ for _ in ()).throw(AssertionError("gone"))
        raise Gone

    coop.while_tried = dies

    async def unheard(number: int, why: str) -> bool:
        raise Gone

    monkeypatch.setattr(coop.store, "end_canary", unheard)
    with pytest.raises(Gone):
        coop.tries("two")
    assert coop.generations == [1, 2, 1]
    monkeypatch.undo()
    coop.games[12].world.move(20_000)
    assert coop.generations == [1, 1, 1] and coop.database.code.canary == 0
    ann = coop.games[12].world.player("ann")
    assert coop.games[12].says(ann) == m.Echoed("one", 1)


def test_a_canary_whose_node_died_is_forgotten_by_the_next_reload(coop: Coop) -> None:
    coop.database.code.canary, coop.database.code.canary_number = 2, 12
    coop.database.generations[2] = coop.database.generations.get(2) or a_record()
    assert coop.reloads("two").generation == 3
    assert coop.database.code.canary == 0


def a_record() -> Any:
    from mmo.store import CodeRecord

    return CodeRecord(2, "2" * 64, 1, "canary", "ann", "", 0)


def test_a_canary_on_a_node_that_is_not_there_is_refused(coop: Coop) -> None:
    with pytest.raises(OperatorError) as raised:
        asyncio.run(
            Canary(coop.coordinator, coop.settings).run(bundle_of("two"), "nobody", FOR_S, "")
        )
    assert raised.value.code == "E0708"
