"""The two stores of a machine as the supervisor sees them: started side by side, watched, mended.

Owns whether they are managed here or external, and the restart of what ended. Never reads a
player's data. Called by the supervisor, on its loop; blocking work runs in threads.
"""

import asyncio
import shutil
import socket
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from mmo.cluster.home import Home
from mmo.cluster.mysql_server import ManagedMysql, find_mariadbd
from mmo.cluster.mysql_server import server_version as mysql_version
from mmo.cluster.process import Child
from mmo.cluster.redis_servers import SERVERS, ManagedRedis, find_redis_server
from mmo.cluster.redis_servers import server_version as redis_version
from mmo.cluster.restarts import wait_ms
from mmo.cluster.secret_files import Secrets
from mmo.cluster.supervisor_log import log_line
from mmo.cluster.topology import PortBlock
from mmo.config import Config
from mmo.errors import OperatorError

CONNECT_S = 2.0
SERVES_EVERY_S = 0.2
"""How often a cache server that was started again is asked whether it serves."""
NOT_SERVING = "it runs and does not serve all of the cache yet"


class Stores:
    """Redis Cluster and MySQL of this cluster."""

    def __init__(self, home: Home, config: Config, secrets: Secrets, block: PortBlock) -> None:
        self.config = config
        self.mysql: ManagedMysql | None = None
        self.redis: ManagedRedis | None = None
        self.mysql_ready = False
        self.redis_ready = False
        self.restarts: dict[str, int] = {}
        self.errors: dict[str, str] = {}
        self._mysql_started = False
        self._starts: list[asyncio.Task[None]] = []
        self._mending: dict[str, asyncio.Task[None]] = {}
        self._mend_after: dict[str, float] = {}
        self._mended_at: defaultdict[str, deque[float]] = defaultdict(deque)
        if not config.mysql.is_external:
            self.mysql = ManagedMysql(
                home.directory / "mysql", config.mysql, secrets.mysql, dies_with_parent=False
            )
        if not config.redis.is_external:
            self.redis = ManagedRedis(
                home.directory / "redis",
                config.redis,
                secrets.redis,
                block.redis_ports,
                block.redis_bus_ports,
                dies_with_parent=False,
            )

    async def start_mysql(self) -> str:
        """Start or check the database; returns what to print. Raises `OperatorError`."""
        if self.mysql is None:
            await asyncio.to_thread(_check_mysql, self.config)
            self.mysql_ready = True
            return f"external {self.config.mysql.host or self.config.mysql.socket}"
        binary = find_mariadbd(self.config.mysql.server)
        version, _ = await asyncio.gather(
            asyncio.to_thread(mysql_version, binary), self._begun(self.mysql.start)
        )
        self._mysql_started = self.mysql_ready = True
        return f"MariaDB {version.partition('-')[0]}   Unix socket"

    async def start_redis(self, ports_moved: bool) -> str:
        """Start or check the cache; returns what to print. `ports_moved`: the home got another
        block, now or at an earlier start that did not come so far, and the cluster forms anew,
        because its nodes know each other by port; what it held was a repetition of MySQL. Raises
        `OperatorError`."""
        if self.redis is None:
            await asyncio.to_thread(_check_redis, self.config)
            self.redis_ready = True
            return f"external {', '.join(self.config.redis.nodes)}"
        if ports_moved or self.redis.formed_elsewhere():
            shutil.rmtree(self.redis.directory, ignore_errors=True)
        binary = find_redis_server(self.config.redis.server)
        version, _ = await asyncio.gather(
            asyncio.to_thread(redis_version, binary), self._begun(self.redis.start)
        )
        self.redis_ready = True
        return f"3 primaries + 3 replicas   Redis {version}"

    async def _begun(self, start: Callable[[], None]) -> None:
        """Run a start in a thread, which goes on when nobody waits any more; `stop` does wait."""
        task = asyncio.create_task(asyncio.to_thread(start))
        self._starts.append(task)
        await asyncio.shield(task)

    def look(self) -> None:
        """Begin to restart what ended; the data is kept and recovers. Never waits."""
        if self.mysql is not None and self._mysql_started and not self.mysql.is_running():
            self.mysql_ready = False
            self._mend("mysql", self.mysql.start, self.mysql.child)
        if self.redis is not None and self.redis_ready:
            for number in range(1, SERVERS + 1):
                if not self.redis.is_running(number):
                    start = partial(self.redis.start_one, number)
                    serves = partial(self._serves, self.redis, number)
                    self._mend(f"redis-{number}", start, self.redis.children.get(number), serves)

    def _mend(
        self,
        name: str,
        start: Callable[[], None],
        ended: Child | None,
        serves: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        now = time.monotonic()
        if name in self._mending or now < self._mend_after.get(name, 0.0):
            return
        self.restarts[name] = self.restarts.get(name, 0) + 1
        log_line(f"{name} {_how_it_ended(ended)}: restart {self.restarts[name]}")
        self._wait_longer(name, now)
        self._mending[name] = asyncio.create_task(self._start_again(name, start, serves))

    def _wait_longer(self, name: str, now: float) -> None:
        """One that starts, answers and ends again is started at a slower and slower rhythm."""
        recent = self._mended_at[name]
        recent.append(now)
        self._mend_after[name] = now + wait_ms(recent, now, self.config.supervisor) / 1000

    def _forget_crashes(self, name: str) -> None:
        """Who is killed on request has not crashed, and is started at once."""
        self._mended_at.pop(name, None)
        self._mend_after.pop(name, None)

    async def _start_again(
        self, name: str, start: Callable[[], None], serves: Callable[[], Awaitable[bool]] | None
    ) -> None:
        try:
            await asyncio.to_thread(start)
            if serves is not None and not await serves():
                return  # it has ended, and the next look begins anew
            self.errors.pop(name, None)
            log_line(f"{name} serves again")
            self.mysql_ready = self.mysql_ready or name == "mysql"
        except OperatorError as error:
            self._not_mended(name, f"{error.code} {error.cause}")
        except OSError as error:  # a full disk
            self._not_mended(name, str(error))
        finally:
            del self._mending[name]

    async def _serves(self, redis: ManagedRedis, number: int) -> bool:
        """Wait until what answers serves, too, however long: till then the store is not ready, and
        the status says why. False when it ended meanwhile."""
        name = f"redis-{number}"
        while not await asyncio.to_thread(redis.serves, number):
            if not (self.redis_ready and redis.is_running(number)):
                return False
            if self.errors.get(name) != NOT_SERVING:
                self.errors[name] = NOT_SERVING
                log_line(f"{name}: {NOT_SERVING}")
            await asyncio.sleep(SERVES_EVERY_S)
        return True

    def _not_mended(self, name: str, why: str) -> None:
        self.errors[name] = why
        log_line(f"{name} does not start: {why}")
        wait_ms = self.config.supervisor.restart_ms_max
        self._mend_after[name] = time.monotonic() + wait_ms / 1000

    async def stop(self) -> None:
        """End both; data is kept."""
        self._mysql_started = self.mysql_ready = self.redis_ready = False
        # A start that is under way must end first: what it spawned would be left behind.
        under_way = (*self._starts, *self._mending.values())
        await asyncio.gather(*under_way, return_exceptions=True)
        await asyncio.gather(
            *(asyncio.to_thread(store.stop) for store in (self.mysql, self.redis) if store)
        )

    def kill(self, name: str) -> int:
        """kill -9 of `mysql` or `redis-N`. Raises `OperatorError` E0708. Returns the pid."""
        if name == "mysql" and self.mysql is not None and self.mysql.is_running():
            pid = self.mysql.pid
            self._forget_crashes(name)
            self.mysql.kill()
            return pid
        number = name.removeprefix("redis-")
        if self.redis is not None and number.isdecimal() and self.redis.is_running(int(number)):
            pid = self.redis.pid(int(number))
            self._forget_crashes(name)
            self.redis.kill(int(number))
            return pid
        raise OperatorError(
            "E0708", f"{name} is no process of this cluster that runs now", "mmo-cluster status"
        )

    def rows(self) -> dict[str, Any]:
        """What `status` prints under `stores`."""
        mysql: dict[str, Any] = {
            "ready": self.mysql_ready and (self.mysql is None or self.mysql.is_running()),
            "managed": self.mysql is not None,
            "pid": self.mysql.pid if self.mysql else 0,
            "restarts": self.restarts.get("mysql", 0),
            "error": self.errors.get("mysql", ""),
        }
        redis: dict[str, Any] = {"ready": self.redis_ready, "managed": self.redis is not None}
        if self.redis is not None:
            servers = [
                {
                    "name": f"redis-{number}",
                    "port": self.redis.ports[number - 1],
                    "pid": self.redis.pid(number),
                    "running": self.redis.is_running(number),
                    "restarts": self.restarts.get(f"redis-{number}", 0),
                    "error": self.errors.get(f"redis-{number}", ""),
                }
                for number in range(1, SERVERS + 1)
            ]
            redis["servers"] = servers
            mending = any(row["name"] in self._mending for row in servers)
            running = all(row["running"] for row in servers)
            redis["ready"] = self.redis_ready and running and not mending
        return {"redis": redis, "mysql": mysql}


def _how_it_ended(child: Child | None) -> str:
    code = child.exit_code() if child is not None else None
    if code is None:
        return "does not run"  # killed on request, or never came up
    return f"ended with {code}" if code >= 0 else f"was killed by signal {-code}"


def _check_mysql(config: Config) -> None:
    mysql = config.mysql
    target = mysql.socket or f"{mysql.host}:{mysql.port}"
    try:
        if mysql.socket:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(CONNECT_S)
            connection.connect(mysql.socket)
        else:
            connection = socket.create_connection((mysql.host, mysql.port), CONNECT_S)
        connection.close()
    except OSError as error:
        raise OperatorError(
            "E0210", f"the external database {target} cannot be reached: {error}", "see [mysql]"
        ) from error


def _check_redis(config: Config) -> None:
    end = time.monotonic() + CONNECT_S
    last: OSError | None = None
    for address in config.redis.nodes:
        host, _, port = address.rpartition(":")
        try:
            left_s = max(0.1, end - time.monotonic())
            socket.create_connection((host, int(port)), left_s).close()
            return
        except OSError as error:
            last = error
        except ValueError as error:
            raise OperatorError(
                "E0103", f"redis.nodes: {address} is not host:port", 'such as "10.0.0.1:6379"'
            ) from error
    raise OperatorError(
        "E0211", f"no server of the external Redis Cluster answers: {last}", "see [redis] nodes"
    )
