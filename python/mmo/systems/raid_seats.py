"""Seats of a raid: reserving a room, entering, being ready, parting, leaving, taking over.

Owns who may sit where. A reservation is a row of the books and ends by itself when nobody is ready
in time; a seat belongs to the user and the epoch that the books name. The battle itself and the end
are `systems.raid`. Installed on raid servers.
"""

from collections.abc import Iterable

import msgspec

from mmo.content import Content
from mmo.content.raids import Arena
from mmo.content.tables import EQUIPMENT
from mmo.contract import (
    Close,
    Env,
    Outcome,
    PlayerCard,
    ProveDatagrams,
    Refuse,
    Send,
    ToRole,
    ToUsers,
    handles,
    ticks,
)
from mmo.state.raid import (
    EndReason,
    OrphanRaid,
    RaidMember,
    RaidOpened,
    RaidState,
    RaidTaken,
)
from mmo.state.raid_room import (
    GiveUp,
    Kept,
    MemberEntered,
    MemberLeft,
    MemberParted,
    MemberReady,
    RaidRooms,
    Room,
    RoomOpened,
    RoomRestored,
)
from mmo.state.roll import day_of
from mmo.systems.center_loads import load_of
from mmo.systems.raid_battle import map_of
from mmo.wire.messages.raid import (
    RaidEntered,
    RaidLeave,
    RaidLeaveOk,
    RaidOrphan,
    RaidReady,
    RaidReadyOk,
    RaidTeam,
    TeamRow,
)
from mmo.wire.messages.raid_link import (
    RaidRelease,
    RaidReserve,
    RaidReserved,
    RaidTeamFound,
    Seated,
)
from mmo.wire.messages.session import Disconnected, Entered, Refused
from mmo.wire.opcode import CloseReason, Code, Op

_decode_kept = msgspec.msgpack.Decoder(Kept).decode
_NOT_IN_RAID = Refuse(Code.NOT_IN_RAID)


def power_of(
    content: Content, level: int, worn: Iterable[tuple[int, int, int]], now_ms: int
) -> int:
    """The power of a member: the damage of a blow when hunting, by level and worn equipment as
    (item code, enhancement, expires_ms)."""
    combat = content.combat
    power = combat.damage_bare + level * combat.damage_per_level
    for code, enhance, expires_ms in worn:
        row = content.item(EQUIPMENT, code)
        if row is not None and not 0 < expires_ms <= now_ms:
            power += row.attack_power + enhance * combat.damage_per_enhance
    return power


def team_rows(room: Room) -> list[TeamRow]:
    """The team by seat; who gave his seat up is not in it."""
    return [
        TeamRow(
            member.seat,
            member.user,
            member.name,
            member.level,
            member.ready,
            member.conn != 0,
        )
        for member in room.members
        if not member.left
    ]


def remaining_ms(room: Room, now_ms: int) -> int:
    """Of the battle when it runs, else until it begins without the absent."""
    if room.fighting and room.battle is not None:
        arena: Arena = room.arena
        return (arena.ticks_max - room.battle.tick) * arena.tick_ms
    return max(0, room.until_ms - now_ms)


@handles(Op.RAID_RESERVE, by="peer", peers=("matching",), needs=("raids",), lane="raid")
def reserve(message: RaidReserve, *, raids: RaidRooms, env: Env) -> Outcome:
    """Open a raid for a team and keep its seats, in a lane of the raid's own: while its row is
    offered again and again in an outage, the others go on. So `rooms_max` does not count rooms that
    are being written: the matching server's own count does. Asked again for a raid that is open
    here, the answer is the same. When the books refuse, they do not say for whom: all are named."""
    content: Content = env.content
    node = env.node
    kind = content.raids.kinds.get(message.kind)
    users = [seated.user for seated in message.team]
    known = raids.rooms.get(message.raid)
    if known is not None:
        held = list(known.users) == users
        return Outcome(replies=(_reserved(message.raid, env, held),))
    wrong = kind is None or len(users) != kind.team_size or len(set(users)) != len(users)
    full = len(raids.rooms) >= content.raids.rooms_max
    busy = [user for user in users if user in raids.where]
    if wrong or full or busy or node.draining or kind is None:
        return Outcome(replies=(_reserved(message.raid, env, False, busy),))
    seed = env.rng.getrandbits(62)
    number = map_of(seed, content.raids.weights)
    members = tuple(_member_row(seat, seated) for seat, seated in enumerate(message.team))
    season = content.ranking.season_at(env.now_ms)
    row = RaidOpened(
        raid=message.raid,
        kind=message.kind,
        map=number,
        seed=seed,
        number=node.number,
        incarnation=node.incarnation,
        season=season,
        generation=node.generation,
        day=day_of(env.now_ms),
        entries_max=kind.entries_per_day,
        members=members,
        now_ms=env.now_ms,
    )
    opened = RoomOpened(
        raid=message.raid,
        kind=message.kind,
        map=number,
        seed=seed,
        season=season,
        arena=content.raids.arenas[message.kind, number],
        arena_blob=content.raids.blobs[message.kind, number],
        grace_ms=kind.rejoin_grace_ms,
        members=members,
        until_ms=env.now_ms + kind.waiting_ms,
        now_ms=env.now_ms,
    )
    return Outcome(
        row=row,
        effects=(opened,),
        replies=(_reserved(message.raid, env, True),),
        row_refused=Outcome(replies=(_reserved(message.raid, env, False, users),)),
        row_insists=True,  # a raid in the books without a room would keep its team for ever
    )


