"""The login server: passwords in, login tokens out. Owns no player."""

from mmo.contract import Role
from mmo.systems import volatile

ROLE = Role(
    name="login",
    systems=("account", "center_loads", "health"),
    edges=("password",),
    states={"attempts": volatile.attempts, "servers": volatile.servers},
    dials=("center",),
    signs=True,
)
