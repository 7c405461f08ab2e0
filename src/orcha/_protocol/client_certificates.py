"""What a certificate of a client names: by one of these names, or by its public key, a key with a name is proved.

The authority that signed a certificate vouches for all names in it. A name counts only where an admin has given the
same name to a key: no certificate says by itself who its client is here.
"""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KINDS = ("dns", "uri", "email", "cn")
"""Names in a certificate: three kinds of its alternative names (RFC 5280, 4.2.1.6), and its subject's common name."""
FINGERPRINT = "SHA256:"
_FINGERPRINT_CHARACTERS = 43
MAX_NAME_CHARACTERS = 256


class ClientCertificate(NamedTuple):
    """A certificate that a client has shown, and for which an authority vouches."""

    names: frozenset[str]
    """By what keys may know it: its fingerprint, and each name, as `certificate_name` writes them."""
    end: float
    """The time on the wall clock from which on the certificate is not valid any more."""


class NoCertificateNameError(ValueError):
    """A text is no name of a certificate; the message says what is wrong, and what to write."""


def certificate_name(text: str) -> str:
    """Give a name of a certificate as names are compared.

    Raises NoCertificateNameError.

    >>> certificate_name("dns:Build.Example"), certificate_name("uri:spiffe://lab/ci")
    ('dns:build.example', 'uri:spiffe://lab/ci')
    >>> certificate_name("dns:*.example")
    Traceback (most recent call last):
    orcha._protocol.client_certificates.NoCertificateNameError: 'dns:*.example' has a *: name one client
    """
    if text.startswith(FINGERPRINT):
        value = text.removeprefix(FINGERPRINT)
        if len(value) != _FINGERPRINT_CHARACTERS or not value.isascii() or not value.isprintable():
            raise NoCertificateNameError(f"a fingerprint is {FINGERPRINT} and {_FINGERPRINT_CHARACTERS} characters")
        return text
    kind, _, value = text.partition(":")
    if kind not in KINDS or not value:
        forms = ", ".join(f"{each}:..." for each in KINDS)
        raise NoCertificateNameError(f"{text!a:.80} is no name of a certificate: write {forms} or {FINGERPRINT}...")
    if len(text) > MAX_NAME_CHARACTERS or not value.isprintable() or value != value.strip():
        raise NoCertificateNameError(
            f"a name of a certificate has up to {MAX_NAME_CHARACTERS} characters, all printable, and no blank at an end"
        )
    if kind != "cn" and not value.isascii():
        raise NoCertificateNameError(f"{text!a:.80} is not ASCII, as such names in certificates are: write xn--...")
    if "*" in value:
        raise NoCertificateNameError(f"{text!a:.80} has a *: name one client")
    return f"{kind}:{value.lower() if kind == 'dns' else value}"


def read_certificate(certificate: bytes) -> ClientCertificate:
    """Read a certificate, given as DER.

    A name that no key could have, as of a character that cannot be printed, is left out. Of several common names none
    counts.

    Raises ValueError for bytes that are no certificate, and for names that cannot be read.
    """
    from cryptography import x509

    from orcha._protocol.certificates import fingerprint_of

    read = x509.load_der_x509_certificate(certificate)
    try:
        alternative: Any = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        alternative = ()
    kinds = {x509.DNSName: "dns", x509.UniformResourceIdentifier: "uri", x509.RFC822Name: "email"}
    found = [(kinds[type(each)], each.value) for each in alternative if type(each) in kinds]
    common = read.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    if len(common) == 1:
        found.append(("cn", str(common[0].value)))
    names = {fingerprint_of(certificate)}
    for kind, value in found:
        try:
            names.add(certificate_name(f"{kind}:{value}"))
        except NoCertificateNameError:
            continue
    return ClientCertificate(frozenset(names), read.not_valid_after_utc.timestamp())


def file_fingerprint(path: str) -> str:
    """Give the fingerprint of the first certificate in a file in PEM.

    Raises OSError where the file cannot be read, and NoCertificateNameError where it holds no certificate.
    """
    import ssl
    from pathlib import Path

    from orcha._protocol.certificates import MAX_FILE_BYTES, fingerprint_of

    with Path(path).open("rb") as file:
        data = file.read(MAX_FILE_BYTES)
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    try:
        at = data.index(begin)
        pem = data[at : data.index(end, at) + len(end)]
        return fingerprint_of(ssl.PEM_cert_to_DER_cert(pem.decode("ascii")))
    except ValueError:
        raise NoCertificateNameError(f"{path} holds no certificate in PEM: give one with BEGIN CERTIFICATE") from None


__all__ = [
    "FINGERPRINT",
    "KINDS",
    "ClientCertificate",
    "NoCertificateNameError",
    "certificate_name",
    "file_fingerprint",
    "read_certificate",
]
