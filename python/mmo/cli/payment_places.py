"""Who may be connected to the payment door: counted from accept on, before TLS, by address.

Owns the accepting, the places of connections and the time in which each must show a signed notice.
What is asked over them is not its matter. Composed by `payment_server`.
"""

import asyncio
import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import Callable

from mmo.edges.payment import Strangers
from mmo.wire.subscriber import subscriber_of

ACCEPT_AGAIN_S = 0.05  # after an accept that failed, such as for want of descriptors
HANDSHAKE_S = 5.0
CLOSE_S = 2.0  # how long the other side has to agree to the end of TLS
PROVE_S = 10.0  # from accept to a signed notice, TLS handshake included


class Place:
    """That of one connection. `end` ends it at once, whatever it is doing."""

    __slots__ = ("address", "end", "is_proved", "is_served", "since_s")

    def __init__(self, address: str, since_s: float, end: Callable[[], object]) -> None:
        self.address = address
        self.since_s = since_s
        self.end = end
        self.is_served = False
        self.is_proved = False

    def serve(self, end: Callable[[], object]) -> None:
        """The handshake is over: whoever serves the connection now leaves the place."""
        self.end = end
        self.is_served = True

    def prove(self) -> None:
        """A signed notice came: this is the payment service."""
        self.is_proved = True


class Places:
    """All of them. Who cannot sign holds one for `PROVE_S`, and only while nobody else wants it."""

    def __init__(self, whole_max: int, address_max: int, strangers: Strangers) -> None:
        """`address_max`: of those of one address that showed nothing yet; 0: no limit."""
        self._whole_max = whole_max
        self._address_max = address_max
        self._strangers = strangers
        self._taken: dict[Place, None] = {}  # the oldest first

    def take(self, host: str, now_s: float, end: Callable[[], object]) -> Place | None:
        """A place for a connection from `host`, if need be that of the one which is longest without
        a signed notice: of those of its address, or of the address that has most of them. None
        where all have shown one."""
        address = subscriber_of(host)
        unproved = Counter(one.address for one in self._taken if not one.is_proved)
        if self._address_max and unproved[address] >= self._address_max:
            self._makes_way(address)
        elif len(self._taken) >= self._whole_max and unproved:
            self._makes_way(unproved.most_common(1)[0][0])
        if len(self._taken) >= self._whole_max:
            figure = "payment_connections_refused_total"
            self._strangers.seen(figure, "payment connection refused", address=host)
            return None
        place = Place(address, now_s, end)
        self._taken[place] = None
        return place

    def leave(self, place: Place) -> None:
        """The connection is over; idempotent."""
        if place not in self._taken:
            return
        del self._taken[place]
        if not place.is_proved:
            self._strangers.count("payment_connections_unproved_total")

    def end_late(self, now_s: float) -> None:
        """End those that showed no signed notice in time."""
        for place in list(self._taken):
            if not place.is_proved and now_s - place.since_s >= PROVE_S:
                self._end(place)

    def _makes_way(self, address: str) -> None:
        self._end(next(one for one in self._taken if not one.is_proved and one.address == address))

    def _end(self, place: Place) -> None:
        self.leave(place)
        place.end()


class Listener:
    """Accepts for a protocol that speaks over TLS. `make_protocol` is given the connection's place;
    the protocol serves it from its first call and leaves it at its last. `accepting` ends with
    `close`, or with a fault."""

    def __init__(
        self,
        listening: socket.socket,
        context: ssl.SSLContext,
        places: Places,
        make_protocol: Callable[[Place], asyncio.Protocol],
    ) -> None:
        self._listening = listening
        self._context = context
        self._places = places
        self._make_protocol = make_protocol
        self._shaking: dict[asyncio.Task[None], Place] = {}
        self.accepting = asyncio.get_running_loop().create_task(self._accept())

    async def close(self) -> None:
        """Accept no more, and end the handshakes; connections that are served go on."""
        self.accepting.cancel()
        for place in self._shaking.values():
            place.end()
        await asyncio.wait({self.accepting, *self._shaking})
        self._listening.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(self._listening)
            except OSError:
                await asyncio.sleep(ACCEPT_AGAIN_S)
                continue
            self._admit(connection, address[0])
            await asyncio.sleep(0)  # one a turn: those who are served come in between

    def _admit(self, connection: socket.socket, host: str) -> None:
        def end() -> None:
            with contextlib.suppress(OSError):  # he is gone already
                connection.shutdown(socket.SHUT_RDWR)  # the handshake finds its end and fails

        loop = asyncio.get_running_loop()
        place = self._places.take(host, loop.time(), end)
        if place is None:
            connection.close()
            return
        task = loop.create_task(self._shake_hands(connection, place))
        self._shaking[task] = place
        task.add_done_callback(self._shaking.pop)

    async def _shake_hands(self, connection: socket.socket, place: Place) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._make_protocol(place),
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=CLOSE_S,
            )
        except OSError:
            pass  # no TLS, or not in time
        finally:
            if not place.is_served:
                self._places.leave(place)
