"""Certificates: what people recognise one by, and the files from which a service of people's own takes its one."""

from __future__ import annotations

import os
import ssl
import stat
from base64 import b64encode
from hashlib import sha256

from orcha._protocol.tls import ServerTls, context_of, in_memory
from orcha.exceptions import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orcha._protocol.tls_files import TlsFiles

MAX_FILE_BYTES = 1 << 20
WARN_SECONDS = 14 * 86_400.0
"""Seconds before the end of a certificate from which on people are warned."""


class UnusableFileError(ConfigurationError):
    """A file of a certificate cannot be used; the message names the file and the cure. Exit code 78."""

    field: str
    """Which of the files: a field of `TlsFiles`."""

    def __init__(self, field: str, text: str) -> None:
        """Take the field and what is wrong."""
        super().__init__(text)
        self.field = field


def fingerprint_of(certificate: bytes) -> str:
    """Give what people recognise a service by: the SHA-256 of the public key of its certificate, given as DER.

    A certificate that was renewed for the same key has the same fingerprint. RFC 7469, 2.4 hashes the same bytes.
    """
    return f"SHA256:{b64encode(sha256(public_key_of(certificate)).digest()).decode().rstrip('=')}"


def public_key_of(certificate: bytes) -> bytes:
    """Give the SubjectPublicKeyInfo of a certificate (RFC 5280, 4.1), both as DER.

    A client reads it by itself: importing a library for that would cost more than connecting does.

    Raises ValueError for bytes that are no certificate.
    """
    signed, _ = _content(certificate, 0)
    fields, _ = _content(certificate, signed)
    at = fields
    if certificate[at : at + 1] == b"\xa0":  # the version, which may be left out
        at = _content(certificate, at)[1]
    for _ in ("serial number", "signature", "issuer", "validity", "subject"):
        at = _content(certificate, at)[1]
    end = _content(certificate, at)[1]
    if certificate[at : at + 1] != b"\x30":
        raise ValueError("a certificate without a public key")
    return certificate[at:end]


def _content(data: bytes, at: int) -> tuple[int, int]:
    """Give where the content of the DER value at a place begins and ends (X.690, 8.1.3)."""
    if at + 2 > len(data):
        raise ValueError("a certificate that is cut off")
    size, begin = data[at + 1], at + 2
    if size & 0x80:
        length = size & 0x7F
        size, begin = int.from_bytes(data[begin : begin + length], "big"), begin + length
    if begin + size > len(data):
        raise ValueError("a certificate that is cut off")
    return begin, begin + size


# --- the files of a service ------------------------------------------------------------------------------------------


def load(files: TlsFiles) -> ServerTls:
    """Read the files, each once.

    Raises UnusableFileError, which names the file and the cure.
    """
    chain = _read("certificate", "certificate", files.certificate)
    key = _read("key", "key", files.key)
    leaf = _leaf(files, chain)
    _check_key(files, key, leaf)
    authority = None if files.client_ca is None else _read("client_ca", "authority of clients", files.client_ca)
    ends: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    try:
        context = context_of(key + b"\n" + chain)
        if authority is not None:
            ends = _ask_for_certificates(context, authority)
    except (ssl.SSLError, ValueError) as error:
        field, path = ("certificate", files.certificate) if authority is None else ("client_ca", str(files.client_ca))
        raise UnusableFileError(field, f"{path} cannot be used ({error}): give certificates in PEM") from None
    valid = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    ca = b"" if authority is None else sha256(authority).digest()
    return ServerTls(context, sha256(_der(leaf)).digest(), fingerprint_of(_der(leaf)), valid, ca, *ends)


