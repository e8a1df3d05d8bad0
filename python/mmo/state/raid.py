"""Raids as the books know them: rows that open, start, settle and take over, and what is read.

A raid is an aggregate of its own: it commits by its own guarded row, never together with a player's
head. What members earn are grants that their owners claim. Written for `systems.raid`, read by the
store.
"""

from enum import IntEnum

import msgspec

from mmo.state.change import Row


class RaidState(IntEnum):
    """Where a raid stands; 3 and 4 are settled and final."""

    OPEN = 1  # seats are kept, the battle did not start
    RUNNING = 2
    FINISHED = 3
    ABORTED = 4  # entries refunded


class EndReason(IntEnum):
    """Why a raid ended."""

    DEFEATED = 1  # HP 0
    TIME_OVER = 2
    ALL_GONE = 3  # every member left, fell or stayed away
    NEVER_STARTED = 4  # nobody was ready in time; aborted
    SERVER_LOST = 5  # its server died and nobody could go on; aborted
    BROKEN = 6  # its rule failed again and again; aborted
    GIVEN_UP = 7  # matching gave the reservation up; aborted


class RaidMember(msgspec.Struct, frozen=True, array_like=True):
    """One seat. Seats count from 0 in the order of `RaidOpened.members`."""

    user: int
    seat: int
    session_epoch: int
    center: int  # server number that holds his ticket
    ticket: int
    name: str
    level: int
    attack: int


class RaidOpened(Row, frozen=True):
    """A raid with its seats at server `number`. Guard: no member is in another unsettled raid, and
    each has fewer than `entries_max` entries of this kind on `day` (0: no limit); aborted raids do
    not count."""

    raid: int
    kind: int
    map: int
    seed: int
    number: int
    incarnation: int
    season: int
    generation: int
    day: int  # YYYYMMDD in UTC
    entries_max: int
    members: tuple[RaidMember, ...]
    now_ms: int


class RaidSeatPrepared(Row, frozen=True):
    """PREPARE of a raid seat: the jti of the one token that may claim it next; an older is void.
    Guard: the raid is unsettled, `user` is a member, and his head's session epoch matches."""

    raid: int
    user: int
    session_epoch: int
    jti: str
    expires_ms: int


class RaidStarted(Row, frozen=True):
    """The battle runs. Guard: OPEN, at this server and incarnation."""

    raid: int
    number: int
    incarnation: int
    now_ms: int


class RaidScore(msgspec.Struct, frozen=True, array_like=True):
    """What one member takes from a raid; `bundle` is the MessagePack of `state.grant.Bundle`,
    empty: no grant."""

    user: int
    seat: int
    score: int
    bundle: bytes


class RaidSettled(Row, frozen=True):
    """The one result of a raid: state, scores, grants (`SourceKind.RAID`, source id = raid), best
    scores of the season as maxima (0: none), and what a replay needs, in one transaction. Guard:
    unsettled and run by this server and incarnation. True also when it is settled exactly so
    already, so that a lost answer may be asked again."""

    raid: int
    number: int
    incarnation: int
    state: RaidState  # FINISHED or ABORTED
    reason: EndReason
    season: int
    hp: int
    scores: tuple[RaidScore, ...]
    inputs_hash: bytes  # SHA-256 of `replay`
    replay: bytes  # all that repeats the battle, MessagePack
    generation: int
    now_ms: int


class RaidTaken(Row, frozen=True):
    """A living server takes a raid over from a dead one. Guard: unsettled and run by
    `incarnation_before`, whose lease has ended (or which is this server's own earlier life)."""

    raid: int
    number_before: int
    incarnation_before: int
    number: int
    incarnation: int


class RaidEntry(msgspec.Struct, frozen=True):
    """CLAIM of a raid seat: single use of `jti`, at this server only."""

    raid: int
    user: int
    session_epoch: int
    jti: str
    number: int
    incarnation: int
    now_ms: int = 0


class OrphanRaid(msgspec.Struct, frozen=True):
    """An unsettled raid whose server's lease has ended."""

    raid: int
    kind: int
    map: int
    seed: int
    state: RaidState
    number: int
    incarnation: int
    season: int
    generation: int
    members: tuple[RaidMember, ...]
    checkpoint: bytes  # of the last `RaidCheckpoint`, empty: none
    takeovers: int
    opened_ms: int


class RaidCheckpoint(msgspec.Struct, frozen=True):
    """The last kept state of a running raid. Kept only while `incarnation` still runs it."""

    raid: int
    incarnation: int
    tick: int
    blob: bytes


class RaidRecord(msgspec.Struct, frozen=True):
    """One raid as it stands in the books, for replay, audit and the operator."""

    raid: int
    kind: int
    map: int
    seed: int
    state: RaidState
    reason: int
    number: int
    incarnation: int
    season: int
    generation: int
    hp: int
    members: tuple[RaidMember, ...]
    scores: tuple[tuple[int, int], ...]  # (user, score) by seat
    inputs_hash: bytes
    replay: bytes
    opened_ms: int
    started_ms: int
    ended_ms: int