def _reserved(raid: int, env: Env, held: bool, busy: Iterable[int] = ()) -> RaidReserved:
    node = env.node
    return RaidReserved(raid, node.number, held, node.host, node.port, list(busy))


def _member_row(seat: int, seated: Seated) -> RaidMember:
    return RaidMember(
        user=seated.user,
        seat=seat,
        session_epoch=seated.session_epoch,
        center=seated.center,
        ticket=seated.ticket,
        name=seated.name,
        level=seated.level,
        attack=seated.attack,
    )


@handles(Op.RAID_RELEASE, by="peer", peers=("matching",), needs=("raids",), lane="raid")
def release(message: RaidRelease, *, raids: RaidRooms, env: Env) -> Outcome:
    """The reservation is given up: the next tick of the room settles it as aborted. A battle that
    runs already is not ended by it. It waits behind a reservation of the raid that is not decided
    yet, whatever link that came on; a raid that is not here then was never opened or is over: said,
    so that its team need not wait for that."""
    if message.raid not in raids.rooms:
        return Outcome(replies=(_reserved(message.raid, env, False),))
    return Outcome(effects=(GiveUp(message.raid, EndReason.GIVEN_UP),))


@handles(Op.ENTER, by="node", needs=("raids",))
def enter(message: Entered, *, raids: RaidRooms, env: Env) -> Outcome:
    """A member whose seat the books gave him now. Level and equipment count as the books have them
    at this moment, not as they were when he queued. Map (-1) and hit points (0) are not told before
    the battle began: a team that nobody begins with gets its entries back, and must not choose."""
    content: Content = env.content
    card: PlayerCard = message.card
    room = raids.rooms.get(message.claims.room)
    member = None if room is None else room.seat_of(env.sender.user)
    if room is None or member is None or member.left or room.give_up:
        return Outcome(
            replies=(Refused(Code.NOT_IN_RAID),),
            closes=(Close(0, CloseReason.TOKEN_INVALID, forget=True),),
        )
    entered = MemberEntered(
        raid=room.raid,
        seat=member.seat,
        conn=env.sender.conn,
        name=card.name,
        level=card.level,
        power=power_of(content, card.level, card.worn, env.now_ms),
        best=card.score_best,
    )
    team = [_entered_row(row, card) if row.seat == member.seat else row for row in team_rows(room)]
    battle = room.battle
    reply = RaidEntered(
        raid=room.raid,
        kind=room.kind,
        map=-1 if battle is None else room.map,
        seat=member.seat,
        state=RaidState.RUNNING if room.fighting else RaidState.OPEN,
        hp=0 if battle is None else battle.hp,
        hp_max=0 if battle is None else battle.hp_max,
        remaining_ms=remaining_ms(room, env.now_ms),
        score=0 if battle is None else battle.score[member.seat],
        team=team,
        now_ms=env.now_ms,
    )
    others = [user for user in room.here() if user != member.user]
    sends: list[Send] = [ProveDatagrams(member.user, room.raid & 0xFFFF_FFFF)]
    if others:
        sends.append(ToUsers(others, RaidTeam(team)))
    return Outcome(replies=(reply,), effects=(entered,), sends=sends)


def _entered_row(row: TeamRow, card: PlayerCard) -> TeamRow:
    return TeamRow(row.seat, row.user, card.name, card.level, row.ready, True)


@handles(Op.CLOSED, by="node", needs=("raids",))
def parted(message: Disconnected, *, raids: RaidRooms, env: Env) -> Outcome:
    """His connection ended: the seat stays for the grace time, and he is not ready any more. The
    end of an older connection than the one he sits on changes nothing."""
    found = raids.room_of(message.user)
    if found is None:
        return Outcome()
    room, member = found
    if not member.conn or env.sender.conn not in (0, member.conn):
        return Outcome()
    team = [
        msgspec.structs.replace(row, ready=False, here=False) if row.seat == member.seat else row
        for row in team_rows(room)
    ]
    others = [user for user in room.here() if user != member.user]
    return Outcome(
        effects=(MemberParted(room.raid, member.seat, env.now_ms),),
        sends=(ToUsers(others, RaidTeam(team)),) if others else (),
    )


