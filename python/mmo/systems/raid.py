"""A raid from its start to its one result: inputs, ticks, stream, end.

Owns the course of a room: it waits, it fights tick by tick, it is settled once in the books and
gone. All rows of a room after its opening come from its own tick, so two of them never race. Damage
is decided by `systems.raid_battle`; seats by `systems.raid_seats`. Installed on raid servers.
"""

import hashlib

import msgspec

from mmo.content import Content
from mmo.content.raids import Arena
from mmo.contract import (
    Close,
    Env,
    Keep,
    Outcome,
    Refuse,
    Send,
    ToRole,
    ToUser,
    ToUsers,
    broken,
    handles,
    ticks,
)
from mmo.state.raid import (
    EndReason,
    RaidCheckpoint,
    RaidScore,
    RaidSettled,
    RaidStarted,
    RaidState,
)
from mmo.state.raid_battle import Battle, BattleRecord, Fighter, Order, Recorded
from mmo.state.raid_room import (
    BattleBegan,
    InputTaken,
    Kept,
    MemberLeft,
    Pending,
    RaidRooms,
    ReturnAwaited,
    Room,
    RoomAdvanced,
    RoomFreed,
    WhoIsHere,
)
from mmo.systems.raid_battle import RULES, Struck, advance, begin, bundle_of
from mmo.systems.raid_stream import record_of
from mmo.wire.messages.link import GrantWaiting
from mmo.wire.messages.raid import (
    RaidAct,
    RaidActOk,
    RaidEnded,
    RaidStart,
    RaidStream,
    RaidStruck,
    ScoreRow,
)
from mmo.wire.messages.raid_link import RaidOver
from mmo.wire.opcode import CloseReason, Code, Op

_NOT_IN_RAID = Refuse(Code.NOT_IN_RAID)
_NOT_RUNNING = Refuse(Code.RAID_NOT_RUNNING)
_ACTION_UNKNOWN = Refuse(Code.RAID_ACTION_UNKNOWN)
_INPUTS_FULL = Refuse(Code.RAID_INPUTS_FULL)
_LATE_TICKS_MAX = 40  # so much is caught up, one tick more a call; of a longer pause nothing is
_EARLY_TICKS_MAX = 2  # more than that is a clock that was set back: the room goes on by the new one


@handles(Op.RAID_ACT, needs=("raids",), rate="hit")
def act(message: RaidAct, *, raids: RaidRooms, env: Env) -> Outcome | Refuse:
    """One input for the next tick. The client names an action and nothing else; what it does is
    decided by the tick."""
    found = raids.room_of(env.sender.user)
    if found is None:
        return _NOT_IN_RAID
    room, member = found
    battle, seat = room.battle, member.seat
    if battle is None or not room.fighting:
        return _NOT_RUNNING
    arena: Arena = room.arena
    if message.action >= len(arena.actions):
        return _ACTION_UNKNOWN
    stand_at = battle.stand_at[seat]
    if stand_at:
        left_ms = 0 if stand_at < 0 else (stand_at - battle.tick) * arena.tick_ms
        return Refuse(Code.RAID_FALLEN, str(left_ms))
    tick = battle.tick + 1
    ready_at = battle.ready[seat * len(arena.actions) + message.action]
    if ready_at > tick:
        return Refuse(Code.COOLDOWN, str((ready_at - tick) * arena.tick_ms))
    waiting = [each[1] for each in room.pending if each[0] == seat]
    if message.action in waiting:  # its cooldown begins with the next tick
        left_ms = arena.actions[message.action].cooldown * arena.tick_ms
        return Refuse(Code.COOLDOWN, str(left_ms))
    content: Content = env.content
    if len(waiting) >= content.raids.inputs_max:
        return _INPUTS_FULL
    taken = InputTaken(room.raid, seat, message.action, message.number)
    return Outcome(replies=(RaidActOk(tick),), effects=(taken,))


@ticks(every_ms=50, of="raids", each="rooms")
def tick_room(room: Room, *, env: Env) -> Outcome:
    """One step of one room."""
    if room.give_up:
        return _aborted(room, EndReason(room.give_up), env)
    if room.fighting:
        return _fight(room, env)
    return _wait(room, env)


