"""Numbers on the wire: opcodes, refusal codes, close reasons.

Opcodes by hundreds per system; 0-15 lifecycle, 16-99 links between servers. A number is never
reused. The core reads 1-5, 103 and 105 by value; everything else is opaque to it.
"""

from enum import IntEnum

PROTOCOL_NUMBER = 1


class Op(IntEnum):
    """Every message kind. `X` asks, `X_OK` answers; pushes have no request."""

    OPENED = 1
    CLOSED = 2
    PEER_UP = 3
    PEER_DOWN = 4
    STOPPED = 5

    # links between servers
    NODE_HEALTH = 20
    NODE_HEALTH_OK = 21
    SERVER_LOAD = 22  # channel, raid -> center: users, limits, channels
    SEAT_HOLD = 23  # center -> channel: keep a seat for a mover
    SEAT_HELD = 24
    PLAYER_ARRIVED = 25  # channel -> center: claimed
    PLAYER_LEFT = 26  # channel -> center: connection ended or moved away
    PLAYER_MOVED = 27  # center -> old owner: claimed elsewhere, let go
    SESSION_ENDED = 28  # center -> all: this session epoch is over
    SESSION_SEEN = 29  # center -> centers: another center holds the session now

    # every role
    HELLO = 100
    HELLO_OK = 101
    PING = 102
    CLOSING = 103  # core or node -> client: `[reason]`, the connection ends now
    REFUSED = 104
    ENTER = 105  # body: the JWT itself
    PONG = 106

    # account (login)
    REGISTER = 200
    REGISTER_OK = 201
    LOGIN = 202
    LOGIN_OK = 203
    LOGIN_WAIT = 204  # waiting line: your number
    REGISTER_HASHED = 205  # internal: edge result
    LOGIN_VERIFIED = 206  # internal: edge result

    # presence (center, channel)
    WELCOME = 300  # answer to ENTER where the player is owned
    SESSION_OK = 301  # answer to ENTER at a center with a session token while he is owned elsewhere
    SERVER_LIST = 302
    SERVER_LIST_OK = 303
    MOVE = 304
    MOVE_OK = 305
    LOBBY = 306
    LOGOUT = 307
    LOGOUT_OK = 308
    RENEW = 309
    RENEW_OK = 310

    # channels and hunting (channel)
    CHANNEL_LIST = 400
    CHANNEL_LIST_OK = 401
    CHANNEL_ENTER = 402
    CHANNEL_ENTER_OK = 403
    CHANNEL_LEAVE = 404
    CHANNEL_LEAVE_OK = 405
    MONSTERS = 406
    MONSTERS_OK = 407
    HIT = 408
    HIT_OK = 409
    KILL_EARNED = 410  # internal: into the earner's lane
    KILL_REWARD = 411  # push after commit: exp, level, drop
    GRANT_CLAIM = 412  # internal: an unclaimed reward_grant of this player


class Code(IntEnum):
    """Why the game said no; one line each for the client's message table."""

    INTERNAL = 1  # a rule failed; nothing was changed
    RETRY_LATER = 2  # a store or server is away; send the same operation number again
    BUSY = 3  # too many of your messages are waiting
    WRONG_PLACE = 4  # another server owns you now
    BAD_MESSAGE = 5  # does not decode; the detail names the place
    UNKNOWN_MESSAGE = 6
    PROTOCOL_MISMATCH = 7  # the detail names the message that differs
    OPERATION_EXPIRED = 8
    OPERATION_MISMATCH = 9  # same number, different request
    OPERATION_MISSING = 10
    TIMEOUT = 11
    QUARANTINED = 12
    NOT_ENTERED = 13  # no token shown on this connection yet

    NAME_TAKEN = 200
    NAME_INVALID = 201
    PASSWORD_INVALID = 202  # too short, too long
    CREDENTIALS_WRONG = 203  # unknown name and wrong password alike
    LOCKED_OUT = 204  # the detail is the seconds left
    LOGIN_LINE_FULL = 205  # the detail is the seconds to wait

    TOKEN_REFUSED = 300  # spent, of an older session, or not for here
    SERVER_UNKNOWN = 301
    SERVER_FULL = 302
    SERVER_AWAY = 303
    ALREADY_THERE = 304
    SESSION_OVER = 305

    CHANNEL_UNKNOWN = 400
    CHANNEL_FULL = 401
    NOT_IN_CHANNEL = 402
    MONSTER_UNKNOWN = 403
    MONSTER_DEAD = 404
    COOLDOWN = 405  # the detail is the milliseconds left
    ALREADY_IN_CHANNEL = 406