def _ask_for_certificates(context: ssl.SSLContext, authority: bytes) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Have a context ask clients for a certificate of these authorities, which no list in the same file revokes.

    Give until when each authority, and each list, is valid. Raises ssl.SSLError and ValueError.
    """
    from cryptography import x509

    begin, end = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"
    signed = x509.load_pem_x509_certificates(authority)
    lists = [x509.load_pem_x509_crl(begin + each.partition(end)[0] + end) for each in authority.split(begin)[1:]]
    context.verify_mode = ssl.CERT_REQUIRED
    with in_memory(authority) as path:  # what is given as `cadata` is read without lists
        context.load_verify_locations(path)
    if lists:
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    return (
        tuple(each.not_valid_after_utc.timestamp() for each in signed),
        tuple(each.next_update_utc.timestamp() for each in lists if each.next_update_utc is not None),
    )


def problem_of_clients(path: str, tls: ServerTls, now: float) -> tuple[bool, str] | None:
    """Say what is wrong with the time of the authorities of clients, or of lists of revoked certificates, or soon.

    Of several authorities the last one counts: an old authority and a new one may stand side by side. Of several lists
    the first one counts.
    """
    from datetime import UTC, datetime

    looks = (
        (max(tls.client_ca_ends, default=None), "the authority of clients", "so that no client is let in over TCP"),
        (min(tls.revoked_ends, default=None), "a list of revoked certificates", "so that its clients are not let in"),
    )
    for end, what, so in looks:
        if end is not None and now >= end - WARN_SECONDS:
            day = f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d}"
            cure = f"put a renewed one into {path}, and orcha reload"
            if now >= end:
                return True, f"{what} in {path} expired on {day}, {so}: {cure}"
            if what.startswith("the"):  # lists are made anew every few days
                return False, f"{what} in {path} expires on {day}: {cure}"
    return None


def problem_of(path: str, valid: tuple[float, float], now: float) -> tuple[bool, str] | None:
    """Say what is wrong with the time of a certificate: whether it is over, or not come; or whether it is soon over.

    >>> problem_of("box.crt", (0.0, 86_400.0), 86_400.0)[1].partition(":")[0]
    'the certificate box.crt expired on 1970-01-02'
    """
    from datetime import UTC, datetime

    begin, end = (datetime.fromtimestamp(each, UTC) for each in valid)
    cure = f"put a renewed one into {path}, and orcha reload"
    if now >= valid[1]:
        return True, f"the certificate {path} expired on {end:%Y-%m-%d}: {cure}"
    if now < valid[0]:
        return (
            True,
            f"the certificate {path} is valid from {begin:%Y-%m-%d %H:%M} UTC on only: set the clock, or {cure}",
        )
    if now >= valid[1] - WARN_SECONDS:
        return False, f"the certificate {path} expires on {end:%Y-%m-%d}: {cure}"
    return None


def _read(field: str, what: str, path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            found = os.fstat(descriptor)
            data = os.read(descriptor, MAX_FILE_BYTES + 1) if stat.S_ISREG(found.st_mode) else b""
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnusableFileError(field, f"the {what} {path} cannot be read: {error.strerror}: see whose it is") from None
    if not stat.S_ISREG(found.st_mode) or len(data) > MAX_FILE_BYTES:
        raise UnusableFileError(field, f"the {what} {path} is no file of at most {MAX_FILE_BYTES} bytes")
    if field == "key" and stat.S_IMODE(found.st_mode) & 0o007:
        mode = stat.S_IMODE(found.st_mode)
        raise UnusableFileError(field, f"others may read the key {path} (mode {mode:04o}): chmod o= {path}")
    return data


def _leaf(files: TlsFiles, chain: bytes) -> Any:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(chain)[0]
    except ValueError as error:
        text = f"{files.certificate} holds no certificate in PEM ({_first(error)}): give one with BEGIN CERTIFICATE"
        raise UnusableFileError("certificate", text) from None


def _check_key(files: TlsFiles, key: bytes, leaf: Any) -> None:
    from cryptography.hazmat.primitives import serialization

    try:
        private: Any = serialization.load_pem_private_key(key, None)
    except TypeError:
        text = f"{files.key} is protected by a password, which nobody types for a service: openssl pkey takes it off"
        raise UnusableFileError("key", text) from None
    except Exception as error:  # noqa: BLE001 - ValueError, and others for algorithms that are not known
        text = f"{files.key} holds no private key in PEM ({_first(error)}): give the key of {files.certificate}"
        raise UnusableFileError("key", text) from None
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        text = f"the key {files.key} is not that of the certificate {files.certificate}: give both of one pair"
        raise UnusableFileError("key", text)


def _der(leaf: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    made: bytes = leaf.public_bytes(serialization.Encoding.DER)
    return made


def _first(error: Exception) -> str:
    """Give the first sentence of an error of a library."""
    return " ".join(str(error).split()).partition(".")[0] or type(error).__name__


__all__ = ["UnusableFileError", "fingerprint_of", "load", "problem_of", "problem_of_clients", "public_key_of"]
