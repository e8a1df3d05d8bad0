"""What the tokens of this game say. Owns claims and lives; the node signs, the core verifies."""

from collections.abc import Mapping

from mmo.content import Content
from mmo.contract import Env

LOGIN = "login+jwt"
SESSION = "session+jwt"
MOVE = "move+jwt"
RAID = "raid+jwt"


def new_jti(env: Env) -> str:
    """An id that no other token of the cluster has; unique, not secret."""
    return f"{env.node.incarnation:x}-{env.new_uid():x}"


def sign(
    env: Env,
    typ: str,
    audience: str,
    claims: Mapping[str, object],
    life_s: int,
    jti: str,
) -> str:
    """A signed token of type `typ` for `audience` that lives `life_s` seconds from now. `claims`
    must name `sub`, `epoch` and `name`."""
    assert env.sign is not None, f"the role {env.node.role} signs no tokens"
    now_s = env.now_ms // 1000
    return env.sign(
        {**claims, "aud": audience, "nbf": now_s, "exp": now_s + life_s, "jti": jti}, typ
    )


def player_claims(user: int, name: str, session_epoch: int) -> dict[str, object]:
    """The claims that name a player and his session."""
    return {"sub": str(user), "epoch": session_epoch, "name": name}


def session_token(env: Env, user: int, name: str, session_epoch: int) -> str:
    """Resumes this session at any center, and at the server that owns the player."""
    content: Content = env.content
    return sign(
        env,
        SESSION,
        "session",
        player_claims(user, name, session_epoch),
        content.tokens.session_s,
        new_jti(env),
    )