@handles(Op.RAID_READY, needs=("raids",))
def ready(message: RaidReady, *, raids: RaidRooms, env: Env) -> Outcome | Refuse:
    """Ready members are a set: said twice it counts once. The room's tick begins the battle."""
    found = raids.room_of(env.sender.user)
    if found is None:
        return _NOT_IN_RAID
    room, member = found
    team = [
        msgspec.structs.replace(row, ready=True) if row.seat == member.seat else row
        for row in team_rows(room)
    ]
    if room.fighting or member.ready:
        return Outcome(replies=(RaidReadyOk(team),))
    others = [user for user in room.here() if user != member.user]
    return Outcome(
        replies=(RaidReadyOk(team),),
        effects=(MemberReady(room.raid, member.seat),),
        sends=(ToUsers(others, RaidTeam(team)),) if others else (),
    )


@handles(Op.RAID_LEAVE, needs=("raids",))
def leave(message: RaidLeave, *, raids: RaidRooms, env: Env) -> Outcome | Refuse:
    """Give the seat up for good. What was scored counts at the end of the raid, and until then he
    stays a member in the books."""
    found = raids.room_of(env.sender.user)
    if found is None:
        return _NOT_IN_RAID
    room, member = found
    team = [row for row in team_rows(room) if row.seat != member.seat]
    others = [user for user in room.here() if user != member.user]
    score = 0 if room.battle is None else room.battle.score[member.seat]
    return Outcome(
        replies=(RaidLeaveOk(score),),
        effects=(MemberLeft(room.raid, member.seat),),
        sends=(ToUsers(others, RaidTeam(team)),) if others else (),
        closes=(Close(0, CloseReason.MOVED, forget=True),),
    )


@handles(Op.RAID_ORPHAN, by="node", needs=("raids",))
def take_over(message: RaidOrphan, *, raids: RaidRooms, env: Env) -> Outcome:
    """The raid of a dead server. With a checkpoint, and not too often yet, its battle goes on here
    when its members came back; otherwise it is ours only to be aborted. The row decides between
    several servers that try."""
    content: Content = env.content
    node = env.node
    row: OrphanRaid = message.row  # type: ignore[assignment]
    if row.raid in raids.rooms or node.draining:
        return Outcome()
    full = len(raids.rooms) >= content.raids.rooms_max
    kept, arena = (None, None) if full else _kept(row, content)
    until_ms = env.now_ms + content.raids.return_wait_ms
    opened = RoomOpened(
        raid=row.raid,
        kind=row.kind,
        map=row.map,
        seed=row.seed,
        season=row.season,
        arena=arena,
        arena_blob=b"" if kept is None else kept.arena,
        grace_ms=kept.grace_ms if kept is not None else 0,
        members=row.members,
        until_ms=until_ms,
        now_ms=env.now_ms,
    )
    give_up = 0 if kept is not None else EndReason.SERVER_LOST
    restored = RoomRestored(opened, kept, row.state == RaidState.RUNNING, give_up)
    taken = RaidTaken(row.raid, row.number, row.incarnation, node.number, node.incarnation)
    sends = () if kept is None else [_found(member, row, env) for member in row.members]
    return Outcome(
        row=taken,
        effects=(restored,),
        sends=sends,
        row_refused=Outcome(),
        row_insists=True,  # taken over without a room it were no orphan, and nobody's
    )


def _kept(row: OrphanRaid, content: Content) -> tuple[Kept, Arena] | tuple[None, None]:
    """The checkpoint of an orphan that may go on, with its arena."""
    if not row.checkpoint or row.takeovers >= content.raids.takeovers_max:
        return None, None
    try:
        kept = _decode_kept(row.checkpoint)
        return kept, content.raids.arena_of(kept.arena)
    except msgspec.MsgspecError:  # of a server with other code: nobody can go on with it
        return None, None


def _found(member: RaidMember, row: OrphanRaid, env: Env) -> ToRole:
    """Every center is told: which one holds the session now is not in the books."""
    node = env.node
    return ToRole(
        "center",
        RaidTeamFound(
            user=member.user,
            session_epoch=member.session_epoch,
            ticket=member.ticket,
            raid=row.raid,
            kind=row.kind,
            number=node.number,
            host=node.host,
            port=node.port,
            seat=member.seat,
        ),
    )


@ticks(every_ms=250, of="raids")
def tell_load(raids: RaidRooms, *, env: Env) -> Outcome:
    """Tell centers and matching where this server is and how many rooms are taken."""
    content: Content = env.content
    load = load_of(env, len(raids.rooms), content.raids.rooms_max)
    return Outcome(sends=(ToRole("center", load), ToRole("matching", load)))
