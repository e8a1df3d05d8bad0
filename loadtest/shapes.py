"""How many users there are at each moment: ramp, plateau, spike, soak, deploy.

Owns the curves. Pure: locust asks once a second through the shape in `locustfile`.
"""

import math
from collections.abc import Callable

from loadtest.profiles import Profile


def users_at(
    profile: Profile, at_s: float, lacks: Callable[[], object] = lambda: False
) -> int | None:
    """Users that shall play `at_s` seconds after the start; None: the end, which waits for a while
    when the run still `lacks` something; asked only then. A soak is a long plateau, a deploy is one
    during which the cluster is changed."""
    if at_s >= profile.time_s and not (at_s < profile.time_s + profile.longer_s and lacks()):
        return None
    if profile.shape == "ramp":
        stair = math.floor(at_s * profile.steps / profile.time_s) + 1
        return math.ceil(profile.users * stair / profile.steps)
    if profile.shape == "spike" and not profile.from_s <= at_s < profile.until_s:
        return profile.quiet_users
    return profile.users
