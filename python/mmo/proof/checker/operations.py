"""Checks 1, 2, 4, 5 and 6: operations against the log, versions, real-time order, ownership.

Owns these judgements over one player at a time. Called by the command.
"""

from bisect import bisect_left, bisect_right
from itertools import accumulate, pairwise

from mmo.proof.checker.findings import Findings
from mmo.proof.checker.history import Claim, Number, Operation
from mmo.proof.checker.truth import PlayerBooks, dumped

WELCOME, SESSION_OK = 300, 301
INTERNAL = 1
"""The refusal with which a server says that the fault is its own."""

LOGIN_OK = 203
LOGOUT_OK = 308

Owned = list[tuple[Number, Operation]]


def check_operations(books: PlayerBooks, mine: Owned, found: Findings) -> None:
    """Acknowledged operations are in the log once with the same bytes, others as they were sent
    or not at all; nothing else is."""
    logged = {(event.epoch, event.counter): event for event in books.events if event.epoch > 0}
    known = {(number[1], number[2]): operation for number, operation in mine}
    for (name, epoch, counter), operation in mine:
        what = f"{name} {epoch}/{counter} (opcode {operation.opcode})"
        event = logged.get((epoch, counter))
        if any(code == INTERNAL for _, code in operation.refusals):
            found.add("available", "internal", f"{what} met a fault of the server's own")
        if operation.differing:
            found.add("acknowledged", "answered-twice", f"{what} got different answers")
        if operation.answer is not None:
            if event is None:
                if epoch >= books.floor:
                    found.add("acknowledged", "lost", f"{what} was acknowledged, is not in the log")
                continue
            if event.answer != operation.answer:
                found.add(
                    "acknowledged", "differs",
                    f"{what} was told {dumped(operation.answer)}, logged {dumped(event.answer)}",
                )  # fmt: skip
            if operation.answered - {event.hash}:
                text = f"{what}: another request of the same number was answered"
                found.add("acknowledged", "another-request", text)
        elif event is not None:
            if operation.was_refused:
                code, text = operation.refusals[-1][1], "was refused, is in the log"
                found.add("unknown", "refused-yet-done", f"{what} {text} ({code})")
            if event.hash not in {asked for _, _, asked in operation.sent}:
                text = f"{what} was done as another request than any that was sent"
                found.add("unknown", "another-request", text)
    hashes: dict[bytes, tuple[int, int]] = {}
    for number, event in logged.items():
        if number not in known:
            found.add(
                "acknowledged", "never-sent", f"user {books.user} {number[0]}/{number[1]} is in "
                f"the log (version {event.version}), nobody asked for it",
            )  # fmt: skip
        if hashes.setdefault(event.hash, number) != number:
            found.add("acknowledged", "duplicated", f"user {books.user}: {number} repeats another")
    asked = {operation.hash: number for number, operation in mine}
    for event in books.events:
        if event.epoch <= 0 and event.hash in asked:
            found.add(
                "acknowledged", "duplicated",
                f"{asked[event.hash]} was also done under no number, version {event.version}",
            )  # fmt: skip


def check_versions(books: PlayerBooks, found: Findings) -> None:
    """1, 2, 3, … up to the head; lines of other books name versions that the log has."""
    versions = [event.version for event in books.events]
    first = versions[0] if versions else 0
    follow = versions == list(range(first, first + len(versions)))
    begins = first == 1 or bool(books.floor)
    if (versions or books.version) and not (follow and begins):
        text = f"user {books.user}: the log's versions have gaps or repeats"
        found.add("versions", "gap", f"{text}: {_gaps(versions)}")
    if (versions[-1] if versions else 0) != books.version:
        last = versions[-1] if versions else 0
        text = f"user {books.user}: head at {books.version}, log at {last}"
        found.add("versions", "head", text)
    have = set(versions)
    used = {line[0] for line in books.lines} | {birth[0] for birth in books.births}
    used |= {attempt[2] for attempt in books.attempts} | {claim[3] for claim in books.claims}
    used |= {grant[3] for grant in books.grants if grant[3] is not None}
    for version in sorted(used - have):
        if not books.floor or version > books.version:
            found.add("versions", "line", f"user {books.user}: lines of version {version}, no log")


def _gaps(versions: list[int]) -> list[int]:
    return [b for a, b in pairwise(versions) if b != a + 1][:5]


def check_order(books: PlayerBooks, mine: Owned, found: Findings) -> None:
    """Acknowledged before another began: its version is lower."""
    version = {(event.epoch, event.counter): event.version for event in books.events}
    timed = sorted(
        (version[number[1], number[2]], operation.sent[0][0], operation.answers[0][0], number)
        for number, operation in mine
        if operation.answers and operation.sent and (number[1], number[2]) in version
    )
    earliest: tuple[int, Number | None] = (1 << 63, None)
    for _, sent, answered, number in reversed(timed):
        if earliest[0] < sent:
            found.add(
                "order", "reversed", f"{earliest[1]} was acknowledged before {number} was sent, "
                "and has a later version",
            )  # fmt: skip
        earliest = min(earliest, (answered, number), key=lambda one: one[0])


def check_owner(mine: Owned, claims: list[Claim], found: Findings) -> None:
    """After a claim was acknowledged, no other server acknowledges what is sent to it, unless a
    claim at it was begun since. A login and a logout take the player from everyone. No token of an
    older session lets in."""
    _check_sessions(claims, found)
    done = sorted(
        (claim for claim in claims if claim.opcode in (WELCOME, LOGIN_OK, LOGOUT_OK)),
        key=lambda claim: claim.answered_at,
    )
    moments = [claim.answered_at for claim in done]
    begun: dict[int, list[int]] = {}
    for claim in claims:
        if claim.what in ("token", "lobby"):
            begun.setdefault(claim.port, []).append(claim.at)
    for number, operation in mine:
        if len(operation.sent) > 1:
            continue  # a repeat may be answered from the record, by whoever has it
        for at, port in operation.answers:
            sent = max((x for x, to, _ in operation.sent if to == port and x < at), default=0)
            place = bisect_right(moments, sent) - 1
            if not sent or place < 0:
                continue
            owner = done[place]
            takes = owner.what in ("token", "lobby")
            if takes and owner.port == port:
                continue
            if any(owner.at <= then < at for then in begun.get(port, ())):
                continue
            late_ms = (sent - owner.answered_at) / 1e6
            who = f"a {owner.what} at port {owner.port} took him"
            text = f"{number} was sent to port {port} {late_ms:.1f} ms after {who}, and done there"
            found.add("owner", "stale-owner", text)


def _check_sessions(claims: list[Claim], found: Findings) -> None:
    """Epochs of a player's sessions only rise, and a server compares that of a token with the
    player's in the commit that lets him in. So once an answer named a higher one, no token of a
    lower one that is shown afterwards lets in: not where he is owned, nor at a center beside it."""
    told = sorted((claim.answered_at, claim.epoch_told) for claim in claims if claim.epoch_told)
    moments = [at for at, _ in told]
    highest = list(accumulate((epoch for _, epoch in told), max))
    for claim in claims:
        place = bisect_left(moments, claim.at) - 1
        if place < 0 or not claim.epoch or claim.opcode not in (WELCOME, SESSION_OK):
            continue
        if claim.epoch < highest[place]:
            text = f"{claim.name}: a {claim.typ} of session {claim.epoch} let in at port"
            text += f" {claim.port}, he was told of {highest[place]} before"
            found.add("owner", "old-session", text)
