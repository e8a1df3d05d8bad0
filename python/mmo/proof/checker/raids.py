"""The check of raids: results, rewards, seats and the board against what players were told.

Owns these judgements over all players at once. Called by the command.
"""

from collections.abc import Iterable
from itertools import groupby, product

from mmo.proof.checker.findings import Findings
from mmo.proof.checker.history import Heard
from mmo.proof.checker.truth import PlayerBooks, RaidTruth

FINISHED, ABORTED = 3, 4
"""States of a raid that is over, as the documented table names them."""

RAID_GRANT = 4
"""Kind of a grant whose source is a raid."""


def check_raids(
    heard: list[Heard],
    users: dict[str, int],
    players: dict[int, PlayerBooks],
    truth: RaidTruth,
    found: Findings,
) -> dict[str, int]:
    """Everything of raids; counts of what there was to be judged."""
    results: dict[tuple[int, int], int] = {}
    grants = {user: _grants(books) for user, books in players.items()}
    for told in heard:
        user = users.get(told.name, 0)
        if told.what == "raidmatched":
            _matched(told, user, truth, found)
        elif told.what == "raidended":
            _ended(told, user, truth, results, grants.get(user, {}), found)
        elif told.what == "raidfreed":
            _freed(told, user, truth, found)
        elif told.what == "grantreward" and user in players:
            _rewarded(told, players[user], found)
    _seats(truth, grants, found)
    _board(truth, found)
    finished = sum(seat.state == FINISHED for seat in truth.seats.values())
    return {
        "raid_results_told": len(results),
        "raid_seats": len(truth.seats),
        "raid_seats_finished": finished,
        "raid_rewards": sum(len(mine) for mine in grants.values()),
    }


def _grants(books: PlayerBooks) -> dict[int, int | None]:
    """Raids that left him a reward, with the version that claimed it."""
    return {grant[1]: grant[3] for grant in books.grants if grant[0] == RAID_GRANT}


def _matched(told: Heard, user: int, truth: RaidTruth, found: Findings) -> None:
    raid, number = told.fields["raid"], told.fields["seat"]
    seat = truth.seats.get((raid, user))
    if seat is None:
        text = f"{told.name} was told a seat in raid {raid}, the books have none"
        found.add("raids", "lost", text)
    elif seat.seat != number:
        text = f"{told.name} was told seat {number} in raid {raid}, the books say {seat.seat}"
        found.add("raids", "seat", text)


def _ended(
    told: Heard,
    user: int,
    truth: RaidTruth,
    results: dict[tuple[int, int], int],
    rewards: dict[int, int | None],
    found: Findings,
) -> None:
    raid = told.fields["raid"]
    for member, score, granted in told.fields["scores"]:
        what = f"{told.name} was told {score} of user {member} in raid {raid}"
        if results.setdefault((raid, member), score) != score:
            found.add("raids", "answered-twice", f"{what}, {results[raid, member]} before")
        seat = truth.seats.get((raid, member))
        if seat is None:
            if member == user:
                found.add("raids", "lost", f"{what}, the books have no seat")
            continue
        if seat.state != FINISHED:
            found.add("raids", "lost", f"{what}, the raid stands at {seat.state}")
        elif (seat.score or 0) != score:
            found.add("raids", "result", f"{what}, the books say {seat.score}")
        if member == user and granted and raid not in rewards:
            found.add("raids", "lost", f"{told.name} was promised a reward of raid {raid}")


def _freed(told: Heard, user: int, truth: RaidTruth, found: Findings) -> None:
    raid, finished = told.fields["raid"], told.fields["finished"]
    seat = truth.seats.get((raid, user))
    if seat is not None and seat.state != (FINISHED if finished else ABORTED):
        text = f"{told.name} was told that raid {raid} is over ({finished}), it stands at"
        found.add("raids", "result", f"{text} {seat.state}")


def _rewarded(told: Heard, books: PlayerBooks, found: Findings) -> None:
    kind, source = told.fields["source_kind"], told.fields["source"]
    claimed = [grant[3] for grant in books.grants if grant[:2] == (kind, source)]
    if not claimed or claimed[0] is None:
        text = f"{told.name} was given grant {kind}/{source}, the books do not have it claimed"
        found.add("raids", "lost", text)


def _seats(truth: RaidTruth, grants: dict[int, dict[int, int | None]], found: Findings) -> None:
    """Nobody is kept by what is over, an aborted raid gave its entries back, and only a member of
    a finished raid has a reward of it."""
    for user, raid in truth.busy.items():
        seat = truth.seats.get((raid, user))
        if seat is None or seat.state in (FINISHED, ABORTED):
            found.add("raids", "kept", f"user {user} is kept by raid {raid}, which is over")
    for (raid, user), seat in truth.seats.items():
        if seat.state == ABORTED and seat.day:
            found.add("raids", "entry", f"raid {raid} was aborted, user {user} has paid for it")
        if seat.state not in (FINISHED, ABORTED):
            found.add("raids", "no-end", f"raid {raid} of user {user} stands at {seat.state}")
    for user, mine in grants.items():
        for raid in mine:
            seat = truth.seats.get((raid, user))
            if seat is None or seat.state != FINISHED:
                text = f"user {user} has a reward of raid {raid}, which did not finish with him"
                found.add("raids", "never-earned", text)


def _board(truth: RaidTruth, found: Findings) -> None:
    """The board of a season is the best of all results in it."""
    best: dict[tuple[int, int], int] = {}
    for (_, user), seat in truth.seats.items():
        if seat.state == FINISHED and seat.season and seat.score:
            place = (seat.season, user)
            best[place] = max(best.get(place, 0), seat.score)
    for place in sorted(best.keys() | truth.ranking.keys()):
        if best.get(place) != truth.ranking.get(place):
            text = f"season and user {place}: best result {best.get(place)}, the ranking says"
            found.add("raids", "ranking", f"{text} {truth.ranking.get(place)}")


def check_boards(
    truth: RaidTruth, users: Iterable[int], shown: dict[int, dict[int, int]], found: Findings
) -> int:
    """What Redis shows of these players on whole boards is what MySQL holds, and nothing where that
    ranks nobody; how many places were compared."""
    compared = 0
    for season, user in sorted(product(shown, users)):
        score, there = truth.ranking.get((season, user), 0), shown[season].get(user, 0)
        compared += bool(score or there)
        if there != score:
            text = f"board of season {season}: Redis shows {there} of user {user}, MySQL {score}"
            found.add("cache", "ahead" if there > score else "stale", text)
    return compared


def check_generations(rows: list[tuple[int, int, int]], found: Findings) -> int:
    """Code that was replaced decides nothing afterwards: along the versions of a player the
    generation never falls. How many generations decided."""
    for user, mine in groupby(rows, key=lambda row: row[0]):
        last = 0
        for _, version, generation in mine:
            if generation < last:
                text = f"user {user} version {version} by generation {generation} after {last}"
                found.add("order", "generation", text)
            last = max(last, generation)
    return len({row[2] for row in rows})
