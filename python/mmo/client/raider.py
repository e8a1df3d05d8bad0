"""The raider: queues, fights with others, comes back into a running battle, takes the rewards.

Generators of `steps`; own no socket and no clock. What a server tells at the end of a raid is kept
in the hero's `RaidLog`; at the end of the journey every announced reward must have come, and the
ranking must show the best of all results. Called by `journeys`, proofs and locust.
"""

from collections.abc import Callable

from mmo.client.datagrams import PROVE_AGAIN_S
from mmo.client.hero import Hero
from mmo.client.hunting import hold_on
from mmo.client.raid_log import RAID_GRANT
from mmo.client.session import (
    BLAMELESS,
    Displaced,
    Retry,
    arrive,
    ask,
    code_name,
    keep_known,
    log_out,
    note_loss,
    overhear,
    register,
    show,
    silence,
    stay_known,
)
from mmo.client.steps import CENTER, GAME, RAID, Drop, Lost, Prove, Receive, Walk
from mmo.wire.messages.raid import RaidAct, RaidActOk, RaidEntered, RaidReady
from mmo.wire.messages.raid_queue import (
    RaidCancel,
    RaidCancelOk,
    RaidExplain,
    RaidMatched,
    RaidQueue,
    RaidQueueOk,
    RaidRejoin,
)
from mmo.wire.messages.ranking import RankingAround
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

KIND = 1
CANCEL_SHARE = 0.02
EXPLAIN_SHARE = 0.1
DATAGRAM_SHARE = 0.75
"""So many prove an address; the others get the stream over their connection."""
LISTEN_MS = 250.0
FAULTY_WAIT_MS = 5_000.0
WINDOW_MS = 60_000.0
"""Who is alone in his level group waits so long until anybody may be matched with him (the last
point of `widening` in the content's `matching.toml`)."""
PACE_MS = 60.0


def raider(me: Hero, seconds: float) -> Walk[None]:
    """Raid for `seconds`, then wait for what was promised, compare, and log out."""
    yield from register(me)
    yield from arrive(me)
    until = me.clock() + seconds
    yield from raid_until_over(me, lambda: me.clock() < until)


def raid_until_over(
    me: Hero, goes_on: Callable[[], bool], between: Callable[[Hero], Walk[None]] | None = None
) -> Walk[None]:
    """Raid while told to; then every reward must have come and the ranking must agree. `between`:
    what else he does after each of his blows."""
    while goes_on():
        found = yield from seek_raid(me, goes_on)
        if found is not None:
            yield from fight(me, found, between)
    yield from hold_on(me, lambda: take_rewards(me), to_lobby=True)
    yield from hold_on(me, lambda: compare_ranking(me), to_lobby=True)
    for fault in me.raids.wrong:
        me.meter.error(f"{me.name}: {fault}")
    yield Drop(RAID)
    yield Drop(GAME)
    yield Drop(CENTER)
    me.loosen()
    yield from arrive(me)
    yield from log_out(me)


def seek_raid(me: Hero, goes_on: Callable[[], bool]) -> Walk[RaidMatched | None]:
    """`find_raid`, again after each lost connection to the center; what he waited goes on."""
    since = me.clock()
    seat: RaidMatched | None = yield from hold_on(
        me, lambda: find_raid(me, goes_on, since), to_lobby=True
    )
    return seat


