"""What a certificate of a client names, read from certificates that people would make to be taken for others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from orcha._protocol.client_certificates import NoCertificateNameError, certificate_name, read_certificate

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def made(*common, names=(), key=None):
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, each) for each in common])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOON).not_valid_after(NOON + timedelta(days=1))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def names_of(certificate):
    found = read_certificate(certificate)
    assert found.end == (NOON + timedelta(days=1)).timestamp()
    (fingerprint,) = [each for each in found.names if each.startswith("SHA256:")]
    assert certificate_name(fingerprint) == fingerprint
    return found.names - {fingerprint}


@pytest.mark.parametrize(
    ("common", "names", "found"),
    [
        ((), (), set()),
        (("build",), (), {"cn:build"}),
        (("build", "admin"), (), set()),
        (("dns:build",), (), {"cn:dns:build"}),
        (("SHA256:" + "a" * 43,), (), {"cn:SHA256:" + "a" * 43}),
        ((), (x509.DNSName("A.Example"), x509.DNSName("b.example")), {"dns:a.example", "dns:b.example"}),
        ((), (x509.DNSName("*.example"),), set()),
        ((), (x509.UniformResourceIdentifier("spiffe://Lab/A"),), {"uri:spiffe://Lab/A"}),
        ((), (x509.RFC822Name("A@b.example"),), {"email:A@b.example"}),
        ((), (x509.DirectoryName(x509.Name([])), x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))), set()),
        (("a" * 64,), (x509.DNSName("a" * 300),), {"cn:" + "a" * 64}),
        (("build ",), (), set()),
    ],
)
def test_each_name_is_of_its_kind_and_whole(common, names, found):
    assert names_of(made(*common, names=names)) == found


def test_a_name_with_a_character_that_nobody_sees_is_none():
    for character in ("\0", "\n", "\u202e", "\u200b"):
        assert names_of(made(f"build{character}admin")) == set()
        with pytest.raises(NoCertificateNameError):
            certificate_name(f"cn:build{character}admin")


def test_a_renewed_certificate_has_its_fingerprint_and_another_key_has_another_one():
    key = ec.generate_private_key(ec.SECP256R1())
    first, renewed, other = (read_certificate(made("a", key=each)) for each in (key, key, None))
    assert first.names == renewed.names != other.names


@pytest.mark.parametrize("certificate", [b"", b"\x30\x03\x02\x01\x01", made("a")[:-9]])
def test_what_is_no_certificate_is_a_value_error(certificate):
    with pytest.raises(ValueError, match=r"\w"):
        read_certificate(certificate)
