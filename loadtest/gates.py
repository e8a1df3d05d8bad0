"""What must hold of a load test.

Owns the judgement: figures and limits in, rows out. Pure; a gate without a figure is not held, so
a run that measured nothing never passes. Called by the generator for what it saw itself and by
`run` for all.
"""

import math
from array import array
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from loadtest.meter import FEW, Tally, percentile
from loadtest.profiles import Gates, Profile

DISHONOURED = ("TOKEN_REFUSED", "TOKEN_INVALID", "TOKEN_EXPIRED")
"""Never right of a token that a user was given a moment ago and shows where he was told to. A place
or a seat may have gone to others (WRONG_PLACE, SERVER_FULL), a session may be over by his own later
login (SESSION_OVER), a raid by its end (NOT_IN_RAID)."""
AWAY = "_AWAY"
"""How the code of a refusal ends that says that a server is away."""


class Gate(msgspec.Struct, frozen=True):
    """One limit and what was found; `found` None: never measured."""

    name: str
    limit: float
    found: float | None
    held: bool

    def row(self) -> tuple[str, str, str, str]:
        """For the eye."""
        found = "nothing" if self.found is None else _figure(self.found)
        return (self.name, found, _figure(self.limit), "held" if self.held else "NOT HELD")


def at_most(name: str, found: float | None, limit: float) -> Gate:
    """A gate that a figure at or below its limit passes."""
    return Gate(name, limit, found, found is not None and found <= limit)


def at_least(name: str, found: float | None, limit: float) -> Gate:
    """A gate that a figure at or above its limit passes."""
    return Gate(name, limit, found, found is not None and found >= limit)


def judge_play(profile: Profile, seen: Mapping[str, Any]) -> list[Gate]:
    """What the generator's own figures say: errors, what happened to users that they had not asked
    for, tokens not honoured, servers away, requests sent twice, what each class did, latency of
    each action, age of each push, frames that never came, who came to his end, and whether the
    generator kept up with its own plan."""
    gates, kinds, pushes = profile.gates, seen["by_kind"], seen["pushes"]
    answered = seen["actions"] + seen["errors"]
    rows = [
        at_least("actions", seen["actions"], gates.actions_min),
        at_most(
            "error share", seen["errors"] / answered if answered else None, gates.error_share_max
        ),
        at_most(
            "generator lag p99 ms", seen["generator"]["lag_p99_ms"], gates.generator_lag_p99_ms_max
        ),
        at_most("connections lost", sum(seen["lost"].values()), gates.connections_lost_max),
        at_most("logins forced", seen["logins_forced"], gates.logins_forced_max),
        at_most("raids aborted", seen["raids_aborted"], gates.raids_aborted_max),
        at_least("users compared", seen["compared"], gates.compared_min),
        at_most("cut off while leaving", seen["cut_off"], gates.cut_off_max),
        at_most("cut off amid a turn", _total(seen["cut_off_amid"]), gates.cut_off_amid_max),
    ]
    if not profile.steps_at:
        rows += _judge_steady(gates, seen)
    if "Shopper" in profile.mix:
        rows.append(at_least("requests repeated", _repeated(seen), gates.repeated_min))
    for kind in sorted(profile.mix.keys() - set(profile.idle)):
        rows.append(at_least(f"{kind} turns", seen["turns"].get(kind, 0), gates.turns_min))
    rare = rare_kinds(gates, kinds)
    for kind in sorted({*kinds, *profile.must} - gates.push_p99_ms.keys() - rare):
        limit = gates.p99_ms.get(kind, gates.p99_ms_max)
        rows.append(at_most(f"{kind} p99 ms", _p99(kinds, kind), limit))
    rows += _judge_rare(gates, [kinds[kind]["samples_ms"] for kind in sorted(rare)])
    for kind, limit in gates.push_p99_ms.items():
        if kind in pushes or kind in profile.must:
            rows.append(at_most(f"{kind} age p99 ms", _p99(pushes, kind), limit))
    frames = seen["frames"]
    if frames["due"] or "RaidStream" in profile.must:
        rows.append(at_least("frames share", frames["share"], gates.frames_share_min))
    if frames["share_least"] is not None:
        limit = gates.battle_frames_share_min
        rows.append(at_least("frames share of a battle", frames["share_least"], limit))
    return rows


