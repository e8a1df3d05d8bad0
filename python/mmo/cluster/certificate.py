"""Certificates for the payment doors of a development cluster: made once each, for this machine.

Owns the making and the two files of a server number, which no other process writes; production
names its own in the configuration. Called by the command line when it composes a cash node, and by
the payment simulator, which trusts it.
"""

import datetime
import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

LIFE_DAYS = 3_650


def certificate_file(directory: Path, number: int) -> Path:
    """Where the certificate of server `number` is, or will be once it made it."""
    return directory / f"payment-door-{number}.pem"


def ensure_certificate(directory: Path, number: int, host: str) -> tuple[Path, Path]:
    """Certificate and key for `host` in `directory`, of server `number`; those of an earlier start
    are kept while they are for that host."""
    certificate = certificate_file(directory, number)
    key = certificate.with_suffix(".key")
    if not (certificate.exists() and key.exists() and _is_for(certificate, host)):
        certificate_pem, key_pem = _make(host)
        for path, data in ((key, key_pem), (certificate, certificate_pem)):
            fresh = path.with_suffix(path.suffix + ".new")
            fresh.unlink(missing_ok=True)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            fresh.replace(path)
    return certificate, key


def _is_for(certificate: Path, host: str) -> bool:
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        extension = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    return _named(host) in list(extension.value)


def _named(host: str) -> "x509.GeneralName":
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _make(host: str) -> tuple[bytes, bytes]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mmo payment door")])
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), _named(host)]
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=LIFE_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        made.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
