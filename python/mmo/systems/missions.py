"""Missions of season passes: what a real event of the server moves.

Called by the rules whose outcome is such an event (a kill, a purchase, an enhancement, a login, a
raid), so that the pass moves in the event's own commit. No client message counts as an event.
"""

from collections.abc import Mapping

from mmo.content import Content
from mmo.content.passes import Season
from mmo.contract import Env, Outcome, Refuse, Tell, ToUser
from mmo.state.pass_progress import MissionCount, PassMoved, PassProgress
from mmo.wire.messages.season_pass import PassEvent, PassProgressed

PassParts = Mapping[int, PassProgress]


def progress_of(passes: PassParts, season: Season) -> PassProgress:
    """The player's progress in a pass; the start of it when he has none yet."""
    return passes.get(season.number) or PassProgress(season.number)


def gain_pass_exp(season: Season, level: int, exp: int) -> tuple[int, int]:
    """Level and exp after `exp` in all arrived at `level`: several levels at once, 0 at the end."""
    while level < season.level_max and exp >= season.exp_need[level]:
        exp -= season.exp_need[level]
        level += 1
    return (level, 0) if level >= season.level_max else (level, exp)


def moved_by(
    content: Content, passes: PassParts, event: str, now_ms: int
) -> tuple[list[PassMoved], list[PassProgressed]]:
    """What one `event` moves in every running pass: the changes, and what is told after the
    commit."""
    changes: list[PassMoved] = []
    told: list[PassProgressed] = []
    for season in content.passes.running(now_ms):
        before = progress_of(passes, season)
        counts = {count.mission: count for count in before.missions}
        gained = 0
        moved: list[int] = []
        for mission in season.missions:
            count = counts.get(mission.number, MissionCount(mission.number, 0, 0))
            if mission.event != event or count.done >= mission.times:
                continue
            progress, done = count.progress + 1, count.done
            if progress >= mission.goal:
                progress, done, gained = 0, done + 1, gained + mission.exp
            counts[mission.number] = MissionCount(mission.number, progress, done)
            moved.append(mission.number)
        if not moved:
            continue
        level, exp = gain_pass_exp(season, before.level, before.exp + gained)
        missions = tuple(counts[number] for number in sorted(counts))
        is_new = season.number not in passes
        changes.append(PassMoved(season.number, level, exp, before.paid, missions, is_new))
        told += [
            PassProgressed(season.number, level, exp, number, counts[number].progress)
            for number in moved
        ]
    return changes, told


def with_event(
    outcome: Outcome | Refuse, content: Content, passes: PassParts, event: str, env: Env
) -> Outcome | Refuse:
    """An outcome that is an `event` of the missions: the passes move in its commit, and the player
    is told after its answer. A refusal, or what changed nothing, is no event."""
    if isinstance(outcome, Refuse) or not outcome.changes:
        return outcome
    moved, told = moved_by(content, passes, event, env.now_ms)
    outcome.changes = [*outcome.changes, *moved]
    outcome.sends = [*outcome.sends, *(ToUser(env.sender.user, each) for each in told)]
    return outcome


def login_event(user: int) -> Tell:
    """What the arrival of a player tells his own lane."""
    return Tell(user, PassEvent(user, "login"))
