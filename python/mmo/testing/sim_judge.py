"""What must hold when a simulation has gone quiet.

Owns the judgements over the simulated database, every node and what players were told. Called by
`simulation`; returns sentences, empty when everything holds.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mmo.node.engine import Engine
from mmo.state.grant import SourceKind
from mmo.state.raid import RaidState

if TYPE_CHECKING:
    from mmo.testing.simulation import Simulation

FORBIDDEN = (
    *("rule raised", "rule wrong", "rule quarantined", "edge wrong", "link message"),
    *("commit broke a constraint", "row of a room refused", "grant refused by the store"),
    "store corrupt",
)
"""Lines of a node's log that no run may bring forth, whatever strikes it."""

LINES_MAX = 20

EMPTY: dict[str, tuple[str, ...]] = {
    "world": ("seats", "where", "ready_ms"),
    "sessions": ("of_user",),
    "tickets": ("of_user", "asking", "seats"),
    "matching": ("tickets", "unit_of", "team_of", "parties", "forming", "leaving"),
    "raids": ("rooms", "where"),
}
"""Of each volatile state what keeps somebody who is here: nothing of it stays behind him."""

OVER: dict[str, str] = {"world": "holds", "sessions": "moving"}
"""What ends by itself at a time, user by user, and may be kept until then."""

OVER_LATE_MS = 2_000
"""So much later a rule may look at it: nodes look seldom when all is quiet."""


def judge(simulation: "Simulation") -> list[str]:
    """Everything that does not hold."""
    return [
        *simulation.witness.differing[:5],
        *_operations(simulation),
        *_decided(simulation),
        *_books(simulation),
        *_raids(simulation),
        *_told_of_raids(simulation),
        *_cache(simulation),
        *_ghosts(simulation),
        *_logs(simulation),
    ]


def _operations(simulation: "Simulation") -> Iterator[str]:
    """Acknowledged is recorded, with the same bytes."""
    database = simulation.database
    users = {name: account.user for name, account in database.accounts.items()}
    for (name, epoch, counter), (opcode, body) in simulation.witness.told.items():
        record = database.events.get((users[name], epoch, counter))
        if record is None:
            yield f"{name} {epoch}/{counter} was acknowledged and is nowhere"
        elif (record.answer_opcode, record.answer) != (opcode, body):
            yield f"{name} {epoch}/{counter} was told otherwise than recorded"
    asked = simulation.witness.asked
    names = {user: name for name, user in users.items()}
    for user, epoch, counter in database.events:
        if epoch > 0 and (names[user], epoch, counter) not in asked:
            yield f"{names[user]} {epoch}/{counter} is recorded and nobody asked"


def _decided(simulation: "Simulation") -> Iterator[str]:
    """Nobody's commit was decided by older code than his commit before it."""
    newest: dict[int, int] = {}
    for (user, epoch, counter), number in simulation.database.decided_by.items():
        before = newest.setdefault(user, number)
        if number < before:
            yield f"user {user} {epoch}/{counter} was decided by code {number}, after code {before}"
        newest[user] = max(before, number)


def _books(simulation: "Simulation") -> Iterator[str]:
    """Sums of lines, contiguous versions, no item twice."""
    database = simulation.database
    sums: Counter[tuple[int, int]] = Counter()
    for line in database.coins:
        sums[line[0], line[4]] += line[5]
    counts: Counter[tuple[int, int]] = Counter()
    for line in database.item_lines:
        counts[line[0], line[3]] += line[7]
    owners: Counter[int] = Counter()
    for user, head in database.heads.items():
        for currency, held in enumerate(head.coins):
            if sums[user, currency] != held:
                yield f"user {user} holds {held} of {currency}, lines say {sums[user, currency]}"
        versions = database.versions.get(user, [])
        if versions != list(range(1, len(versions) + 1)) or head.version != len(versions):
            yield f"user {user} is at version {head.version} after {versions[-3:]}"
        owned = database.items.get(user, {})
        for uid, item in owned.items():
            owners[uid] += 1
            if counts[user, uid] != item.count:
                yield f"user {user} item {uid} is {item.count}, lines say {counts[user, uid]}"
        gone = [uid for (who, uid), n in counts.items() if who == user and n and uid not in owned]
        if gone:
            yield f"user {user}: items {gone} were born and are nowhere"
    for uid, times in owners.items():
        if times > 1:
            yield f"item {uid} has {times} owners"
    unclaimed = database.grants.keys() - database.claimed.keys()
    if unclaimed:
        yield f"grants {sorted(unclaimed)[:5]} were never claimed"


