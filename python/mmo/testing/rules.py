"""What a rule is called with in a test of its own: an environment without a node.

Owns the defaults of such a test. For rules of games outside of this package as well as for those in
the box; anything that a rule does not look at may be left out.
"""

import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from mmo.content.tables import Content, load_content
from mmo.contract import Env, NodeView, Sender

NOW_MS = 1_800_000_000_000


def an_env(
    user: int = 1,
    *,
    role: str = "channel",
    now_ms: int = NOW_MS,
    seed: int = 1,
    content: Content | None = None,
    own: Mapping[str, Any] = MappingProxyType({}),
) -> Env:
    """The environment of a message of `user`. `content`: tables, those in the box by themselves;
    `own`: tables of a game, as `env.content.own` has them."""
    tables = content if content is not None else load_content()
    if own:
        tables = msgspec.structs.replace(tables, own=MappingProxyType(dict(own)))
    uids = iter(range(1, 1 << 32))
    return Env(
        now_ms=now_ms, rng=random.Random(seed), content=tables,
        node=NodeView(11, f"{role}-1", role, 1, 1), sender=Sender(1, user, 1),
        new_uid=lambda: next(uids),
    )  # fmt: skip
