"""TLS 1.3 without I/O and without a certificate authority.

A service makes a key and a self-signed certificate at each start, and keeps both in memory only. No client checks the
signature: both ends bind the SHA-256 of the certificate into their proof of the key (`handshake.py`), so that a third
party in between, with another certificate, fails.
"""

from __future__ import annotations

import ssl
from typing import NamedTuple

_READ_BYTES = 256 * 1024
_VALID_DAYS = 3650


class ServerTls(NamedTuple):
    """What a service needs to speak TLS."""

    context: ssl.SSLContext
    certificate_hash: bytes
    """SHA-256 of the certificate as DER."""


class TlsSession:
    """One end of a TLS connection. Not thread-safe; send the bytes of `outgoing` in the order of the calls."""

    def __init__(self, context: ssl.SSLContext, *, server: bool) -> None:
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=server)
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

        certificate = self._tls.getpeercert(binary_form=True)
        if certificate is None:
            raise ssl.SSLError("the service has no certificate")
        return sha256(certificate).digest()


def client_context() -> ssl.SSLContext:
    """Make a client's context: TLS 1.3, and no check of the certificate by itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the proof of the key covers the certificate's hash
    return context


def server_tls() -> ServerTls:
    """Make a key, a certificate and a context of them; costs about 0.1 s at its first call."""
    from hashlib import sha256

    private, certificate = _self_signed()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    _load(context, private + ssl.DER_cert_to_PEM_cert(certificate).encode())
    return ServerTls(context, sha256(certificate).digest())


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
    """Load a key and a certificate. The ssl module reads them from files only, so they go into a file in memory."""
    import os
    import tempfile

    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("orcha-tls")
        try:
            os.write(descriptor, pem)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)
