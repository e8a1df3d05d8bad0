"""Accounts at the login server: registering, logging in, lockouts.

Receives what the password edge found out and decides: wrong, locked, or a session is opened and the
player sent to a center. Never sees a password.
"""

import ipaddress
import unicodedata

from mmo.content import Content
from mmo.contract import Env, Outcome, Refuse, ToRole, handles
from mmo.state.attempts import Attempt, AttemptFailed, Attempts, AttemptsForgotten
from mmo.state.change import Effect
from mmo.state.place import AccountRegistered, LoginFailed, SessionOpened
from mmo.state.servers import Servers, ServerSeen
from mmo.systems.tokens import LOGIN, new_jti, player_claims, sign
from mmo.wire.messages.account import LoginOk, LoginVerified, RegisterHashed, RegisterOk
from mmo.wire.messages.link import SessionEnded
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code, Op

FORBIDDEN_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
"""Unicode categories that no name may have: controls, invisible formats, what is not assigned."""

NETWORK_BITS = 64
"""Of an IPv6 address: one subscriber has all addresses behind it (RFC 6177)."""


def address_key(address: str) -> str:
    """What failures of an address are counted under: the address, of IPv6 its network alone."""
    try:
        found = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return f"address:{address}"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return f"address:{found.ipv4_mapped}"
        network = int(found) >> NETWORK_BITS << NETWORK_BITS
        return f"address:{ipaddress.IPv6Address(network)}/{NETWORK_BITS}"
    return f"address:{found}"


def name_is_valid(name: str, content: Content) -> bool:
    """Any script, counted in characters after NFC; no control or invisible character, no space at
    either end or two in a row. Quotes and other signs are plain data."""
    account = content.account
    if not account.name_characters_min <= len(name) <= account.name_characters_max:
        return False
    if any(unicodedata.category(character) in FORBIDDEN_CATEGORIES for character in name):
        return False
    return name == " ".join(name.split()) and name == unicodedata.normalize("NFC", name)


@handles(Op.REGISTER_HASHED, by="node")
def register(message: RegisterHashed, *, env: Env) -> Outcome | Refuse:
    """A new account, when its name and password have the form and the name is free."""
    content: Content = env.content
    account = content.account
    if not name_is_valid(message.name, content):
        return Refuse(
            Code.NAME_INVALID,
            f"{account.name_characters_min} to {account.name_characters_max} visible characters",
        )
    low, high = account.password_characters_min, account.password_characters_max
    if not low <= message.password_length <= high:
        return Refuse(Code.PASSWORD_INVALID, f"{low} to {high} characters")
    return Outcome(
        replies=(RegisterOk(message.name),),
        row=AccountRegistered(message.name, message.password_hash, env.now_ms),
        row_refused=Refuse(Code.NAME_TAKEN),
    )


@handles(Op.LOGIN_VERIFIED, by="node", needs=("attempts", "servers"))
def login(
    message: LoginVerified, *, attempts: Attempts, servers: Servers, env: Env
) -> Outcome | Refuse:
    """Wrong, locked, or a session with a token for a center. A lock also refuses the right
    password, so that guessing on cannot be told from having found it."""
    account_key = f"user:{message.user}"
    locked_until_ms = max(
        attempts.get(address_key(env.sender.address)).locked_until_ms,
        message.locked_until_ms if message.user else 0,
        attempts.get(account_key).locked_until_ms if message.user else 0,
    )
    if locked_until_ms > env.now_ms:
        seconds_left = (locked_until_ms - env.now_ms + 999) // 1000
        return Refuse(Code.LOCKED_OUT, str(seconds_left))
    if not message.matches:
        return _wrong(message, attempts, env)
    center = choose_center(servers, env)
    if center is None:
        return Refuse(Code.SERVER_AWAY, "no center")
    return _opened(message, center, account_key, env)


def choose_center(servers: Servers, env: Env) -> ServerSeen | None:
    """The open center with the fewest players, None when no center is heard of."""
    content: Content = env.content
    fresh_ms = env.now_ms - content.channels.load_fresh_ms
    living = [
        server for server in servers.of_role("center") if server.open and server.seen_ms >= fresh_ms
    ]
    return min(living, key=lambda server: (server.users, server.number), default=None)


def _opened(message: LoginVerified, center: ServerSeen, account_key: str, env: Env) -> Outcome:
    """The session row with its token; everything of an older session ends."""
    content: Content = env.content
    jti = new_jti(env)
    token = sign(
        env,
        LOGIN,
        "center",
        player_claims(message.user, message.name, message.session_epoch + 1),
        content.tokens.login_s,
        jti,
    )
    return Outcome(
        replies=(LoginOk(message.user, token, center.host, center.port, center.number),),
        row=SessionOpened(
            user=message.user,
            session_epoch=message.session_epoch,
            center_number=center.number,
            jti=jti,
            expires_ms=env.now_ms + content.tokens.login_s * 1000,
            now_ms=env.now_ms,
        ),
        effects=(AttemptsForgotten(account_key),),
        sends=(ToRole("center", SessionEnded(message.user, message.session_epoch)),),
    )


def _wrong(message: LoginVerified, attempts: Attempts, env: Env) -> Outcome:
    """Count the failure of the address and, for a known name, of the account; the answer is the
    same for an unknown name."""
    content: Content = env.content
    account = content.account
    effects: list[Effect] = []
    row = None
    if env.sender.address:
        key = address_key(env.sender.address)
        known = attempts.get(key)
        quiet = env.now_ms - known.failed_ms > account.failures_forgotten_ms
        failures = 1 if quiet else known.failures + 1
        effects.append(_failed(key, failures, account.address_failures_max, env))
    if message.user:
        key = f"user:{message.user}"
        failures = max(message.failures, attempts.get(key).failures) + 1
        failed = _failed(key, failures, account.failures_max, env)
        effects.append(failed)
        row = LoginFailed(message.user, failures, failed.attempt.locked_until_ms)
    return Outcome(replies=(Refused(Code.CREDENTIALS_WRONG),), row=row, effects=effects)


def _failed(key: str, failures: int, failures_max: int, env: Env) -> AttemptFailed:
    """The new count of a key; at the limit a lock that doubles with each further failure."""
    account = env.content.account
    locked_until_ms = 0
    if failures >= failures_max:
        doublings = min(failures - failures_max, 32)
        lock_ms = min(account.lock_ms_min << doublings, account.lock_ms_max)
        locked_until_ms = env.now_ms + lock_ms
    return AttemptFailed(
        key, Attempt(failures, locked_until_ms, env.now_ms), account.addresses_kept_max
    )
