"""The HTTPS server of a cash node: the payment door on the node's client port, in the node's loop.

Owns the socket, TLS and the life of the server; the door decides what is answered. Composed by
`node_runner` for roles that take payments.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from mmo.cluster.certificate import ensure_certificate
from mmo.cluster.home import Home, NodePorts
from mmo.cluster.secret_files import Secrets
from mmo.config import Config
from mmo.edges.payment import Limits, PaymentDoor
from mmo.errors import ConfigError, OperatorError
from mmo.node.engine import Engine
from mmo.node.payments import Payments

BACKLOG = 128
STOP_S = 2
KEEP_ALIVE_S = 5
LOOK_S = 1.0  # rhythm of the look for connections that ask nothing
HEADER_BYTES_MAX = 16_384


class _Server(uvicorn.Server):
    """Without signal handlers: the node has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class PaymentServer:
    """One per cash node. Start after the node is ready."""

    def __init__(
        self, home: Home, config: Config, ports: NodePorts, secrets: Secrets, engine: Engine
    ) -> None:
        payments, cash = Payments(engine), config.cash
        limits = Limits(
            cash.window_ms, cash.body_bytes_max, cash.amount_max, cash.per_s, cash.burst
        )
        self.door = PaymentDoor(
            *(secrets.payment, limits, payments.book, payments.user_of),
            *(engine.clock_ms, engine.log, engine.metrics.count),
        )
        certificate, key = certificate_files(home, config)
        _check(certificate, key)
        self._engine = engine
        self._log = engine.log
        self._host, self._port = config.cluster.host, ports.client_port
        self._server = _Server(
            uvicorn.Config(
                self.door.application,
                log_config=None,
                access_log=False,
                lifespan="off",
                http="h11",
                ws="none",
                ssl_certfile=str(certificate),
                ssl_keyfile=str(key),
                limit_concurrency=cash.connections_max,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=STOP_S,
                h11_max_incomplete_event_size=HEADER_BYTES_MAX,
                server_header=False,
            )
        )
        self._serving: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._silent_s: dict[Any, float] = {}  # connections that asked nothing yet, since when
        self.port = 0

    def start(self) -> None:
        """Bind and serve. Raises `OperatorError` E0718 when the port is taken."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._host, self._port))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise OperatorError(
                "E0718",
                f"the payment door cannot listen on {self._host} port {self._port}: {error}",
                "stop what listens there, or give the cash node another client_port",
            ) from error
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._serving = loop.create_task(self._server.serve(sockets=[listener]))
        self._serving.add_done_callback(self._ended)
        self._looking = loop.create_task(self._look())
        self._log.info("payment door open", host=self._host, port=self.port)

    def _ended(self, serving: "asyncio.Task[None]") -> None:
        """A door that fails is no door: the node ends with it, and is started again."""
        fault = None if serving.cancelled() else serving.exception()
        if fault is not None:
            self._engine.on_crash(fault)

    async def _look(self) -> None:
        """Who connects and asks nothing holds one of few places: not for long."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.close_silent(asyncio.get_running_loop().time())

    def close_silent(self, now_s: float) -> None:
        """End connections that have asked nothing for `KEEP_ALIVE_S`. The server does so itself
        after their first request."""
        connected: set[Any] = self._server.server_state.connections  # all speak by h11
        silent = [one for one in connected if one.cycle is None]
        self._silent_s = {one: self._silent_s.get(one, now_s) for one in silent}
        for one, since_s in self._silent_s.items():
            if now_s - since_s >= KEEP_ALIVE_S and one.transport is not None:
                one.transport.close()

    async def stop(self) -> None:
        """Answer what is on its way, then close."""
        if self._looking is not None:
            self._looking.cancel()
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving


def _check(certificate: Path, key: Path) -> None:
    """Raises `ConfigError` E0109 for a certificate that cannot be served with its key."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as fault:
        raise ConfigError(
            "E0109",
            f"the payment door cannot use {certificate} with {key}: {fault}",
            "cash.tls_certificate_file and cash.tls_key_file are PEM, the key without a password",
        ) from fault


def certificate_files(home: Home, config: Config) -> tuple[Path, Path]:
    """Certificate and key of the door: the configured ones, else those of the home."""
    cash = config.cash
    if cash.tls_certificate_file:
        return Path(cash.tls_certificate_file), Path(cash.tls_key_file)
    return ensure_certificate(home.secrets, config.cluster.host)


def trusting(certificate: Path) -> ssl.SSLContext:
    """A client's context that trusts the door of this home."""
    context: Any = ssl.create_default_context(cafile=str(certificate))
    trusted: ssl.SSLContext = context
    return trusted
