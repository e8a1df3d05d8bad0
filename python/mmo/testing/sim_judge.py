"""What must hold when a simulation has gone quiet.

Owns the judgements over the simulated database, every node and what players were told. Called by
`simulation`; returns sentences, empty when everything holds.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmo.testing.simulation import Simulation

FORBIDDEN = ("rule raised", "rule wrong", "store corrupt", "edge wrong", "link message")
"""Lines of a node's log that no run may bring forth."""


def judge(simulation: "Simulation") -> list[str]:
    """Everything that does not hold."""
    return [
        *simulation.witness.differing[:5],
        *_operations(simulation),
        *_books(simulation),
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
        world = engine.states.get("world")
        seats = getattr(world, "seats", None)
        if seats:
            yield f"server {number} still keeps seats of {sorted(seats)}"


def _logs(simulation: "Simulation") -> Iterator[str]:
    for number, one in simulation.nodes.items():
        for level, event, keys in one.log.lines:
            if event in FORBIDDEN:
                yield f"server {number} logged {level} {event} {keys}"
