"""The tickets and seats of the players whose sessions one center holds.

Owns the volatile state `tickets`: what a matching server is told again when it lost it, and which
seat a player was told of. Changes only through the effects of this file. Who may enter a raid is
decided by the books; a restart forgets all this and the matching server drops what is not told.
"""

from typing import Any, ClassVar

import msgspec

from mmo.state.change import Effect
from mmo.state.match_tickets import SUM_MODULUS


class HeldTicket(msgspec.Struct, frozen=True):
    """One player who waits for a raid. `conn`: the connection that asked for it; `since_ms`: of his
    place in the line, `asked_ms`: of this ticket."""

    ticket: int
    user: int
    session_epoch: int
    conn: int
    kind: int
    level: int
    attack: int
    since_ms: int
    name: str
    party: str
    party_size: int
    asked_ms: int


class Difference(msgspec.Struct, frozen=True):
    """How far a matching server's tickets are from those held here, as told last."""

    incarnation: int
    count: int
    ticket_sum: int
    since_ms: int  # when they began to differ, 0: they do not


class Telling(msgspec.Struct, frozen=True):
    """All tickets on their way to a matching server, part by part; `at`: next of `users`."""

    round: int
    users: tuple[int, ...]
    at: int


class CenterTickets:
    """Tickets by user; `asking` are those that the matching server did not confirm yet."""

    __slots__ = (
        "asking", "differences", "of_user", "rounds", "seats", "telling", "ticket_sum",
    )  # fmt: skip

    def __init__(self) -> None:
        self.of_user: dict[int, HeldTicket] = {}
        self.asking: dict[int, int] = {}  # user -> when he asked, unix ms; oldest first
        self.ticket_sum = 0  # of the confirmed
        self.seats: dict[int, tuple[int, int]] = {}  # user -> (raid, server number) as told him
        self.differences: dict[int, Difference] = {}  # by matching server
        self.telling: dict[int, Telling] = {}  # by matching server
        self.rounds = 0

    def gauges(self) -> dict[str, int]:
        """Sizes that an operator watches: players who wait, and those with a seat in a raid."""
        return {"waiting": len(self.of_user), "seats": len(self.seats)}

    @property
    def confirmed(self) -> int:
        """Number of tickets that the matching server has."""
        return len(self.of_user) - len(self.asking)

    def get(self, user: int) -> HeldTicket | None:
        """The ticket of a player, confirmed or not."""
        return self.of_user.get(user)

    def waits(self, user: int) -> HeldTicket | None:
        """The confirmed ticket of a player."""
        return None if user in self.asking else self.of_user.get(user)

    def drop(self, user: int) -> None:
        """His ticket is over; nothing when he has none."""
        held = self.of_user.pop(user, None)
        if held is not None and self.asking.pop(user, None) is None:
            self.ticket_sum = (self.ticket_sum - held.ticket) % SUM_MODULUS


class TicketsEffect(Effect, frozen=True):
    """Base of the effects on `tickets`."""

    of: ClassVar[str] = "tickets"


class TicketAsked(TicketsEffect, frozen=True):
    """A player wants to wait; an older ticket of his is replaced."""

    held: HeldTicket

    def apply(self, state: Any) -> None:
        state.drop(self.held.user)
        state.of_user[self.held.user] = self.held
        state.asking[self.held.user] = self.held.asked_ms


class TicketConfirmed(TicketsEffect, frozen=True):
    """The matching server lets him wait, in a place of `since_ms`."""

    user: int
    since_ms: int

    def apply(self, state: Any) -> None:
        if state.asking.pop(self.user, None) is not None:
            held = msgspec.structs.replace(state.of_user[self.user], since_ms=self.since_ms)
            state.of_user[self.user] = held
            state.ticket_sum = (state.ticket_sum + held.ticket) % SUM_MODULUS


class TicketOver(TicketsEffect, frozen=True):
    """A player waits no more."""

    user: int

    def apply(self, state: Any) -> None:
        state.drop(self.user)


class PlayerGone(TicketsEffect, frozen=True):
    """His session here is over, and with it what was kept for it."""

    user: int

    def apply(self, state: Any) -> None:
        state.seats.pop(self.user, None)


class SeatTold(TicketsEffect, frozen=True):
    """A player has a token for his seat."""

    user: int
    raid: int
    number: int

    def apply(self, state: Any) -> None:
        state.seats[self.user] = (self.raid, self.number)


class SeatOver(TicketsEffect, frozen=True):
    """His raid is over."""

    user: int

    def apply(self, state: Any) -> None:
        state.seats.pop(self.user, None)


class TicketsCompared(TicketsEffect, frozen=True):
    """What a matching server holds was compared with what is held here."""

    number: int
    difference: Difference

    def apply(self, state: Any) -> None:
        state.differences[self.number] = self.difference


class TellingBegun(TicketsEffect, frozen=True):
    """From now on all tickets are told to a matching server; empty `users`: that there are none."""

    number: int
    users: tuple[int, ...]

    def apply(self, state: Any) -> None:
        state.rounds += 1
        state.telling[self.number] = Telling(state.rounds, self.users, 0)


class TellingMoved(TicketsEffect, frozen=True):
    """Tickets were told up to place `at`; None: all of them."""

    number: int
    at: int | None

    def apply(self, state: Any) -> None:
        if self.at is None:
            del state.telling[self.number]
        else:
            telling = state.telling[self.number]
            state.telling[self.number] = msgspec.structs.replace(telling, at=self.at)
