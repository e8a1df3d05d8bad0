"""Rooms that no rule ends: refused."""

from tests.unit.node_game.rooms import Den

from mmo.contract import Env, Outcome, ticks


@ticks(every_ms=50, of="hall", each="rooms")
def beat(room: Den, *, env: Env) -> Outcome:
    return Outcome()
