"""The roles in the box, by name.

Owns their loading by name, so that a node imports only its own role. Called by `run` and `check`.
"""

import importlib

from mmo.config import ROLES as ROLE_NAMES
from mmo.contract import Role
from mmo.errors import OperatorError

__all__ = ["ROLE_NAMES", "load_role"]


def load_role(name: str) -> Role:
    """The role `name`. Raises `OperatorError` E0713 for a name that is none."""
    if name not in ROLE_NAMES:
        raise OperatorError("E0713", f"no role {name!r}", "one of: " + ", ".join(ROLE_NAMES))
    role = importlib.import_module(f"mmo.roles.{name}").ROLE
    assert isinstance(role, Role)
    return role