@broken(of="raids")
def give_up_room(room: Room, *, env: Env) -> Outcome:
    """The tick of this room fails again and again: its raid is aborted, entries are given back."""
    return _aborted(room, EndReason.BROKEN, env)


def _wait(room: Room, env: Env) -> Outcome:
    """Begin when all who did not give up are ready, or when the waiting time is over and anybody
    is. Nobody: the raid is aborted."""
    content: Content = env.content
    if room.restored:
        until_ms = env.now_ms + content.raids.return_wait_ms
        return Outcome(effects=(ReturnAwaited(room.raid, until_ms, env.now_ms),))
    coming = [member for member in room.members if not member.left]
    all_ready = bool(coming) and all(member.ready for member in coming)
    if coming and not all_ready and env.now_ms < room.until_ms:
        return Outcome()
    if not any(member.ready for member in coming):
        lost = room.battle is not None
        return _aborted(room, EndReason.SERVER_LOST if lost else EndReason.NEVER_STARTED, env)
    battle = room.battle
    fighters = room.fighters
    if battle is None:
        fighters = tuple(
            Fighter(member.level, member.power, member.conn != 0) for member in room.members
        )
        battle = begin(room.arena, room.seed, fighters)
    arena: Arena = room.arena
    left_ms = (arena.ticks_max - battle.tick) * arena.tick_ms
    start = RaidStart(battle.hp, room.map, left_ms, arena.tick_ms)
    outcome = Outcome(
        effects=(BattleBegan(room.raid, fighters, battle),),
        sends=(ToUsers(WhoIsHere(room), start),),
    )
    if not room.started:
        node = env.node
        outcome.row = RaidStarted(room.raid, node.number, node.incarnation, env.now_ms)
        outcome.row_refused = _lost(room)
    return outcome


def _fight(room: Room, env: Env) -> Outcome:
    """One tick of the battle, two when the room is late. All inputs that wait count in the first
    one, in the order in which they came."""
    arena: Arena = room.arena
    battle = room.battle
    assert battle is not None
    now_ms = env.now_ms
    started_ms = room.started_ms or now_ms - arena.tick_ms
    behind = (now_ms - started_ms) // arena.tick_ms + room.ticks_before - battle.tick
    if not -_EARLY_TICKS_MAX <= behind <= _LATE_TICKS_MAX:
        started_ms = now_ms - (battle.tick + 1 - room.ticks_before) * arena.tick_ms
    elif behind < 0:
        return Outcome()  # the timer is ahead of the clock
    gone = _overstayed(room, now_ms)
    pending = [*room.pending, *gone] if gone else room.pending
    battle, struck = advance(arena, battle, [each[:3] for each in pending])
    recorded: list[Recorded] = [(battle.tick, *each[:3]) for each in pending]
    sends = _told(room, pending, struck, battle.tick)
    if 2 <= behind <= _LATE_TICKS_MAX and not battle.ended:
        battle, _ = advance(arena, battle, [])
    if battle.ended:
        return _finished(room, battle, recorded, sends, env)
    sends.append(ToUsers(room.here(), RaidStream(record_of(arena, battle)), lossy=True))
    content: Content = env.content
    kept_ms = room.kept_ms
    if now_ms - kept_ms >= content.raids.checkpoint_ms:
        kept_ms = now_ms
        sends.append(_keep(room, battle, recorded, env))
    advanced = RoomAdvanced(
        raid=room.raid,
        battle=battle,
        taken=len(room.pending),
        recorded=recorded,
        started_ms=started_ms,
        kept_ms=kept_ms,
    )
    effects: list[RoomAdvanced | MemberLeft] = [advanced]
    if gone:
        # the orders are in this tick already: only the seats are given up
        effects += [MemberLeft(room.raid, each[0], told=True) for each in gone]
    return Outcome(effects=effects, sends=sends)


def _overstayed(room: Room, now_ms: int) -> list[Pending]:
    """Members who were away longer than the grace: they leave in this tick."""
    return [
        (member.seat, int(Order.LEAVE), 0, 0)
        for member in room.members
        if not member.conn and not member.left and now_ms - member.away_ms >= room.grace_ms
    ]


