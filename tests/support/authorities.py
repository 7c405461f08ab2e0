"""An authority of certificates, and the files that it makes for services and clients."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DAY = timedelta(days=1)


class Authority:
    """Signs certificates for a name, or an address, and writes them below a folder.

    Example::

        authority = Authority(tmp_path)
        certificate, key = authority.pair("127.0.0.1")
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        """Make its key, and its certificate as the file `path`."""
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        signed = _builder(self._name, self._name, self._key, DAY * 400).add_extension(
            x509.BasicConstraints(True, None), True
        )
        self.path = folder / f"{name}.crt"
        self.path.write_bytes(_pem(signed.sign(self._key, hashes.SHA256())))

    def pair(self, name: str, *, key: Any = None, days: float = 30, since: float = -1) -> tuple[Path, Path]:
        """Give the files of a certificate for a name, valid so many days from `since` days on, and of its key."""
        private = key or ec.generate_private_key(ec.SECP256R1())
        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name)
        made = _builder(_named(name), self._name, private, DAY * days, DAY * since)
        made = made.add_extension(x509.SubjectAlternativeName([alternative]), False)
        number = len(list(self.folder.iterdir()))
        certificate, path = self.folder / f"{number}.crt", self.folder / f"{number}.key"
        certificate.write_bytes(_pem(made.sign(self._key, hashes.SHA256())))
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        path.touch(0o600)
        path.write_bytes(private.private_bytes(*form))
        return certificate, path


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Any, valid: timedelta, since: timedelta = -DAY
) -> x509.CertificateBuilder:
    begin = datetime.now(UTC) + since
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + valid)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