def lacking(profile: Profile, seen: Mapping[str, Any]) -> list[str]:
    """What must happen and did not yet: kinds of actions and pushes, and turns of classes."""
    classes = profile.mix.keys() - set(profile.idle)
    idle = {kind for kind in classes if seen["turns"].get(kind, 0) < profile.gates.turns_min}
    few = {"actions"} if seen["actions"] < profile.gates.actions_min else set()
    return sorted({*profile.must} - seen["by_kind"].keys() - seen["pushes"].keys() | idle | few)


def _judge_steady(gates: Gates, seen: Mapping[str, Any]) -> list[Gate]:
    """What no answer says while nobody changes the cluster: that a token is not honoured, or that a
    server is away."""
    displaced, refusals = seen.get("displaced"), seen.get("refusals")
    tokens = away = None
    if displaced is not None:
        tokens = _total({code: displaced.get(code, {}) for code in DISHONOURED})
    if refusals is not None:
        told = (told for codes in refusals.values() for told in codes.items())
        away = sum(times for code, times in told if code.endswith(AWAY))
    return [
        at_most("tokens not honoured", tokens, gates.displaced_max),
        at_most("answered with away", away, gates.away_max),
    ]


def _total(tally: Tally) -> int:
    return sum(times for row in tally.values() for times in row.values())


def _repeated(seen: Mapping[str, Any]) -> float | None:
    """Requests answered twice by one server: of those that another repeats there are too few to be
    sure of any."""
    found = seen.get("repeated")
    return None if found is None else found.get("here")


def rare_kinds(gates: Gates, kinds: Mapping[str, Any]) -> set[str]:
    """Actions that have so few samples that the p99 of one is its longest, and one stall of the
    whole cluster is the p99 of many: judged together. Not those with a limit of their own."""
    return {kind for kind, one in kinds.items() if "samples_ms" in one} - gates.p99_ms.keys()


def _judge_rare(gates: Gates, samples_ms: list[list[float]]) -> list[Gate]:
    """All samples of the rare actions: their p99, when they are enough for one, and the longest."""
    together = array("d", [took_ms for one in samples_ms for took_ms in one])
    rows = []
    if len(together) >= FEW:
        rows.append(at_most("rare actions p99 ms", percentile(together, 0.99), gates.p99_ms_max))
    if together:
        rows.append(at_most("rare actions longest ms", max(together), gates.rare_max_ms))
    return rows


def judge_after(profile: Profile, after: Mapping[str, Any]) -> list[Gate]:
    """What is left when all users are gone: ghosts, money, memory, the processes that there were,
    and the steps of a deploy."""
    gates = profile.gates
    rows = [
        at_most("ghost sessions", after["ghosts"], gates.ghosts_max),
        at_least("players at once", after["players_max"], _users(profile)),
        at_most("money drift", after["money_drift"], gates.money_drift_max),
        at_most("memory growth MiB", after["growth_mib"], gates.growth_mib_max),
        at_most("processes ended", len(after["ended"]), gates.processes_ended_max),
        at_most("restarts unasked", len(after["restarted"]), gates.restarts_unasked_max),
    ]
    if profile.steps_at:
        rows.append(at_least("steps done", after["steps_done"], len(profile.steps_at)))
    return rows


def money_drift(audit: Mapping[str, Any]) -> int:
    """Coins that are held beyond those minted less burned, by all currencies, and findings of the
    audit, whatever they are about."""
    flows: Iterable[Mapping[str, int]] = audit["currencies"].values()
    coins = sum(abs(flow["minted"] - flow["burned"] - flow["held"]) for flow in flows)
    return coins + len(audit["findings"])


def growth_mib(memory: Mapping[str, list[tuple[float, float]]]) -> float | None:
    """The most that one node grew beyond what it had at the end of its first third of samples, in
    MiB, also when it was started anew after that; None without samples. `memory`: (second, MiB) by
    node."""
    grown = [
        max(size for _, size in rows[len(rows) // 3 :]) - rows[len(rows) // 3][1]
        for rows in memory.values()
        if rows
    ]
    return round(max(grown), 2) if grown else None


def _users(profile: Profile) -> int:
    """So many of them must have been owned at once, for that nobody is left to say anything."""
    return math.ceil(profile.users * profile.gates.players_share_min)


def _p99(kinds: Mapping[str, Any], kind: str) -> float | None:
    return float(kinds[kind]["p99_ms"]) if kind in kinds else None


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"
