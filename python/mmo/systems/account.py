"""Accounts at the login server: registering, logging in, lockouts.

Refuses who is locked before a hash is spent on him, then receives what the password edge found out
and decides: wrong, locked, shut, or a session is opened and the player sent to a center. Never
looks at a password.
"""

import unicodedata

from mmo.content import Content
from mmo.contract import Env, Outcome, Refuse, ToRole, before, handles
from mmo.state.attempts import (
    NO_ATTEMPT,
    Attempt,
    AttemptFailed,
    Attempts,
    AttemptsForgotten,
    CameIn,
)
from mmo.state.change import Effect
from mmo.state.place import AccountRegistered, LoginFailed, SessionOpened
from mmo.state.servers import Servers, ServerSeen
from mmo.systems.tokens import LOGIN, new_jti, player_claims, sign
from mmo.wire.messages.account import (
    Login,
    LoginOk,
    LoginVerified,
    Register,
    RegisterHashed,
    RegisterOk,
)
from mmo.wire.messages.link import SessionEnded
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code, Op
from mmo.wire.subscriber import subscriber_of

FORBIDDEN_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
"""Unicode categories that no name may have: controls, invisible formats, what is not assigned."""

BLANKS = frozenset(
    map(
        chr,
        (
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F),
            *(0x2800, 0x3164, *range(0xFE00, 0xFE10), 0xFFA0, 0x1D159),
            *range(0xE0100, 0xE01F0),
        ),
    )
)
"""Letters, marks and signs that show nothing: fillers of Hangul, joiners, variation selectors, the
empty pattern of Braille, the head of no note. With them two names would look alike."""

NAME_KEPT_CHARACTERS = 64
"""Of a name that fails; none that exists is longer."""
LONG_OVER_MS = 1
"""A lock that keeps nobody out: the row of an account takes a lower count only with a lock."""


def name_is_valid(name: str, content: Content) -> bool:
    """Any script, counted in characters after NFC; no control or invisible character, no space at
    either end or two in a row. Quotes and other signs are plain data. Asked of new names alone: an
    account keeps the one it has."""
    account = content.account
    if not account.name_characters_min <= len(name) <= account.name_characters_max:
        return False
    if any(
        character in BLANKS or unicodedata.category(character) in FORBIDDEN_CATEGORIES
        for character in name
    ):
        return False
    return name == " ".join(name.split()) and name == unicodedata.normalize("NFC", name)


@before(Op.REGISTER, needs=("attempts",))
def may_register(message: Register, *, attempts: Attempts, env: Env) -> Refuse | None:
    """An address that registered its share gets no hash."""
    return _locked_out(attempts.get(_register_key(env)).locked_until_ms, env)


@before(Op.LOGIN, needs=("attempts",))
def may_log_in(message: Login, *, attempts: Attempts, env: Env) -> Refuse | None:
    """Who is locked gets no hash; a name that nobody has is locked alike."""
    name = unicodedata.normalize("NFC", message.name)
    return _locked_out(_locked_until_ms(name, 0, attempts, env), env)


@handles(Op.REGISTER_HASHED, by="node", needs=("attempts",), when_gone=True)
def register(message: RegisterHashed, *, attempts: Attempts, env: Env) -> Outcome:
    """A new account, when its name and password have the form and the name is free. Every hash
    counts for the address, whatever came of it and whether or not its client waited for it."""
    content: Content = env.content
    account = content.account
    counted = (_registered(attempts, env),)
    if env.sender.gone:
        return Outcome(effects=counted)
    if not name_is_valid(message.name, content):
        low, high = account.name_characters_min, account.name_characters_max
        refused = Refused(Code.NAME_INVALID, f"{low} to {high} visible characters")
        return Outcome(replies=(refused,), effects=counted)
    low, high = account.password_characters_min, account.password_characters_max
    if not low <= message.password_length <= high:
        refused = Refused(Code.PASSWORD_INVALID, f"{low} to {high} characters")
        return Outcome(replies=(refused,), effects=counted)
    return Outcome(
        replies=(RegisterOk(message.name),),
        row=AccountRegistered(message.name, message.password_hash, env.now_ms),
        row_refused=Outcome(replies=(Refused(Code.NAME_TAKEN),), effects=counted),
        effects=counted,
    )


