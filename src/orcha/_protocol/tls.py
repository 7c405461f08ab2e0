"""TLS 1.3 without I/O, and the certificate that a service makes for itself.

A service that keeps its state makes a key and a self-signed certificate once, and keeps both in its folder, so that
clients recognise it (`certificates.py`). Else it makes them at each start. No client checks the signature: both ends
bind the SHA-256 of the certificate into their proof of the key (`handshake.py`), so that a third party in between, with
another certificate, fails.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from typing import NamedTuple

from orcha._protocol.trust import SYSTEM_AUTHORITIES
from orcha.exceptions import ConfigurationError
from orcha.utils.private import open_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from orcha._protocol.trust import ServiceTrust

_READ_BYTES = 256 * 1024
_VALID_DAYS = 3650
_MAX_KEPT_BYTES = 65_536


class ServerTls(NamedTuple):
    """What a service needs to speak TLS."""

    context: ssl.SSLContext
    certificate_hash: bytes
    """SHA-256 of the certificate as DER."""
    fingerprint: str = ""
    """What people recognise the service by: `certificates.fingerprint_of`."""
    valid: tuple[float, float] | None = None
    """From when to when the certificate is valid, in seconds since 1970, where it was read from files of people."""
    client_ca: bytes = b""
    """SHA-256 of what was read of the authority of clients' certificates; empty where clients need none."""
    client_ca_ends: tuple[float, ...] = ()
    """Until when each authority there is valid, in seconds since 1970."""
    revoked_ends: tuple[float, ...] = ()
    """Until when each list of revoked certificates there is valid."""


class TlsSession:
    """One end of a TLS connection. Not thread-safe; send the bytes of `outgoing` in the order of the calls."""

    def __init__(self, context: ssl.SSLContext, *, server: bool, name: str | None = None) -> None:
        """Begin; `name` is the name or address of the service that a client has dialled, where that is checked."""
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=server, server_hostname=name)
        self.established = False
        self.ended = False
        """The other end sends no more."""

    def receive(self, data: bytes) -> list[bytes]:
        """Decrypt bytes from the other end; raises ssl.SSLError for bytes that are no TLS."""
        self._in.write(data)
        said: list[bytes] = []
        try:
            if not self.established:
                self._tls.do_handshake()
                self.established = True
            while chunk := self._tls.read(_READ_BYTES):
                said.append(chunk)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        return said

    def wrap(self, data: bytes) -> None:
        """Encrypt bytes for the other end."""
        self._tls.write(data)

    def outgoing(self) -> bytes:
        """Give the encrypted bytes that have to be sent now."""
        return self._out.read()

    def peer_certificate_hash(self) -> bytes:
        """Give the SHA-256 of the other end's certificate as DER."""
        from hashlib import sha256

        return sha256(self.peer_certificate()).digest()

    def peer_certificate(self) -> bytes:
        """Give the other end's certificate as DER; the other end has proved that it has the key (RFC 8446, 4.4.3)."""
        certificate = self._tls.getpeercert(binary_form=True)
        if certificate is None:
            raise ssl.SSLError("the service has no certificate")
        return certificate

    def verified_certificate(self) -> bytes | None:
        """Give the other end's certificate as DER, where an authority was asked for and vouches for it; else None."""
        if self._tls.context.verify_mode is not ssl.CERT_REQUIRED or not self.established:
            return None
        return self._tls.getpeercert(binary_form=True)


def client_context(trust: ServiceTrust | None = None) -> ssl.SSLContext:
    """Make a client's context: TLS 1.3, and no check of the certificate by itself, unless an authority is named.

    Raises ConfigurationError for files that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if trust is None or trust.ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the proof of the key covers the certificate's hash
    if trust is None:
        return context
    path = trust.ca or ""
    try:
        if trust.ca == SYSTEM_AUTHORITIES:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        elif trust.ca is not None:
            context.load_verify_locations(trust.ca)
        if trust.certificate is not None:
            path = trust.certificate
            context.load_cert_chain(trust.certificate, trust.certificate_key, _no_password)
    except ssl.SSLError as error:
        raise ConfigurationError(f"{path} cannot be used ({error.reason or error}): give files in PEM") from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read ({error}): see what lies there") from None
    return context


def _no_password() -> str:
    raise ValueError("its key is protected by a password: openssl pkey takes it off")


def server_tls(path: str | None = None) -> ServerTls:
    """Give a key, a certificate and a context of them: from a file, which is made where there is none.

    Without a path they are made anew; that costs about 0.1 s at its first call.

    Raises OSError where the file cannot be read or made.
    """
    from hashlib import sha256

    from orcha._protocol.certificates import fingerprint_of

    kept = None if path is None else _kept(path)
    if kept is None:
        private, certificate = _self_signed()
        pem = private + ssl.DER_cert_to_PEM_cert(certificate).encode()
        context = context_of(pem)
        if path is not None:
            _keep(path, pem)
    else:
        context, certificate = kept
    return ServerTls(context, sha256(certificate).digest(), fingerprint_of(certificate))


def context_of(pem: bytes) -> ssl.SSLContext:
    """Make a service's context of a private key and the certificates behind it, both in PEM.

    Raises ssl.SSLError for anything else.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    _load(context, pem)
    return context


def _kept(path: str) -> tuple[ssl.SSLContext, bytes] | None:
    """Give what a file keeps; None where there is none, or where it is no key with a certificate."""
    try:
        descriptor = open_file(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        pem = os.read(descriptor, _MAX_KEPT_BYTES)
    finally:
        os.close(descriptor)
    try:
        text = pem.decode("ascii")
        certificate = ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERTIFICATE-----") :])
        return context_of(pem), certificate
    except (ssl.SSLError, ValueError):  # a disk that was full, or people: clients are told of the new one
        return None


def _keep(path: str, pem: bytes) -> None:
    """Have a file with a key and a certificate, 0600, in the place of another one."""
    new = f"{path}.new"
    descriptor = open_file(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        os.write(descriptor, pem)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(new, path)  # noqa: PTH105 - pathlib costs a client 5 ms


def _self_signed() -> tuple[bytes, bytes]:
    """Give a private key (PEM) and its certificate (DER)."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "orcha")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_VALID_DAYS))
        .sign(private, hashes.SHA256())
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem, certificate.public_bytes(serialization.Encoding.DER)


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Load a key and a certificate."""
    with in_memory(pem) as path:
        context.load_cert_chain(path)


@contextlib.contextmanager
def in_memory(pem: bytes) -> Iterator[str]:
    """Give the path of a file in memory: the ssl module reads keys, and what is revoked, from files only."""
    import tempfile

    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("orcha-tls")
        try:
            os.write(descriptor, pem)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem)
        file.flush()
        yield file.name