def find_raid(
    me: Hero, goes_on: Callable[[], bool], since: float | None = None
) -> Walk[RaidMatched | None]:
    """Into the queue and out of it with a seat; None when the time was over first. How long he
    waited, `since` then or now, is told of both: who was never matched waited too."""
    log, retry = me.raids, Retry(me, "finding a raid")
    began = me.clock() if since is None else since
    while True:
        meant = me.mean(me.due)
        log.matched, log.unmatched = None, 0
        held = (Code.ALREADY_QUEUED, Code.ALREADY_MATCHED)
        refusals = (*held, Code.ALREADY_IN_RAID, Code.MATCHING_AWAY)
        reply = yield from ask(me, CENTER, RaidQueue(KIND), expects=tuple(map(int, refusals)))
        if isinstance(reply, RaidQueueOk) or reply.code in held:
            found = yield from _wait_for_match(me, goes_on)
            if found is not None or not goes_on():
                me.meter.action("RaidMatched", (me.clock() - began) * 1000)
                return found
        elif reply.code == Code.ALREADY_IN_RAID:
            found = yield from rejoin(me)
            if found is not None:
                return found
            yield from retry.again("the last raid is not over")
        else:
            yield from retry.again(code_name(reply.code))
            me.due = meant  # matching is away, and he still means to queue


def _wait_for_match(me: Hero, goes_on: Callable[[], bool]) -> Walk[RaidMatched | None]:
    """Wait for the match; sometimes ask why, sometimes leave the queue. None: out of the queue, by
    an answer or because the raid he was matched to was aborted before he was told of it."""
    log, began = me.raids, me.clock()
    aborted = len(log.aborted)
    leaves, due = me.rng.random() < CANCEL_SHARE, None
    if me.rng.random() < EXPLAIN_SHARE:
        expects = (int(Code.NOT_QUEUED), int(Code.MATCHING_AWAY))
        yield from ask(me, CENTER, RaidExplain(), expects=expects)
    while log.matched is None and not log.unmatched and len(log.aborted) == aborted:
        if leaves or not goes_on():
            meant = me.mean(due)
            reply = yield from ask(
                me, CENTER, RaidCancel(),
                expects=(int(Code.NOT_QUEUED), int(Code.ALREADY_MATCHED), int(Code.MATCHING_AWAY)),
            )  # fmt: skip
            leaves = False
            if isinstance(reply, RaidCancelOk) or reply.code == Code.NOT_QUEUED:
                return log.matched
            due = meant if reply.code == Code.MATCHING_AWAY else None
        event = yield Receive(CENTER, LISTEN_MS)
        if event is not None:
            overhear(me, event)
        yield from keep_known(me)
        if (me.clock() - began) * 1000 > me.policy.patience_ms + WINDOW_MS:
            me.meter.error(f"{me.name}: nobody was found for a raid")
            return None
    return log.matched


def rejoin(me: Hero) -> Walk[RaidMatched | None]:
    """A fresh token for the raid that still runs; None when there is none or its server is away."""
    reply = yield from ask(
        me, CENTER, RaidRejoin(), expects=(int(Code.NOT_IN_RAID), int(Code.SERVER_AWAY))
    )
    return reply if isinstance(reply, RaidMatched) else None


def fight(
    me: Hero, found: RaidMatched, between: Callable[[Hero], Walk[None]] | None = None
) -> Walk[None]:
    """To the raid server, into the battle, and back into it after a lost connection, until the
    result is told or the raid is known to be over without it."""
    retry = Retry(me, "fighting a raid")
    seat: RaidMatched | None = found
    while seat is not None:
        me.raids.matched = None
        try:
            entered = yield from show(me, RAID, (seat.host, seat.port), seat.token)
            assert isinstance(entered, RaidEntered), f"the raid server answered {entered}"
            me.raids.enter(entered)
            yield from battle(me, entered.raid, between)
            yield Drop(RAID)
            return
        except Displaced:
            yield from retry.again("the seat was refused")
        except Lost as lost:
            if lost.reason not in BLAMELESS:
                note_loss(me, lost)
                me.meter.error(f"{me.name}: {lost}")
                raise
            if found.raid in me.raids.scores or found.raid in me.raids.aborted:
                return  # the server ends the connection once the result is told
            note_loss(me, lost)
            yield from retry.again(str(lost))
        yield Drop(RAID)
        if found.raid in me.raids.aborted:
            return
        # A server that took the raid over may have told a new seat already.
        seat = me.raids.matched or (yield from hold_on(me, lambda: rejoin(me), to_lobby=True))


