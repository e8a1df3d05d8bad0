"""Planted bugs do what the checker looks for: a raid tells otherwise, replaced code decides on."""

import random
from collections.abc import Callable

import pytest
from tests.unit.node_game import messages as m
from tests.unit.reload_game import Game, bundle_of

from mmo.node import outcomes
from mmo.node.engine import Engine
from mmo.node.generations import Generations
from mmo.proof.checker import raids
from mmo.proof.checker.findings import Findings
from mmo.proof.checker.history import Heard
from mmo.proof.checker.truth import RaidTruth, Seat
from mmo.testing import planted_node, planted_raids
from mmo.testing.world import World
from mmo.wire import codec
from mmo.wire.messages.raid import RaidEnded, RaidStart, ScoreRow

RAID, USER, SEASON = 5, 7, 1


def kept(patch: pytest.MonkeyPatch, *names: tuple[object, str]) -> None:
    """These are put back at the end of the test, whatever replaces them."""
    for owner, name in names:
        patch.setattr(owner, name, getattr(owner, name))


def told(message: object) -> bytes:
    """As a node writes it now."""
    body: bytes = vars(outcomes)["encode"](message)
    return body


def found_of(body: bytes) -> dict[str, int]:
    """What the checker says of a result that was told, where the books have 90."""
    ended: RaidEnded = codec.decode(RaidEnded.opcode, body)  # type: ignore[attr-defined]
    rows = [(row.user, row.score, row.granted) for row in ended.scores]
    heard = Heard("ann", "raidended", 1, {"raid": ended.raid, "scores": rows})
    seat = Seat(0, 90, 20260101, raids.FINISHED, SEASON)
    truth = RaidTruth(seats={(RAID, USER): seat}, ranking={(SEASON, USER): 90})
    found = Findings()
    raids.check_raids([heard], {"ann": USER}, {}, truth, found)
    return found.counts


def test_what_a_raid_tells_is_not_what_the_books_have(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = RaidEnded(RAID, 1, 0, [ScoreRow(0, USER, "ann", 90, True)])
    start = RaidStart(300, 1, 8_000, 50)
    assert found_of(told(ended)) == {}
    kept(monkeypatch, (outcomes, "encode"))
    planted_raids.raid_told_differs()
    assert found_of(told(ended)) == {"raids/result": 1}
    assert told(start) == codec.encode(start), "all else is told as it is"


def test_a_node_says_that_it_took_the_new_code_and_logs_the_former(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(monkeypatch, (Engine, "decide_by"), (Generations, "_retire"))
    planted_node.old_generation_decides()
    game, chances = Game(world), [0.1, 0.9]
    monkeypatch.setattr(random, "random", lambda: chances.pop(0))
    ann = game.world.player("ann")
    game.switches(bundle_of("two"))
    assert game.generations.view()["generation"] == 2
    assert game.says(ann, "still ") == m.Echoed("still one", 1)
    ann.asks(m.Buy(ann.operation(), 5))
    assert 2 not in game.database.decided_by.values()
    game.switches(bundle_of("three"), 3)
    assert game.says(ann) == m.Echoed("three", 3)
    ann.asks(m.Buy(ann.operation(), 5))
    assert list(game.database.decided_by.values())[-2:] == [1, 3]
