"""Numbers on the wire: opcodes, refusal codes, close reasons.

Opcodes by hundreds per system; 0-15 lifecycle, 16-99 links between servers. A number is never
reused. The core reads 1-5, 103 and 105 by value; everything else is opaque to it.
"""

from enum import IntEnum

PROTOCOL_NUMBER = 1
OPCODE_GAME_MIN = 10_000
"""Opcodes from here on belong to games of one's own; the box never takes one."""


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
    LEASE_SEEN = 30  # any -> any: how long ago the sender renewed its lease
    GRANT_WAITING = 31  # cash, raid -> centers -> owner: look at the grants of `user` now
    TICKET_PUT = 32  # center -> matching: a player waits for a raid
    TICKET_PUT_OK = 33
    TICKET_CANCEL = 34  # center -> matching: he waits no more
    TICKET_CANCELLED = 35
    TICKETS_HELD = 36  # matching -> center: what it holds of this center's tickets
    TICKETS_ALL = 37  # center -> matching: all of them again
    TICKET_EXPLAIN = 38  # center -> matching
    TICKET_EXPLAINED = 39
    RAID_RESERVE = 40  # matching -> raid: a room for this team
    RAID_RESERVED = 41
    RAID_RELEASE = 42  # matching -> raid: the reservation is given up
    RAID_TEAM_FOUND = 43  # matching, raid -> center: prepare the token of this member
    RAID_TEAM_FAILED = 44  # matching -> center: the ticket is gone without a raid
    RAID_OVER = 45  # raid -> centers, matching: settled, its members are free
    SEAT_SEEK = 50  # channel -> center: find this player a seat elsewhere, I am leaving
    SEAT_FOUND = 51  # center -> channel: where, and the token for it

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
    PLACE_SEEN = 311  # internal: the sweep found a session's player at another server
    SERVER_LEAVING = 312  # push: this server ends soon; go there
    NODE_LEAVING = 313  # internal: this node drains; where does this player go?

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
    GRANT_REWARD = 413  # push after commit: what a grant gave

    # inventory (player systems: channel and center)
    BAG = 500
    BAG_OK = 501
    ITEM_USE = 502
    ITEM_USE_OK = 503
    ITEM_DROP = 504
    ITEM_DROP_OK = 505
    ITEM_MOVE = 506
    ITEM_MOVE_OK = 507
    ITEM_SPLIT = 508
    ITEM_SPLIT_OK = 509
    ITEM_EQUIP = 510
    ITEM_EQUIP_OK = 511
    ITEM_UNEQUIP = 512
    ITEM_UNEQUIP_OK = 513
    ITEMS_EXPIRED = 514  # push: rental days are over
    ITEMS_EXPIRE = 515  # internal

    # enhancement
    ENHANCE = 600
    ENHANCE_OK = 601
    ODDS = 602
    ODDS_OK = 603
    ROLL_KEYS = 604
    ROLL_KEYS_OK = 605
    ROLL_KEYS_SEEN = 606  # internal: what this node read of the published keys

    # shop
    SHOP_PAGE = 700
    SHOP_PAGE_OK = 701
    BUY = 702
    BUY_OK = 703

    # season pass
    PASS_PAGE = 800
    PASS_PAGE_OK = 801
    PASS_STATE = 802
    PASS_STATE_OK = 803
    PASS_CLAIM = 804
    PASS_CLAIM_OK = 805
    PASS_BUY = 806
    PASS_BUY_OK = 807
    PASS_PROGRESS = 808  # push
    PASS_EVENT = 809  # internal: an event without a commit of its own, such as a login

    # cash
    CASH_CHANGED = 900  # push after a grant of cash was claimed
    PAYMENT_NOTICE = 901  # internal: edge result at the cash role

    # waiting for a raid (center)
    RAID_QUEUE = 1000
    RAID_QUEUE_OK = 1001
    RAID_CANCEL = 1002
    RAID_CANCEL_OK = 1003
    RAID_EXPLAIN = 1004
    RAID_EXPLAIN_OK = 1005
    RAID_MATCHED = 1006  # push, and the answer to RAID_REJOIN
    RAID_UNMATCHED = 1007  # push
    RAID_REJOIN = 1008
    RAID_FREED = 1009  # push: the raid is over
    RAID_PARTY = 1010
    RAID_PARTY_OK = 1011
    RAID_QUEUE_CARDED = 1012  # internal: edge result
    RAID_REJOIN_CARDED = 1013  # internal: edge result
    RAID_QUEUE_LEFT = 1014  # internal: the connection of a player who waited ended

    # a raid (raid)
    RAID_ENTERED = 1100  # answer to ENTER
    DATAGRAM_KEY = 1101  # push
    RAID_READY = 1102
    RAID_READY_OK = 1103
    RAID_TEAM = 1104  # push
    RAID_START = 1105  # push
    RAID_ACT = 1106
    RAID_ACT_OK = 1107
    RAID_STRUCK = 1108  # push
    RAID_STREAM = 1109  # lossy push
    RAID_ENDED = 1110  # push
    RAID_LEAVE = 1111
    RAID_LEAVE_OK = 1112
    RAID_ORPHAN = 1113  # internal: an unsettled raid of a dead server

    # ranking (center)
    RANKING_PAGE = 1200
    RANKING_AROUND = 1201
    RANKING_FRIENDS = 1202
    RANKING_OK = 1203
    RANKING_READ = 1204  # internal: edge result


