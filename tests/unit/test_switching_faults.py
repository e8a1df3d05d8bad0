"""Reloads while questions, answers and the store are lost at random: never two generations at once.

Every seed is another history. After each question, whatever became of it, those who decide decide
by one generation; at the end all that live decide by the one in the row.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.node_game import messages as m
from tests.unit.reload_game import bundle_of
from tests.unit.test_switching import Cluster

from mmo.cli import switching
from mmo.cluster.control import NotRunning
from mmo.errors import OperatorError, StoreError
from mmo.store import LeaseRow
from mmo.testing.fake_store import Faults
from mmo.testing.world import World

SEEDS = range(24)
RELOADS = 5
STEP_MS = 7  # what a call of the store takes by the database's clock


class Storm(Cluster):
    """Three nodes whose questions are lost before or after they were heard."""

    def __init__(self, world: Callable[..., World], seed: int) -> None:
        super().__init__(world)
        self.seed = seed
        self.chance = random.Random(seed)
        self.now_ms = self.database.clock_ms()
        self.database.clock_ms = self._tick
        self.store.faults = Faults(seed, before=0.06, after=0.06)
        for number, game in self.games.items():
            game.store.faults = Faults(seed * 100 + number, before=0.04)

    def _tick(self) -> int:
        self.now_ms += STEP_MS
        return self.now_ms

    async def _ask(self, node: LeaseRow, question: dict[str, Any], wait_s: float) -> dict[str, Any]:
        lost = self.chance.random()
        if lost < 0.08:
            raise NotRunning(Path("never asked"))
        try:
            answer = await super()._ask(node, question, wait_s)
        except StoreError as fault:
            raise OperatorError("E0418", str(fault)) from fault  # as a node's socket tells it
        finally:
            self.decide_by_one()
        if lost > 0.92:
            raise NotRunning(Path("the answer was lost"))
        return answer

    def decide_by_one(self) -> set[int]:
        """The generations by which anybody decides now: one at most."""
        deciding = {
            game.generations.current.number
            for game in self.games.values()
            if not game.generations.is_held and not game.world.engine.residents.is_draining
        }
        assert len(deciding) <= 1, f"two generations decide: {deciding}"
        return deciding

    def pass_time(self, ms: int) -> None:
        """All nodes live on, a little each in turn, as they do beside each other."""
        for _ in range(ms // 100):
            self.now_ms += 100
            for game in self.games.values():
                game.world.move(100)
                self.decide_by_one()

    def reload_all(self) -> int:
        """All reloads, with time between them; how many were taken, as far as anybody heard."""
        taken = 0
        for number in range(RELOADS):
            try:
                self.reloads(f"word-{self.seed}-{number}")
                taken += 1
            except OperatorError as refused:
                assert refused.code in ("E0415", "E0416", "E0418", "E0419"), refused
            self.decide_by_one()
            self.pass_time(self.settings.hold_ms + 700)
        return taken


def test_in_some_weather_a_switch_is_taken_and_in_some_it_is_refused(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switching, "RETRY_S", 0.0)
    taken = sum(Storm(world, seed).reload_all() for seed in SEEDS[:4])
    assert 0 < taken < 4 * RELOADS


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_lost_one_generation_decides(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(switching, "RETRY_S", 0.0)
    storm = Storm(world, seed)
    taken = storm.reload_all()
    storm.store.faults = Faults()
    for game in storm.games.values():
        game.store.faults = Faults()
    storm.pass_time(3_000)
    row = storm.database.code
    assert storm.decide_by_one() <= {row.generation} and not any(
        game.generations.is_held
        for game in storm.games.values()
        if not game.world.engine.residents.is_draining
    )
    living = [g for g in storm.games.values() if not g.world.engine.residents.is_draining]
    assert living, "nobody was fenced: every node was asked before each switch"
    word = {bundle_of(f"word-{seed}-{n}").digest: f"word-{seed}-{n}" for n in range(RELOADS)}
    said = living[0].says(living[0].world.player("ann"))
    assert said == m.Echoed(word.get(row.bundle, "one"), row.generation)
    assert row.generation > taken, "what was taken is in the row"
