"""Whether a run of chaos looked at Redis enough for "nobody is stale" to say anything.

Owns that judgement. A player whom Redis does not hold is compared with nothing, and a look that
fails leaves no sample: an empty Redis, or one that nobody could ask, would pass every comparison.
Called by the proofs that break things.
"""

from typing import Any

from mmo.proof.verdict import Trial

SNAPSHOT_SHARE_MIN = 0.75
"""Least share of the players whose snapshot has to be compared at the end, where Redis was not
emptied. Those who only pay never arrive and have none: two of nineteen; one or two more may have
been written first on a primary that died before it had copied them."""


def expect_looks(trial: Trial, answer: dict[str, Any]) -> None:
    """Most looks at both stores succeeded."""
    taken, failed = answer["samples_taken"], answer["samples_failed"]
    text = f"{failed} looks at the stores failed, {taken} did not; {answer['sample_fault']}"
    trial.expect(taken > failed, text)


def expect_compared(trial: Trial, answer: dict[str, Any], who: str, is_calm: bool) -> None:
    """Most looks succeeded and Redis held nearly all players at the end. `is_calm`: all played on
    for longer than Redis may be behind, so that some samples had to be up to date."""
    expect_looks(trial, answer)
    checker = answer["checker"]
    compared, players = checker.get("snapshots_compared", 0), checker.get("players", 0)
    enough = compared >= SNAPSHOT_SHARE_MIN * players > 0
    trial.expect(enough, f"{who}: Redis held {compared} of {players} players at the end")
    if is_calm:
        due = checker.get("samples_due", 0)
        trial.expect(due > 0, f"{who}: no sample of Redis had to be up to date")