INTERNAL = frozenset(
    {
        Op.ENTER,  # on the wire its body is the token itself
        Op.REGISTER_HASHED,
        Op.LOGIN_VERIFIED,
        Op.PLACE_SEEN,
        Op.NODE_LEAVING,
        Op.KILL_EARNED,
        Op.GRANT_CLAIM,
        Op.ITEMS_EXPIRE,
        Op.ROLL_KEYS_SEEN,
        Op.PASS_EVENT,
        Op.PAYMENT_NOTICE,
        Op.RAID_QUEUE_CARDED,
        Op.RAID_REJOIN_CARDED,
        Op.RAID_QUEUE_LEFT,
        Op.RAID_ORPHAN,
        Op.RANKING_READ,
    }
)
"""Opcodes whose message never leaves a node: no client knows it, so none is refused over it."""


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
    LOCKED_OUT = 204  # wrong passwords, or registrations; the detail is the seconds left
    LOGIN_LINE_FULL = 205  # the detail is the seconds to wait
    BANNED = 206  # the operator shut the account; the detail is the seconds left

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

    ITEM_UNKNOWN = 500
    ITEM_STALE = 501
    SLOT_INVALID = 502
    BAG_FULL = 503
    NOT_USABLE = 504
    NOT_EQUIPMENT = 505
    COUNT_INVALID = 506
    EQUIPPED = 507  # take it off first
    NOT_STACKABLE = 508
    ENHANCE_MAX = 600
    NOT_ENHANCEABLE = 601
    ROLL_DAY_OVER = 602  # the session began too long ago to roll: log in again
    NOT_ENOUGH_GOLD = 700
    NOT_ENOUGH_CASH = 701
    NOT_ENOUGH_MILEAGE = 702
    SHOP_LINE_UNKNOWN = 703
    PRICE_CHANGED = 704  # the detail is what counts now: catalogue number, pass price, odds table
    NOT_ON_SALE = 705
    DAILY_LIMIT = 706
    QUANTITY_INVALID = 707
    COINS_LIMIT = 708
    PASS_UNKNOWN = 800
    PASS_NOT_RUNNING = 801
    PASS_LEVEL_MISSING = 802
    PASS_LINE_MISSING = 803
    PASS_ALREADY_CLAIMED = 804
    PASS_REWARD_UNKNOWN = 805
    PASS_LINE_OWNED = 806
    RAID_KIND_UNKNOWN = 1000
    ALREADY_QUEUED = 1001
    NOT_QUEUED = 1002
    ALREADY_IN_RAID = 1003  # rejoin it, or wait for its end
    NOT_IN_RAID = 1004
    RAID_ENTRIES_SPENT = 1005  # the day's entries of this kind are used
    PARTY_INVALID = 1006  # size outside the kind's team, or the party is full
    MATCHING_AWAY = 1007
    ALREADY_MATCHED = 1008  # too late to cancel: the team is formed
    RAID_LEVEL_MISSING = 1009
    RAID_NOT_RUNNING = 1100
    RAID_ACTION_UNKNOWN = 1101
    RAID_FALLEN = 1102  # the detail is the milliseconds until he stands again, 0 never
    RAID_INPUTS_FULL = 1103
    RANKING_SEASON_UNKNOWN = 1200


class CloseReason(IntEnum):
    """Why a connection ended: the numbers of the core's close reasons, body of `Op.CLOSING`."""

    PEER_CLOSED = 1
    PROTOCOL_ERROR = 2
    FRAME_TOO_LARGE = 3
    UNKNOWN_OPCODE = 4
    FORBIDDEN_OPCODE = 5
    TOKEN_INVALID = 6
    TOKEN_EXPIRED = 7
    RATE_LIMITED = 8
    SLOW_CONSUMER = 9
    PROVE_TIMEOUT = 10
    FRAME_TIMEOUT = 11
    IDLE = 12
    ADDRESS_LIMIT = 13
    SERVER_FULL = 14
    SERVER_STOPPING = 15
    NODE_FENCED = 16
    SESSION_TAKEN = 17
    KICKED = 18
    LOGGED_OUT = 19
    LINK_LOST = 20
    LINK_REFUSED = 21
    TLS_FAILED = 22
    IO_ERROR = 23
    MOVED = 24
    BAD_MESSAGE = 25
    UNPROVED_BYTES = 26
    OPEN_TIMEOUT = 27
    PROTOCOL_MISMATCH = 28
