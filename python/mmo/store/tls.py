"""A driver connection that trusts exactly one CA and the name it asked for.

Owns the TLS context of connections to a database on another machine. Used by `connection`.

The asyncio driver takes a CA only together with a client certificate, adds the system's CAs to it,
and starts TLS without the server's name, so that identity is never checked. Both steps are replaced
here on the connection's own socket object; a driver without what is replaced is refused, and a test
against a real server with TLS, a stranger's CA and a wrong name holds the rest together.
"""

import ssl
from typing import Any

from mysql.connector.aio.connection import MySQLConnection
from mysql.connector.aio.network import MySQLSocket

from mmo.errors import StoreError

REPLACED = (
    (MySQLConnection, "_do_auth"),
    (MySQLSocket, "build_ssl_context"),
    (MySQLSocket, "switch_to_ssl"),
)


class VerifiedConnection(MySQLConnection):
    """`trust` before `connect`."""

    _trusted: ssl.SSLContext | None = None
    _expected_host = ""

    def trust(self, ca_file: str, host: str) -> None:
        """Only a server with a certificate of this CA for `host`, a name or an address. Raises
        OSError when the file does not hold a certificate, StoreError when the driver would not ask
        here."""
        absent = [f"{kind.__name__}.{name}" for kind, name in REPLACED if not hasattr(kind, name)]
        if absent:
            raise StoreError(
                f"this mysql-connector-python has no {', '.join(absent)}:"
                " nobody would check whether the database is the right one"
            )
        self._trusted = ssl.create_default_context(cafile=ca_file)
        self._expected_host = host

    async def _do_auth(self) -> None:
        line: Any = self._socket
        if self._trusted is None:
            return await super()._do_auth()

        async def start(context: ssl.SSLContext) -> None:
            await line._writer.start_tls(context, server_hostname=self._expected_host)

        line.build_ssl_context = lambda **_: self._trusted
        line.switch_to_ssl = start
        return await super()._do_auth()
