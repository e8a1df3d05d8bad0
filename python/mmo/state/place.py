"""Where a player is: the rows that open sessions, reserve and claim places, and register
accounts."""

import msgspec

from mmo.state.change import Row


class AccountRegistered(Row, frozen=True):
    """A new account and its first head row. Guard: the name is free."""

    name: str  # NFC
    password_hash: str
    now_ms: int


class SessionOpened(Row, frozen=True):
    """A login: both epochs rise by one, the place is emptied (0), a reservation for a center is
    written, the account's failures and lock are cleared, `login_ms` becomes `last_login_ms`.
    Guard: `session_epoch` is still the one that was read."""

    user: int
    session_epoch: int  # before
    center_number: int
    jti: str
    expires_ms: int
    now_ms: int


class LoginFailed(Row, frozen=True):
    """A wrong password of a known account: failures + 1; with `locked_until_ms` they become what is
    given, fewer too, and the account is locked until then at least."""

    user: int
    failures: int  # after
    locked_until_ms: int


class PlacePrepared(Row, frozen=True):
    """PREPARE: a reservation of `target_number`. Guard: session epoch matches, and with an
    `owner_number` that this server owns the player."""

    user: int
    session_epoch: int
    target_number: int
    jti: str
    expires_ms: int
    owner_number: int = 0


class SessionClosed(Row, frozen=True):
    """Logout: both epochs rise, place 0, reservation cleared. Guard: session epoch matches."""

    user: int
    session_epoch: int


class Claim(msgspec.Struct, frozen=True):
    """CLAIM at `number`, one conditional update. With `jti`: the reservation must name this server
    and jti and not be expired (single use). With `jti` empty: `lobby` takes the player from
    wherever he is (prepare and claim in one), else resumes where `place_number` already is this
    server."""

    user: int
    session_epoch: int
    number: int
    jti: str = ""
    lobby: bool = False
    now_ms: int = 0


class PaymentBooked(Row, frozen=True):
    """A payment or refund of the payment service: the order row and the grant of `amount` cash
    (negative: refund) in one transaction. Guard: the order number was never seen."""

    order: str  # of the payment service, at most 64 ASCII characters
    user: int
    amount: int
    refund_of: str  # the order that is refunded, empty: a charge
    now_ms: int
