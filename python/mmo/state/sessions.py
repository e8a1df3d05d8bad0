"""The sessions that one center holds: who is connected here and which server owns him.

Volatile: after a restart a client shows its session token and is known again. Changes only through
the effects of this file. The truth about places is the head row; this is what a center saw last.
"""

from typing import Any, ClassVar

import msgspec

from mmo.state.change import Effect


class Session(msgspec.Struct, frozen=True):
    """One player connected to this center. `place`: server that owns him as far as known, 0
    nobody; `place_epoch`: of the newest claim that this center knows of, 0 none."""

    user: int
    name: str
    session_epoch: int
    conn: int
    place: int
    place_epoch: int = 0


class Sessions:
    """All sessions of a center by user."""

    __slots__ = ("moving", "of_user")

    def __init__(self) -> None:
        self.of_user: dict[int, Session] = {}
        self.moving: dict[
            int, int
        ] = {}  # user -> when a move that nobody finished is over, unix ms

    def get(self, user: int) -> Session | None:
        """The session of a user held here."""
        return self.of_user.get(user)

    def __len__(self) -> int:
        return len(self.of_user)


class SessionsEffect(Effect, frozen=True):
    """Base of the effects on `sessions`."""

    of: ClassVar[str] = "sessions"


class SessionHeld(SessionsEffect, frozen=True):
    """A player entered here, anew or on a new connection."""

    session: Session

    def apply(self, state: Any) -> None:
        state.moving.pop(self.session.user, None)
        state.of_user[self.session.user] = self.session


class SessionPlaced(SessionsEffect, frozen=True):
    """Another server owns him now; 0: the connection there ended. `place_epoch` 0: not known."""

    user: int
    place: int
    place_epoch: int = 0

    def apply(self, state: Any) -> None:
        state.moving.pop(self.user, None)
        session = state.of_user.get(self.user)
        if session is not None:
            state.of_user[self.user] = msgspec.structs.replace(
                session,
                place=self.place,
                place_epoch=max(session.place_epoch, self.place_epoch),
            )


class SessionLost(SessionsEffect, frozen=True):
    """This center holds no session of the user any more."""

    user: int

    def apply(self, state: Any) -> None:
        state.moving.pop(self.user, None)
        state.of_user.pop(self.user, None)


class MoveBegun(SessionsEffect, frozen=True):
    """A player of the lobby has a token for another server; he is shown as moving until then."""

    user: int
    over_ms: int

    def apply(self, state: Any) -> None:
        state.moving[self.user] = self.over_ms


class MoveOver(SessionsEffect, frozen=True):
    """He never arrived there; he is in the lobby as before."""

    user: int

    def apply(self, state: Any) -> None:
        state.moving.pop(self.user, None)