@handles(Op.LOGIN_VERIFIED, by="node", needs=("attempts", "servers"), when_gone=True)
def login(
    message: LoginVerified, *, attempts: Attempts, servers: Servers, env: Env
) -> Outcome | Refuse:
    """Wrong, locked, shut, or a session with a token for a center. A lock also refuses the right
    password, so that guessing on cannot be told from having found it; that an account is shut is
    told to who knows its password alone."""
    until_ms = _locked_until_ms(message.name, message.locked_until_ms, attempts, env)
    refused = _locked_out(until_ms, env)
    if refused is not None:
        return _kept_out(message, refused, attempts, env)
    if not message.matches:
        return _wrong(message, attempts, env)
    if message.banned_until_ms > env.now_ms:
        return Refuse(Code.BANNED, _seconds_left(message.banned_until_ms, env))
    if env.sender.gone:
        return Outcome()  # he may be back by now, and a late session would end his new one
    center = choose_center(servers, env)
    if center is None:
        return Refuse(Code.SERVER_AWAY, "no center")
    return _opened(message, center, env)


def choose_center(servers: Servers, env: Env) -> ServerSeen | None:
    """The open center with the fewest players, None when no center is heard of."""
    content: Content = env.content
    fresh_ms = env.now_ms - content.channels.load_fresh_ms
    living = [
        server for server in servers.of_role("center") if server.open and server.seen_ms >= fresh_ms
    ]
    return min(living, key=lambda server: (server.users, server.number), default=None)


def _opened(message: LoginVerified, center: ServerSeen, env: Env) -> Outcome:
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
        effects=(
            AttemptsForgotten(_pair_key(message.name, env)),
            AttemptsForgotten(_name_key(message.name)),
            CameIn(message.name, _address(env), content.account.homes_kept_max),
        ),
        sends=(ToRole("center", SessionEnded(message.user, message.session_epoch)),),
    )


def _kept_out(
    message: LoginVerified, refused: Refuse, attempts: Attempts, env: Env
) -> Outcome | Refuse:
    """Refused; a lock of the account that this server did not know of is remembered, so that the
    next try costs no hash."""
    key = _name_key(message.name)
    known = attempts.get(key)
    if message.locked_until_ms <= max(known.locked_until_ms, env.now_ms):
        return refused
    learnt = Attempt(message.failures, message.locked_until_ms, env.now_ms, known.address)
    return Outcome(
        replies=(Refused(refused.code, refused.detail),),
        effects=(AttemptFailed(key, learnt, env.content.account.addresses_kept_max),),
    )


def _wrong(message: LoginVerified, attempts: Attempts, env: Env) -> Outcome:
    """Count the failure of the address, of the name from this address, and of the name; the answer
    is the same for an unknown name."""
    account = env.content.account
    effects: list[Effect] = []
    row = None
    if env.sender.address:
        key = f"address:{_address(env)}"
        failures = _one_more(attempts.get(key), account.failures_forgotten_ms, env)
        effects.append(_failed(key, failures, account.address_failures_max, env))
    key = _pair_key(message.name, env)
    failures = _one_more(attempts.get(key), account.account_failures_forgotten_ms, env)
    effects.append(_failed(key, failures, account.failures_max, env))
    # Beyond the limit of its own an address is slowed by its own lock. Alone it locks nobody else
    # out; in turn with others it does.
    of_name = attempts.get(_name_key(message.name))
    if failures <= account.failures_max or of_name.address != _address(env):
        failed, row = _name_failed(message, of_name, env)
        effects.append(failed)
    return Outcome(replies=(Refused(Code.CREDENTIALS_WRONG),), row=row, effects=effects)


