"""MariaDB over TCP: no delayed packets, and with TLS only the server that its CA vouches for."""

import asyncio
import datetime
import ipaddress
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.conftest import SECRET, settings_for

from mmo.cluster.mysql_server import ManagedMysql
from mmo.cluster.topology import take_block
from mmo.config.load import load_config
from mmo.errors import StoreUnavailable
from mmo.store import StoreSettings
from mmo.store.connection import Connection, Statement

pytestmark = pytest.mark.services


def certified(directory: Path, name: str) -> None:
    """A CA `<name>-ca.pem` and a certificate of 127.0.0.1 by it, `<name>.pem` and `<name>.key`."""
    now = datetime.datetime.now(datetime.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} CA")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])

    def signed(of: x509.Name, key: ec.EllipticCurvePrivateKey, is_ca: bool) -> bytes:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = (
            x509.CertificateBuilder()
            .subject_name(of)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        )
        made = builder.sign(keys[0], hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM)

    (directory / f"{name}-ca.pem").write_bytes(signed(issuer, keys[0], True))
    (directory / f"{name}.pem").write_bytes(signed(subject, keys[1], False))
    (directory / f"{name}.key").write_bytes(
        keys[1].private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


class NetworkedMysql(ManagedMysql):
    """The same server with a loopback port and TLS."""

    port = 0
    certificates = Path()

    def _arguments(self) -> list[str]:
        kept = [text for text in super()._arguments() if text != "--skip-networking"]
        return [*kept, "--bind-address=127.0.0.1", f"--port={self.port}", *self._tls()]

    def _tls(self) -> list[str]:
        ours = self.certificates
        return [
            f"--ssl-ca={ours / 'ours-ca.pem'}",
            f"--ssl-cert={ours / 'ours.pem'}",
            f"--ssl-key={ours / 'ours.key'}",
        ]

    def _write_account_file(self) -> None:
        super()._write_account_file()
        path = self.directory / "account.sql"
        text = path.read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if "@'localhost'" in line]
        more = "\n".join(line.replace("'localhost'", "'127.0.0.1'") for line in lines)
        path.write_text(text + more + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the server, and of a stranger."""
    directory = tmp_path_factory.mktemp("certificates")
    certified(directory, "ours")
    certified(directory, "stranger")
    return directory


@pytest.fixture(scope="module")
def tcp_settings(
    tmp_path_factory: pytest.TempPathFactory, certificates: Path
) -> Iterator[StoreSettings]:
    """Settings that reach a server over loopback TCP."""
    config = load_config(environment={}).config
    block = take_block(config, 0)
    server = NetworkedMysql(tmp_path_factory.mktemp("tcp") / "server", config.mysql, SECRET)
    server.port = block.redis_ports[0]
    server.certificates = certificates
    server.start()
    local = settings_for(server, None, server.database)
    yield msgspec.structs.replace(
        local, mysql_socket="", mysql_host="127.0.0.1", mysql_port=server.port
    )
    server.stop()
    block.close()


async def test_a_fresh_prepared_statement_over_tcp_waits_for_no_delayed_ack(
    tcp_settings: StoreSettings,
) -> None:
    """Without TCP_NODELAY it takes 44 ms: close, then prepare, meets Nagle and delayed ACK."""
    connection = await Connection.open(tcp_settings, 0.0)
    loop = asyncio.get_running_loop()
    took_s = []
    for number in range(20):
        begun_s = loop.time()
        cursor = await connection._driver.cursor(prepared=True)
        await cursor.execute(f"SELECT {number} + ?", (1,))
        assert await cursor.fetchall() == [(number + 1,)]
        await cursor.close()
        took_s.append(loop.time() - begun_s)
    await connection.close()
    # The kernel delays an ACK by 40 ms, each time; the machine may be busy and slow.
    assert sorted(took_s)[5] < 0.030, took_s


async def test_with_a_ca_only_its_server_is_trusted(
    tcp_settings: StoreSettings, certificates: Path
) -> None:
    ours, stranger = (str(certificates / f"{name}-ca.pem") for name in ("ours", "stranger"))
    trusted = msgspec.structs.replace(tcp_settings, mysql_tls=True, mysql_tls_ca_file=ours)
    connection = await Connection.open(trusted, 0.0)
    row = await connection.row(Statement.verbatim("SHOW STATUS LIKE 'Ssl_cipher'"))
    assert row is not None and row[1]
    await connection.close()
    for change in ({"mysql_tls_ca_file": stranger}, {"mysql_host": "localhost"}):
        with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await Connection.open(msgspec.structs.replace(trusted, **change), 0.0)
    for path in ("/nowhere/ca.pem", str(certificates / "ours.key")):
        with pytest.raises(StoreUnavailable):
            await Connection.open(msgspec.structs.replace(trusted, mysql_tls_ca_file=path), 0.0)


async def test_without_a_ca_the_line_is_at_least_not_plain(tcp_settings: StoreSettings) -> None:
    settings = msgspec.structs.replace(tcp_settings, mysql_tls=True, mysql_tls_ca_file="")
    connection = await Connection.open(settings, 0.0)
    row = await connection.row(Statement.verbatim("SHOW STATUS LIKE 'Ssl_cipher'"))
    assert row is not None and row[1]
    await connection.close()


async def test_a_server_without_tls_is_refused_where_a_ca_is_set(
    store_settings: Callable[..., StoreSettings], certificates: Path
) -> None:
    from_socket = store_settings(
        mysql_tls=True, mysql_tls_ca_file=str(certificates / "ours-ca.pem")
    )
    with pytest.raises(StoreUnavailable):
        await Connection.open(from_socket, 0.0)