def battle(me: Hero, raid: int, between: Callable[[Hero], Walk[None]] | None = None) -> Walk[None]:
    """Ready, then blow after blow until the result is told."""
    log = me.raids
    streams = me.rng.random() < DATAGRAM_SHARE
    proved_at = -1e9
    key = None
    number = 0
    next_at = 0.0
    until = me.clock() + me.policy.patience_ms / 1000
    said = yield from ask(me, RAID, RaidReady(), expects=(int(Code.NOT_IN_RAID),))
    if isinstance(said, Refused):
        return
    while raid not in log.scores and raid not in log.aborted:
        if log.key is not None:
            key, log.key = log.key, None
        if key is not None and streams and me.clock() - proved_at > PROVE_AGAIN_S:
            proved_at = me.clock()
            yield Prove(RAID, key)
        if log.runs and me.clock() >= next_at:
            number += 1
            meant = next_at or me.clock()
            if me.policy.catch_up_ms:
                me.due = meant
            wait_ms = yield from act(me, raid, number)
            next_at = me.meant_after(meant, wait_ms)
            if between is not None:
                yield from between(me)
        wait_ms = LISTEN_MS if not log.runs else max(1.0, (next_at - me.clock()) * 1000)
        event = yield Receive(RAID, min(wait_ms, LISTEN_MS))
        if event is not None:
            overhear(me, event)
        if me.clock() > until:
            yield from silence(me, RAID, "the end of a raid")


def act(me: Hero, raid: int, number: int) -> Walk[float]:
    """One input: mostly the plain blow, else any of the first four. Returns how long to wait."""
    action = 0 if me.rng.random() < 0.8 else me.rng.randrange(4)
    refusals = (
        *(Code.COOLDOWN, Code.RAID_NOT_RUNNING, Code.RAID_FALLEN, Code.RAID_INPUTS_FULL),
        *(Code.NOT_IN_RAID, Code.RAID_ACTION_UNKNOWN),
    )
    reply = yield from ask(me, RAID, RaidAct(action, number), expects=tuple(map(int, refusals)))
    if isinstance(reply, RaidActOk):
        me.raids.fought.add(raid)
    elif reply.code in (Code.COOLDOWN, Code.RAID_FALLEN):
        left_ms = float(reply.detail or 0)
        return max(PACE_MS, min(left_ms or LISTEN_MS, 1000.0))
    return PACE_MS


def take_rewards(me: Hero) -> Walk[None]:
    """Wait until every announced reward was claimed by the center and told. While servers are made
    to fail, the word of a claim may be lost with its connection: then the books alone know, and
    whoever made them fail asks the books."""
    wait_ms = FAULTY_WAIT_MS if me.policy.faults else me.policy.patience_ms
    until = me.clock() + wait_ms / 1000
    while True:
        told = {source for kind, source in me.record.granted if kind == RAID_GRANT}
        missing = me.raids.granted - told
        if not missing:
            return
        if me.clock() > until:
            if me.policy.faults:
                return
            me.meter.error(f"{me.name}: the rewards of raids {sorted(missing)} never came")
            return
        event = yield Receive(CENTER, LISTEN_MS)
        if event is not None:
            overhear(me, event)
        else:
            yield from stay_known(me)


def compare_ranking(me: Hero) -> Walk[None]:
    """The board shows the best of all results that were told (or more, while faults hide some)."""
    retry = Retry(me, "reading the ranking")
    while True:
        board = yield from ask(me, CENTER, RankingAround())
        best = me.raids.best
        if board.own_score == best or (me.policy.faults and board.own_score >= best):
            return
        if board.own_score > best:
            me.meter.error(f"{me.name}: the ranking says {board.own_score}, best told {best}")
            return
        yield from retry.again(f"the ranking says {board.own_score}, best told {best}")