def _name_failed(
    message: LoginVerified, known: Attempt, env: Env
) -> tuple[AttemptFailed, LoginFailed | None]:
    """The new count of a name from anywhere, and the row of its account."""
    account = env.content.account
    forgotten_ms = account.account_failures_forgotten_ms
    is_quiet = _is_quiet(known, forgotten_ms, env)
    stored = message.failures
    if stored >= account.account_failures_max:  # then its last failure locked it
        is_over = env.now_ms - message.locked_until_ms > forgotten_ms
    else:
        # What another server counted since is not over for being quiet here.
        is_over = known != NO_ATTEMPT and is_quiet and stored <= known.failures
    failures = max(0 if is_over else stored, 0 if is_quiet else known.failures) + 1
    key = _name_key(message.name)
    failed = _failed(key, failures, account.account_failures_max, env)
    if not message.user:
        return failed, None
    lock_ms = failed.attempt.locked_until_ms or (LONG_OVER_MS if is_over and stored else 0)
    return failed, LoginFailed(message.user, failures, lock_ms)


def _failed(key: str, failures: int, failures_max: int, env: Env) -> AttemptFailed:
    """The new count of a key; at the limit a lock that doubles with each further failure."""
    account = env.content.account
    locked_until_ms = 0
    if failures >= failures_max:
        doublings = min(failures - failures_max, 32)
        lock_ms = min(account.lock_ms_min << doublings, account.lock_ms_max)
        locked_until_ms = env.now_ms + lock_ms
    attempt = Attempt(failures, locked_until_ms, env.now_ms, _address(env))
    return AttemptFailed(key, attempt, account.addresses_kept_max)


def _registered(attempts: Attempts, env: Env) -> AttemptFailed:
    """One more registration of the address; the last of its share locks it until the time of the
    first one is over."""
    account = env.content.account
    known = attempts.get(_register_key(env))
    is_new = env.now_ms - known.failed_ms >= account.registrations_ms
    count, first_ms = (1, env.now_ms) if is_new else (known.failures + 1, known.failed_ms)
    is_last = count >= account.registrations_max
    locked_until_ms = first_ms + account.registrations_ms if is_last else 0
    attempt = Attempt(count, locked_until_ms, first_ms)
    return AttemptFailed(_register_key(env), attempt, account.addresses_kept_max)


def _locked_until_ms(name: str, account_until_ms: int, attempts: Attempts, env: Env) -> int:
    """How long nobody may log in with this name from this address. What others guessed does not
    count where the name came in from last."""
    until_ms = max(
        attempts.get(f"address:{_address(env)}").locked_until_ms,
        attempts.get(_pair_key(name, env)).locked_until_ms,
    )
    if attempts.home_of.get(name) == _address(env):
        return until_ms
    return max(until_ms, account_until_ms, attempts.get(_name_key(name)).locked_until_ms)


def _locked_out(until_ms: int, env: Env) -> Refuse | None:
    if until_ms <= env.now_ms:
        return None
    return Refuse(Code.LOCKED_OUT, _seconds_left(until_ms, env))


def _seconds_left(until_ms: int, env: Env) -> str:
    return str((until_ms - env.now_ms + 999) // 1000)


def _is_quiet(known: Attempt, forgotten_ms: int, env: Env) -> bool:
    return env.now_ms - max(known.failed_ms, known.locked_until_ms) > forgotten_ms


def _one_more(known: Attempt, forgotten_ms: int, env: Env) -> int:
    return 1 if _is_quiet(known, forgotten_ms, env) else known.failures + 1


def _address(env: Env) -> str:
    return subscriber_of(env.sender.address)


def _pair_key(name: str, env: Env) -> str:
    return f"pair:{_address(env)} {name[:NAME_KEPT_CHARACTERS]}"


def _name_key(name: str) -> str:
    return f"name:{name[:NAME_KEPT_CHARACTERS]}"


def _register_key(env: Env) -> str:
    return f"register:{_address(env)}"