def _raids(simulation: "Simulation") -> Iterator[str]:
    """Every raid is over, an aborted one was free, only members of a finished one have something
    of it, and the ranking is the best of all results."""
    database = simulation.database
    tables = database.raid_tables
    best: dict[tuple[int, int], int] = {}
    for number, raid in tables.raids.items():
        if not raid.is_settled:
            yield f"raid {number} stands at {raid.state.name}"
        if raid.state is RaidState.ABORTED and any(seat.day for seat in raid.seats.values()):
            yield f"raid {number} was aborted, and an entry of it is not given back"
        if raid.state is RaidState.FINISHED and raid.result is not None and raid.result.season:
            for user, seat in raid.seats.items():
                place = (raid.result.season, user)
                best[place] = max(best.get(place, 0), seat.score or 0)
    ranked = {place: rank.score for place, rank in tables.ranking.items()}
    if ranked != {place: score for place, score in best.items() if score}:
        yield f"the ranking is {ranked}, the results are {best}"
    for user, kind, source in database.grants:
        known = tables.raids.get(source) if kind == SourceKind.RAID else None
        finished = known is not None and known.state is RaidState.FINISHED
        if kind == SourceKind.RAID and not (finished and known and user in known.seats):
            yield f"user {user} has a reward of raid {source}, which did not finish with him"


def _told_of_raids(simulation: "Simulation") -> Iterator[str]:
    """A result, a reward and an end without one are as the store has them."""
    database = simulation.database
    for me in simulation.heroes:
        account, log = database.accounts.get(me.name), me.raids
        user = account.user if account is not None else 0
        yield from (f"{me.name}: {fault}" for fault in log.wrong)
        for number in sorted(log.scores.keys() | log.aborted):
            raid, score = database.raid_tables.raids.get(number), log.scores.get(number)
            seat = raid.seats.get(user) if raid is not None else None
            state = RaidState.FINISHED if score is not None else RaidState.ABORTED
            if raid is None or seat is None or raid.state is not state:
                stands = "is nowhere" if raid is None else f"stands at {raid.state.name}"
                yield f"{me.name} was told that raid {number} {state.name}: it {stands}"
            elif score is not None and seat.score != score:
                yield f"{me.name} was told {score} of raid {number}: it has {seat.score}"
        for number in sorted(log.granted):
            if (user, int(SourceKind.RAID), number) not in database.grants:
                yield f"{me.name} was promised a reward of raid {number}, and there is none"


def _cache(simulation: "Simulation") -> Iterator[str]:
    """What the cache shows was once decided: never newer, and the same where it is as new."""
    database = simulation.database
    for user, versions in simulation.cache.kept.items():
        head = database.heads[user]
        for shown in versions[-1:]:
            coins = (shown.gold, shown.cash, shown.mileage)
            owned = {item.uid: item.count for item in shown.items}
            held = {uid: item.count for uid, item in database.items.get(user, {}).items()}
            if shown.version > head.version:
                yield f"the cache shows version {shown.version} of user {user} at {head.version}"
            elif shown.version == head.version and (coins, owned) != (head.coins, held):
                yield f"the cache shows {coins} {owned} of user {user}: {head.coins} {held}"


def _ghosts(simulation: "Simulation") -> Iterator[str]:
    """Everyone logged out long ago: no node knows anybody, and nothing is on its way."""
    for number, one in simulation.nodes.items():
        if one.node is None:
            yield f"server {number} is not up"
            continue
        engine = one.node.engine
        for user, lane in engine.lanes.users.items():
            if lane.owns or lane.source is not None or lane.earned_count or lane.earned:
                yield f"server {number} still has a lane of user {user}"
        if engine.residents.connections:
            yield f"server {number} still counts {engine.residents.connections} connections"
        if not engine.committer.is_idle:
            yield f"server {number} still has something to commit"
        for kept in _kept(engine):
            yield f"server {number} still keeps {kept}"


def rooms(simulation: "Simulation") -> int:
    """How many rooms of raids the nodes have. One ends by itself, but not before its time."""
    engines = (one.node.engine for one in simulation.nodes.values() if one.node is not None)
    return sum(len(getattr(engine.states.get("raids"), "rooms", ())) for engine in engines)


def _kept(engine: Engine) -> Iterator[str]:
    """What the volatile states of a node hold though nobody is here. A game may have put a state of
    its own in the place of one of the box."""
    for name, state in engine.states.items():
        for part in EMPTY.get(name, ()):
            held = getattr(state, part, ())
            if held:
                yield f"{name}.{part} of {sorted(held)}"
        if name in OVER:
            until_ms = engine.clock_ms() - OVER_LATE_MS
            ends = getattr(state, OVER[name], {})
            over = sorted(user for user, over_ms in ends.items() if over_ms < until_ms)
            if over:
                yield f"{name}.{OVER[name]} of {over}, which are over"


def _logs(simulation: "Simulation") -> list[str]:
    """Every line that may not be, of which the first few are enough to see what happened."""
    found = [
        f"server {number} logged {level} {event} {keys}"
        for number, one in simulation.nodes.items()
        for level, event, keys in one.log.lines
        if event in FORBIDDEN
    ]
    more = len(found) - LINES_MAX
    return [*found[:LINES_MAX], *([f"{more} more lines of logs"] if more > 0 else [])]
