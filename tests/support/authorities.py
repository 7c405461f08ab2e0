"""An authority of certificates, and the files that it makes for services and clients."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
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

    def __init__(self, folder: Path, name: str = "authority", *, days: float = 400) -> None:
        """Make its key, and its certificate as the file `path`, valid for so many days from now on."""
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        builder = _builder(self._name, self._name, self._key, DAY * (days + 2), DAY * -2)
        signed = builder.add_extension(x509.BasicConstraints(True, None), True)
        self.path = folder / f"{name}.crt"
        self.path.write_bytes(_pem(signed.sign(self._key, hashes.SHA256())))

    def pair(
        self,
        name: str,
        *,
        key: Any = None,
        days: float = 30,
        since: float = -1,
        names: Sequence[x509.GeneralName] | None = None,
        usages: Sequence[x509.ObjectIdentifier] = (),
    ) -> tuple[Path, Path]:
        """Give the files of a certificate for a name, valid so many days from `since` days on, and of its key.

        `names` stand in the place of the alternative name that says `name` again; with `usages` it is for these alone.
        """
        private = key or ec.generate_private_key(ec.SECP256R1())
        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name)
        made = _builder(_named(name), self._name, private, DAY * days, DAY * since)
        made = made.add_extension(x509.SubjectAlternativeName([alternative] if names is None else names), False)
        if usages:
            made = made.add_extension(x509.ExtendedKeyUsage(usages), False)
        number = len(list(self.folder.iterdir()))
        certificate, path = self.folder / f"{number}.crt", self.folder / f"{number}.key"
        certificate.write_bytes(_pem(made.sign(self._key, hashes.SHA256())))
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        path.touch(0o600)
        path.write_bytes(private.private_bytes(*form))
        return certificate, path

    def revoke(self, *certificates: Path, days: float = 7) -> None:
        """Write a list of revoked certificates, valid so many days from yesterday on, behind the authority's own."""
        begin = datetime.now(UTC) - DAY
        made = x509.CertificateRevocationListBuilder().issuer_name(self._name).last_update(begin)
        made = made.next_update(begin + DAY * days)
        for path in certificates:
            number = x509.load_pem_x509_certificate(path.read_bytes()).serial_number
            revoked = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(begin).build()
            made = made.add_revoked_certificate(revoked)
        signed = made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        own = self.path.read_bytes().partition(b"-----BEGIN X509 CRL-----")[0]
        self.path.write_bytes(own + signed)


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
