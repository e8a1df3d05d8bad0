"""The HTTPS server of a cash node: the payment door on the node's client port, in the node's loop.

Owns the socket, TLS and the life of the server; who may be connected is a matter of its places,
what is answered one of the door. Composed by `node_runner` for roles that take payments.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mmo.cli.payment_places import Listener, Place, Places
from mmo.cluster.certificate import certificate_file, ensure_certificate
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
LOOK_S = 1.0  # rhythm of the look for connections that show no signed notice
HEADER_BYTES_MAX = 16_384


class _Server(uvicorn.Server):
    """Without signal handlers: the node has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Connection(H11Protocol):
    """One whose TLS handshake is over. The door sees `state.proved` of its requests."""

    def __init__(self, server: uvicorn.Server, places: Places, place: Place) -> None:
        super().__init__(server.config, server.server_state, {"proved": place.prove})
        self._places = places
        self._place = place

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._place.serve(transport.abort)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._places.leave(self._place)
        super().connection_lost(exc)


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
        certificate, key = certificate_files(home, config, ports.number)
        _check(certificate, key)
        self._engine = engine
        self._log = engine.log
        self._host, self._port = cash.host, ports.client_port
        self.places = Places(
            cash.connections_max, cash.connections_per_address_max, self.door.strangers
        )
        self._server = _Server(
            uvicorn.Config(
                self.door.application,
                log_config=None,
                log_level="error",  # its warnings are what strangers write, a line for each
                access_log=False,
                lifespan="off",
                http="h11",
                ws="none",
                ssl_certfile=str(certificate),
                ssl_keyfile=str(key),
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=STOP_S,
                h11_max_incomplete_event_size=HEADER_BYTES_MAX,
                server_header=False,
            )
        )
        self._server.config.load()
        self._listener: Listener | None = None
        self._serving: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self.port = 0

    def start(self) -> None:
        """Bind and serve. Raises `OperatorError` E0718 when the port is taken."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((self._host, self._port))
            listening.listen(BACKLOG)
        except OSError as error:
            listening.close()
            raise OperatorError(
                "E0718",
                f"the payment door cannot listen on {self._host} port {self._port}: {error}",
                "stop what listens there, or mend cash.host or the cash node's client_port",
            ) from error
        listening.setblocking(False)
        self.port = listening.getsockname()[1]
        loop = asyncio.get_running_loop()
        # No sockets of its own: it would accept whoever comes, and wait for their handshakes.
        self._serving = loop.create_task(self._server.serve(sockets=[]))
        self._serving.add_done_callback(self._ended)
        context = self._server.config.ssl
        assert context is not None
        self._listener = Listener(listening, context, self.places, self._connection)
        self._listener.accepting.add_done_callback(self._ended)
        self._looking = loop.create_task(self._look())
        self._log.info("payment door open", host=self._host, port=self.port)

    def _connection(self, place: Place) -> asyncio.Protocol:
        return _Connection(self._server, self.places, place)

    def _ended(self, serving: "asyncio.Task[None]") -> None:
        """A door that fails is no door: the node ends with it, and is started again."""
        fault = None if serving.cancelled() else serving.exception()
        if fault is not None:
            self._engine.on_crash(fault)

    async def _look(self) -> None:
        """Who connects and signs nothing holds one of few places: not for long."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.places.end_late(asyncio.get_running_loop().time())

    async def stop(self) -> None:
        """Answer what is on its way, then close."""
        if self._looking is not None:
            self._looking.cancel()
        if self._listener is not None:
            await self._listener.close()
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


def certificate_files(home: Home, config: Config, number: int) -> tuple[Path, Path]:
    """Certificate and key of the door of server `number`: the configured ones, else its own in the
    home."""
    cash = config.cash
    if cash.tls_certificate_file:
        return Path(cash.tls_certificate_file), Path(cash.tls_key_file)
    return ensure_certificate(home.secrets, number, config.cash.host)


def trusted_file(home: Home, config: Config, number: int) -> Path:
    """The certificate of a door of server `number` that was opened before. Never makes one: who
    only pays would take the door's away from all who trust it."""
    configured = config.cash.tls_certificate_file
    return Path(configured) if configured else certificate_file(home.secrets, number)


def trusting(certificate: Path) -> ssl.SSLContext:
    """A client's context that trusts the door of this home."""
    context: Any = ssl.create_default_context(cafile=str(certificate))
    trusted: ssl.SSLContext = context
    return trusted
