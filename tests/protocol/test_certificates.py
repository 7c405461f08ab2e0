"""What a service is recognised by, and what is told of files that are no certificate."""

from __future__ import annotations

import base64
import hashlib
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from orcha._protocol.certificates import UnusableFileError, fingerprint_of, load, problem_of, public_key_of
from orcha._protocol.tls import server_tls
from orcha._protocol.tls_files import TlsFiles
from support.authorities import Authority

DAY = 86_400.0


def der_of(path):
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(serialization.Encoding.DER)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


KEYS = {
    "EC": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RSA": lambda: rsa.generate_private_key(65_537, 2_048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("kind", KEYS)
def test_the_public_key_is_found_where_the_library_finds_it_and_nothing_in_what_is_cut_off(authority, kind):
    key = KEYS[kind]()
    certificate = der_of(authority.pair("box.example", key=key)[0])
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    expected = key.public_key().public_bytes(*form)
    assert public_key_of(certificate) == expected
    digest = base64.b64encode(hashlib.sha256(expected).digest()).decode().rstrip("=")
    assert fingerprint_of(certificate) == f"SHA256:{digest}"
    assert fingerprint_of(der_of(authority.pair("other.example", key=key)[0])) == f"SHA256:{digest}"
    for end in range(len(certificate)):
        with pytest.raises(ValueError, match="cut off"):
            public_key_of(certificate[:end])


def test_a_pair_is_loaded_and_its_fingerprint_is_that_of_the_certificate(authority):
    certificate, key = authority.pair("box.example")
    found = load(TlsFiles(str(certificate), str(key), str(authority.path)))
    assert found.fingerprint == fingerprint_of(der_of(certificate))
    assert found.certificate_hash == hashlib.sha256(der_of(certificate)).digest()


def encrypted(path):
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(*form, serialization.BestAvailableEncryption(b"word")))


BROKEN = {
    "no certificate": (lambda c, k, a: c.unlink(), "certificate", "cannot be read: No such file"),
    "a folder": (lambda c, k, a: (c.unlink(), c.mkdir()), "certificate", "is no file"),
    "no PEM": (lambda c, k, a: c.write_bytes(b"\0" * 99), "certificate", "holds no certificate in PEM"),
    "a key in place of it": (lambda c, k, a: c.write_bytes(k.read_bytes()), "certificate", "holds no certificate"),
    "cut off": (lambda c, k, a: c.write_bytes(c.read_bytes()[:200]), "certificate", "holds no certificate in PEM"),
    "too long": (lambda c, k, a: c.write_bytes(b"#" * (1 << 21)), "certificate", "is no file of at most"),
    "no key": (lambda c, k, a: k.unlink(), "key", "cannot be read: No such file"),
    "an open key": (lambda c, k, a: k.chmod(0o644), "key", "others may read the key"),
    "no key in PEM": (lambda c, k, a: k.write_bytes(b""), "key", "holds no private key in PEM"),
    "a password": (lambda c, k, a: encrypted(k), "key", "is protected by a password"),
    "another's key": (
        lambda c, k, a: k.write_bytes(a.pair("other")[1].read_bytes()),
        "key",
        "is not that of the certificate",
    ),
    "no authority": (lambda c, k, a: a.path.unlink(), "client_ca", "cannot be read: No such file"),
    "an empty authority": (lambda c, k, a: a.path.write_bytes(b""), "client_ca", "cannot be used"),
    "no authority in PEM": (lambda c, k, a: a.path.write_bytes(b"\xff" * 9), "client_ca", "cannot be used"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_each_file_that_cannot_be_used_is_named(authority, case):
    certificate, key = authority.pair("box.example")
    breaks, field, said = BROKEN[case]
    breaks(certificate, key, authority)
    with pytest.raises(UnusableFileError) as raised:
        load(TlsFiles(str(certificate), str(key), str(authority.path)))
    path = {"certificate": certificate, "key": key, "client_ca": authority.path}[field]
    assert (raised.value.field, raised.value.exit_code) == (field, 78)
    assert str(path) in str(raised.value)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("in_days", "is_over", "said"),
    [
        (-2, True, "is valid from"),
        (0, None, ""),
        (14.9, None, ""),
        (15.1, False, "expires on"),
        (28.9, False, "expires on"),
        (29.1, True, "expired on"),
    ],
)
def test_people_are_told_of_the_end_of_a_certificate(authority, in_days, is_over, said):
    certificate, key = authority.pair("box.example", days=30, since=-1)
    valid = load(TlsFiles(str(certificate), str(key))).valid
    problem = problem_of(str(certificate), valid, time.time() + in_days * DAY)
    assert (problem is None) == (is_over is None)
    if problem is not None:
        assert (problem[0], said in problem[1], "orcha reload" in problem[1]) == (is_over, True, True)


def test_a_service_keeps_the_certificate_that_it_has_made(tmp_path):
    path = tmp_path / "tls.pem"
    first = server_tls(str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    again = server_tls(str(path))
    assert (again.certificate_hash, again.fingerprint) == (first.certificate_hash, first.fingerprint)
    assert server_tls().fingerprint != first.fingerprint
    for content in (b"", path.read_bytes()[:300], b"\xff"):
        path.write_bytes(content)
        made = server_tls(str(path))
        assert made.fingerprint != first.fingerprint
        assert server_tls(str(path)).fingerprint == made.fingerprint
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        server_tls(str(path))