def _told(room: Room, pending: list[Pending], struck: list[Struck], tick: int) -> list[Send]:
    """What each striker hears."""
    sends: list[Send] = []
    for index, damage, score, hp in struck:
        seat, _, _, number = pending[index]
        user = room.members[seat].user
        sends.append(ToUser(user, RaidStruck(number, tick, damage, score, hp)))
    return sends


def _keep(room: Room, battle: Battle, recorded: list[Recorded], env: Env) -> Keep:
    kept = Kept(
        arena=room.arena_blob,
        grace_ms=room.grace_ms,
        fighters=room.fighters,
        bests=tuple(member.best for member in room.members),
        battle=battle,
        inputs=room.inputs + recorded,
    )
    blob = msgspec.msgpack.encode(kept)
    return Keep(RaidCheckpoint(room.raid, env.node.incarnation, battle.tick, blob))


def _finished(
    room: Room, battle: Battle, recorded: list[Recorded], sends: list[Send], env: Env
) -> Outcome:
    """The one result. Everything is told after it is in the books."""
    node = env.node
    arena: Arena = room.arena
    record = BattleRecord(
        rules=RULES,
        arena=room.arena_blob,
        seed=room.seed,
        fighters=room.fighters,
        inputs=room.inputs + recorded,
    )
    replay = msgspec.msgpack.encode(record)
    scores = []
    for member in room.members:
        bundle = bundle_of(arena, battle, room.seed, member.seat)
        blob = b"" if bundle is None else msgspec.msgpack.encode(bundle)
        scores.append(RaidScore(member.user, member.seat, battle.score[member.seat], blob))
    row = RaidSettled(
        raid=room.raid,
        number=node.number,
        incarnation=node.incarnation,
        state=RaidState.FINISHED,
        reason=EndReason(battle.ended),
        season=room.season,
        hp=battle.hp,
        scores=tuple(scores),
        inputs_hash=hashlib.sha256(replay).digest(),
        replay=replay,
        generation=node.generation,
        now_ms=env.now_ms,
    )
    rows = [
        ScoreRow(one.seat, one.user, m.name, one.score, one.score > m.best, one.bundle != b"")
        for m, one in zip(room.members, scores, strict=True)
    ]
    rows.sort(key=lambda row: (-row.score, row.seat))
    ended = RaidEnded(room.raid, battle.ended, battle.hp, rows)
    sends.append(ToUsers(room.here(), RaidStream(record_of(arena, battle)), lossy=True))
    return _settled(room, row, ended, sends)


def _aborted(room: Room, reason: EndReason, env: Env) -> Outcome:
    """No result: entries are given back, nobody scored."""
    node = env.node
    row = RaidSettled(
        raid=room.raid,
        number=node.number,
        incarnation=node.incarnation,
        state=RaidState.ABORTED,
        reason=reason,
        season=room.season,
        hp=0 if room.battle is None else room.battle.hp,
        scores=(),
        inputs_hash=b"",
        replay=b"",
        generation=node.generation,
        now_ms=env.now_ms,
    )
    rows = [ScoreRow(one.seat, one.user, one.name, 0, False) for one in room.members]
    return _settled(room, row, RaidEnded(room.raid, reason, row.hp, rows), [])


def _settled(room: Room, row: RaidSettled, ended: RaidEnded, sends: list[Send]) -> Outcome:
    """Settle, then tell members, centers (whose owners claim the rewards now) and matching, and
    free the room."""
    over = RaidOver(room.raid, list(room.users), row.state == RaidState.FINISHED)
    sends.append(ToUsers(WhoIsHere(room), ended))
    sends += [ToRole("center", over), ToRole("matching", over)]
    sends += [ToRole("center", GrantWaiting(one.user)) for one in row.scores if one.bundle]
    return Outcome(
        row=row,
        row_refused=_lost(room),
        effects=(RoomFreed(room.raid),),
        sends=sends,
        closes=_dismissed(room),
    )


def _lost(room: Room) -> Outcome:
    """Another server has the raid or settled it: nothing is told from here."""
    return Outcome(
        effects=(RoomFreed(room.raid),),
        closes=_dismissed(room),
    )


def _dismissed(room: Room) -> list[Close]:
    """Also who is away now: he may come back while the row is on its way."""
    return [Close(user, CloseReason.MOVED, forget=True) for user in room.staying()]
