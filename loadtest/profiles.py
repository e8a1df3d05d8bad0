"""Profiles of load tests: who plays, how many, how long, and what must hold.

Owns the form of `profiles.toml` and its check; never runs anything. Read by the generator and by
`run`.
"""

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

FILE = Path(__file__).with_name("profiles.toml")
CLASSES = (
    *("LoginBurst", "Wanderer", "Hunter", "Shopper"),
    *("PassClaimer", "Raider", "Reconnector", "Attacker"),
)
"""The user classes of `users`."""

Count = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Limit = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
ClassName = Literal[CLASSES]  # type: ignore[valid-type]


class Gates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits that set the exit status. `p99_ms`, `push_p99_ms`: by action and by push."""

    error_share_max: Limit
    ghosts_max: Annotated[int, msgspec.Meta(ge=0)]
    money_drift_max: Annotated[int, msgspec.Meta(ge=0)]
    generator_lag_p99_ms_max: Limit
    growth_mib_max: Limit
    p99_ms_max: Limit
    rare_max_ms: Limit
    frames_share_min: Share
    battle_frames_share_min: Share
    players_share_min: Share
    compared_min: Count
    cut_off_max: Annotated[int, msgspec.Meta(ge=0)]
    cut_off_amid_max: Annotated[int, msgspec.Meta(ge=0)]
    connections_lost_max: Annotated[int, msgspec.Meta(ge=0)]
    logins_forced_max: Annotated[int, msgspec.Meta(ge=0)]
    raids_aborted_max: Annotated[int, msgspec.Meta(ge=0)]
    displaced_max: Annotated[int, msgspec.Meta(ge=0)]
    away_max: Annotated[int, msgspec.Meta(ge=0)]
    repeated_min: Annotated[int, msgspec.Meta(ge=0)]
    processes_ended_max: Annotated[int, msgspec.Meta(ge=0)]
    restarts_unasked_max: Annotated[int, msgspec.Meta(ge=0)]
    turns_min: Count
    actions_min: Count
    p99_ms: dict[str, Limit]
    push_p99_ms: dict[str, Limit]


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is done to the cluster so many seconds after the first user came."""

    at_s: Seconds
    does: Literal["reload", "restart", "drain"]


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One load test. Times in seconds from the first user; `stop_s`: what is begun then may take so
    long to end, and leaving as long again. `longer_s`: so much longer while something that must
    happen did not yet. `idle`: classes for whose turns there is no time."""

    name: str
    about: str
    shape: Literal["ramp", "plateau", "spike", "soak", "deploy"]
    users: Count
    spawn_per_s: Annotated[float, msgspec.Meta(gt=0, le=1_000)]
    time_s: Seconds
    stop_s: Seconds
    channels: Count
    mix: dict[ClassName, Annotated[int, msgspec.Meta(ge=1)]]
    pace: dict[ClassName, Seconds]
    gates: Gates
    must: tuple[str, ...]
    idle: tuple[ClassName, ...] = ()
    longer_s: float = 0.0
    quiet_users: int = 0
    from_s: float = 0.0
    until_s: float = 0.0
    steps: int = 1
    steps_at: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        if self.users < len(self.mix):
            raise ValueError(f"{self.users} users cannot be of {len(self.mix)} classes")
        if self.shape == "spike" and not (
            0 < self.quiet_users < self.users and 0 < self.from_s < self.until_s < self.time_s
        ):
            raise ValueError("a spike has quiet_users below users, from_s before until_s")
        if self.shape == "ramp" and not 1 < self.steps <= self.users:
            raise ValueError("a ramp has at least two steps")
        if bool(self.steps_at) != (self.shape == "deploy"):
            raise ValueError("steps_at belong to the shape deploy")
        if any(step.at_s >= self.time_s for step in self.steps_at):
            raise ValueError("a step comes after the end")


def read_profiles(file: Path = FILE) -> dict[str, Profile]:
    """All profiles by name. Raises `ValueError` for a key, type or value that does not fit."""
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    found = {}
    for name, said in tables["profile"].items():
        own = {"mix": tables["mix"], **said, "name": name}
        own["gates"] = _over(tables["gates"], said.get("gates", {}))
        own["pace"] = _over(tables["pace"], said.get("pace", {}))
        try:
            found[name] = msgspec.convert(own, Profile)
        except msgspec.ValidationError as fault:
            raise ValueError(f"{file.name}: profile {name}: {fault}") from None
    return found


@cache
def profile_named(name: str) -> Profile:
    """One profile. Raises `ValueError` for a name that there is not."""
    profiles = read_profiles()
    if name not in profiles:
        raise ValueError(f"no load profile {name!r}; there are {', '.join(profiles)}")
    return profiles[name]


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """A table over another one, tables in it likewise."""
    merged = dict(below)
    for key, value in above.items():
        table = isinstance(value, dict) and isinstance(below.get(key), dict)
        merged[key] = _over(below[key], value) if table else value
    return merged
