"""Password hashing in threads of its own, so that the loop never waits for argon2.

Owns the pool and the parameters. Threads as many as configured compute at once; more wait in the
pool's queue, which the waiting line before the edges keeps short. Never sees a name or a user.
Made by `cli run` for the login role only.

The threads give way to everything else on the machine (`nice`): a crowd that logs in at once takes
the processors that are free and none from those who play.
"""

import asyncio
import hashlib
import hmac
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError


class PasswordPool:
    """argon2id over a keyed digest of the password. `pepper`: a secret apart from the store.
    `nice`: 0 to 19, added to the niceness of its threads."""

    def __init__(
        self, threads: int, memory_kib: int, passes: int, pepper: bytes, nice: int = 0
    ) -> None:
        self._pool = ThreadPoolExecutor(threads, "password", _give_way, (nice,))
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)
        self._pepper = pepper
        # Compared for unknown names, so that they take as long as known ones.
        self._nobody = self._hasher.hash(self._keyed("nobody"))

    async def hash(self, password: str) -> str:
        """The text form, with its parameters and salt."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._hasher.hash, self._keyed(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """False for a wrong password, a hash that is none, and for None."""
        loop = asyncio.get_running_loop()
        matches = await loop.run_in_executor(
            self._pool, self._verify, password_hash or self._nobody, self._keyed(password)
        )
        return matches and password_hash is not None

    def _verify(self, password_hash: str, keyed: str) -> bool:
        try:
            return self._hasher.verify(password_hash, keyed)
        except (VerificationError, InvalidHashError):
            return False

    def _keyed(self, password: str) -> str:
        return hmac.new(self._pepper, password.encode(), hashlib.sha256).hexdigest()

    def close(self) -> None:
        """End the threads; what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _give_way(nice: int) -> None:
    """Lower the priority of the calling thread alone, which only Linux can."""
    if nice and sys.platform == "linux":
        thread = threading.get_native_id()
        own = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, own + nice)
