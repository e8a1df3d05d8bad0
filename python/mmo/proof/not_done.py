"""What a fault raises that was not done, or of which nobody can say whether it was.

Owns these words. Raised by what breaks a cluster, caught by whoever told it to.
"""

import mysql.connector
import redis

from mmo.errors import MmoError


class Uncertain(LookupError):
    """It was ordered or begun, and may have been done: what it would excuse is excused, and it is
    not counted."""


OF_DRIVERS = (
    mysql.connector.Error,
    redis.RedisError,
    redis.exceptions.RedisClusterException,
)
"""What the drivers of the stores raise while a store is away; no common word of Python's."""

NOT_NOW = (LookupError, OSError, MmoError, *OF_DRIVERS)
"""What a fault raises that cannot be done now."""
