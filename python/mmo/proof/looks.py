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


FILLED_SHARE_MIN = 0.5
"""The same where Redis is emptied now and then: who does nothing more comes back to it by nobody.
An hour of all faults left 59 of 64, two minutes 30 of 33."""

LOOKS_SHARE_MIN = 0.3
"""Least share of the time that is of looks that succeed and of the pauses after them, however long
one takes on this machine; the rest is of looks that fail."""

GAP_S_MAX = 60.0
"""Longest time without the end of a look: one that waits for each server as long as it may takes
less, one that hangs takes for ever."""

JUDGED = ("rolls_recomputed", "raid_rewards", "places_compared")
"""Figures of the checker without which a run says nothing of rolls, rewards and the ranking."""


def expect_looks(trial: Trial, answer: dict[str, Any]) -> None:
    """Most looks at both stores succeeded, and they went on to the end."""
    taken, failed = answer["samples_taken"], answer["samples_failed"]
    text = f"{failed} looks at the stores failed, {taken} did not; {answer['sample_fault']}"
    trial.expect(taken > failed, text)
    lasted_s, gap_s = answer.get("sampled_s", 0.0), answer.get("samples_gap_s", 0.0)
    enough = answer.get("samples_took_s", 0.0) >= LOOKS_SHARE_MIN * lasted_s
    trial.expect(enough, f"only {taken} looks at the stores in {lasted_s} s")
    trial.expect(gap_s <= GAP_S_MAX, f"no look at the stores came to its end in {gap_s} s")


def expect_judged(trial: Trial, answer: dict[str, Any]) -> None:
    """There were snapshots, rolls, rewards and places in which nothing was found."""
    checker = answer["checker"]
    compared, players = checker.get("snapshots_compared", 0), checker.get("players", 0)
    enough = compared >= FILLED_SHARE_MIN * players > 0
    trial.expect(enough, f"Redis held {compared} of {players} players at the end")
    none = [name for name in JUDGED if not checker.get(name)]
    trial.expect(not none, f"nothing was judged: {', '.join(none)}")


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
