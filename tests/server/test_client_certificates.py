"""Clients that prove a named key by a certificate, and by no secret: who comes in as which key, and who does not."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from orcha._protocol import certificates
from orcha._protocol.client_certificates import file_fingerprint
from orcha._protocol.frames import frame
from orcha._protocol.handshake import TLS, ClientHello
from orcha._protocol.keys import Key, make_key
from orcha._protocol.messages import Ping, Reply, Verdict
from orcha._protocol.named_keys import make_named_key, named_record
from orcha._protocol.tls import TlsSession, client_context
from orcha._protocol.tls_files import TlsFiles
from orcha._protocol.trust import ServiceTrust
from orcha._server.client_login import STRANGER
from orcha.exceptions import AuthenticationError, ConfigurationError, OrchaConnectionError
from server.answering import ask
from server.test_named_keys import is_cut_off, record, records, use
from support.authorities import Authority
from support.waiting import wait_for

OK = Reply(1, Verdict.OK)
SPIFFE = "spiffe://lab/build"
NAMES = [x509.DNSName("Build.Example"), x509.UniformResourceIdentifier(SPIFFE), x509.RFC822Name("build@lab.example")]


def of_certificate(name, certificate, role="submitter", **how):
    """Give the record of a key that a certificate proves."""
    return named_record(name, b"", b"", role=role, certificate=certificate, **how)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def start(answering, authority):
    """Give a function that starts a server that asks for certificates of the authority, and knows these keys."""

    def started(*keys, **settings):
        logins = []
        running = answering(
            tls=tls_of(authority), named_keys=records(*keys), on_login=logins.append, salts=bytes(32), **settings
        )
        running.logins = logins
        return running

    return started


def tls_of(authority, clients=None):
    certificate, key = authority.pair("127.0.0.1")
    return certificates.load(TlsFiles(str(certificate), str(key), str((clients or authority).path)))


def shown(running, authority, pair, **how):
    """Give the endpoint of a server as that of a service with a name, where the client shows this certificate."""
    certificate, key = map(str, pair)
    trust = ServiceTrust("box", ca=str(authority.path), certificate=certificate, certificate_key=key, **how)
    return replace(running.remote, trust=trust)


def refusal(running, links, endpoint):
    """Give what a client is told that is not let in, and what was noted of its login."""
    before = len(running.logins)
    with pytest.raises(AuthenticationError) as raised:
        links(endpoint)
    wait_for(lambda: len(running.logins) > before, what="the refusal is noted")
    (login,) = running.logins[before:]
    assert (login.who, login.door, login.host) == (STRANGER, "certificate", "127.0.0.1")
    return str(raised.value), login


@pytest.mark.parametrize("uvloop", [True, False])
def test_a_certificate_of_a_key_lets_its_client_in_without_a_secret(start, links, authority, uvloop):
    pair = authority.pair("build", names=NAMES)
    fingerprint = file_fingerprint(str(pair[0]))
    names = ("dns:build.example", f"uri:{SPIFFE}", "email:build@lab.example", "cn:build", fingerprint)
    for number, name in enumerate(names):
        uid = 1001 if name == fingerprint else None
        key = of_certificate("build", name, ("viewer", "submitter", "operator", "admin", "viewer")[number], uid=uid)
        running = start(key, of_certificate("other", "dns:other.example"), uvloop=uvloop)
        assert ask(links(shown(running, authority, pair)), Ping(1)) == OK
        peer, _ = running.messages.get(timeout=30)
        identity = "key:build" if uid is None else "uid:1001"
        assert (peer.identity, peer.role, peer.key, peer.door) == (identity, key.role, "build", "certificate")
        assert not peer.is_other
        (login,) = running.logins
        assert login == (identity, "build", "certificate", "127.0.0.1", "")


def test_a_certificate_that_is_no_keys_lets_nobody_in(start, links, authority):
    """An authority says who a client is, and never that the client may come in: there is no default."""
    running = start(of_certificate("other", "dns:other.example"), record(make_named_key("build")))
    pair = authority.pair("build", names=NAMES)
    said, login = refusal(running, links, shown(running, authority, pair))
    assert "no key for the certificate" in said
    assert "orcha key add NAME --role ROLE --certificate FILE" in said
    assert login.reason == (
        f"no key is of its certificate ({file_fingerprint(str(pair[0]))}, cn:build, dns:build.example,"
        f" email:build@lab.example, uri:{SPIFFE})"
    )
    assert running.messages.empty()


def test_a_certificate_that_fits_several_keys_is_nobodys(start, links, authority):
    running = start(of_certificate("a", "cn:build", "admin"), of_certificate("b", f"uri:{SPIFFE}"))
    said, login = refusal(running, links, shown(running, authority, authority.pair("build", names=NAMES)))
    assert "several keys" in said
    assert login.reason == "several keys are of its certificate (a, b)"


@pytest.mark.parametrize(
    ("how", "said", "noted"),
    [
        ({"days": 1, "since": -2}, "has expired", "certificate has expired"),
        ({"since": 1}, "is not valid yet", "certificate is not yet valid"),
        ({"usages": [ExtendedKeyUsageOID.SERVER_AUTH]}, "which is not for clients", "un"),
        ({"other": True}, "since it knows another authority", "unable to get local issuer certificate"),
        ({"revoked": True}, "which its authority has revoked", "certificate revoked"),
        ({"list": 0.5}, "or its list of revoked certificates", "CRL has expired"),
    ],
)
def test_a_certificate_that_the_authority_does_not_vouch_for_is_told_why(start, links, authority, how, said, noted):
    is_others, is_revoked, days = how.pop("other", False), how.pop("revoked", False), how.pop("list", 7)
    signs = Authority(authority.folder, "another") if is_others else authority
    pair = signs.pair("build", names=NAMES, **how)
    good = authority.pair("build", names=NAMES, usages=[ExtendedKeyUsageOID.CLIENT_AUTH])
    if is_revoked or days < 1:
        authority.revoke(*pair[:1] if is_revoked else (), days=days)
    running = start(of_certificate("build", "dns:build.example"))
    told, login = refusal(running, links, shown(running, authority, pair))
    assert said in told
    assert str(pair[0]) in told
    assert login.reason.startswith(f"its certificate is not taken: {noted}")
    if days > 1:
        assert ask(links(shown(running, authority, good)), Ping(1)) == OK


def test_who_comes_in_by_a_certificate_is_cut_off_like_any_client_of_a_key(start, links, authority):
    keys = [of_certificate("build", "dns:build.example"), of_certificate("web", "dns:web.example", "admin")]
    running = start(*keys)
    build = shown(running, authority, authority.pair("build", names=NAMES))
    web = shown(running, authority, authority.pair("web.example"))
    first, other = links(build), links(web)
    use(running, keys[1])
    assert is_cut_off(first)
    assert "no key for the certificate" in refusal(running, links, build)[0]
    assert ask(other, Ping(1)) == OK
    use(running, *keys)
    again = links(build)
    use(running, of_certificate("build", "dns:another.example"), keys[1])
    assert is_cut_off(again)
    use(running, *keys)
    late = links(build)
    use(running, replace(keys[0], expires=time.time() - 1))
    assert is_cut_off(late)
    assert is_cut_off(other)
    said, login = refusal(running, links, build)
    assert "the time of this key is over" in said
    assert (login.key, login.reason) == ("build", "a key whose time is over")


def test_a_client_whose_certificate_expires_is_cut_off(start, links, authority, monkeypatch):
    """Also where the clock on the wall is set while the client is connected."""
    running = start(of_certificate("build", "cn:build"))
    monkeypatch.setattr("orcha._server.connection._CLOCK_SECONDS", 0.01)
    link = links(shown(running, authority, authority.pair("build", names=NAMES)))
    assert ask(link, Ping(1)) == OK
    peer, _ = running.messages.get(timeout=30)
    running.server._table.door.clock = lambda: time.time() + 31 * 86_400.0
    assert is_cut_off(link)
    assert peer.is_lost


def test_another_authority_cuts_off_who_came_in_by_the_one_before_and_nobody_else(start, links, authority):
    key = make_key()
    running = start(of_certificate("build", "dns:build.example"), key=key)
    build = shown(running, authority, authority.pair("build", names=NAMES))
    first, own, secret = links(build), links(running.endpoint, key), links(build, key)
    running.server.use_tls(tls_of(authority))
    assert ask(first, Ping(1)) == OK
    half = half_way(running, build)
    running.server.use_tls(tls_of(authority, Authority(authority.folder, "another")))
    assert is_cut_off(first)
    assert [ask(each, Ping(1)) for each in (own, secret)] == [OK, OK]
    assert "another authority" in refusal(running, links, build)[0]
    with half.sock:
        half.sock.settimeout(30)
        half.send(frame(ClientHello(1, 1, TLS, "", running.remote.name).pack()))
        assert half.sock.recv(65_536) == b"", "the authority that vouched for it does not count any more"


def half_way(running, endpoint):
    """Connect with a certificate, and say no hello yet."""
    session, sock = TlsSession(client_context(endpoint.trust), server=False, name="127.0.0.1"), running.raw()
    data = b""
    while not session.established:
        session.receive(data)
        if outgoing := session.outgoing():
            sock.sendall(outgoing)
        data = b"" if session.established else sock.recv(65_536)

    def send(said):
        session.wrap(said)
        sock.sendall(session.outgoing())

    return SimpleNamespace(sock=sock, send=send)


def test_a_revocation_by_the_authority_holds_from_the_reload_on(start, links, authority):
    pair = authority.pair("build", names=NAMES)
    authority.revoke()
    running = start(of_certificate("build", "dns:build.example"))
    link = links(shown(running, authority, pair))
    authority.revoke(pair[0])
    running.server.use_tls(tls_of(authority))
    assert is_cut_off(link)
    assert "has revoked" in refusal(running, links, shown(running, authority, pair))[0]


def test_a_certificate_proves_nothing_where_the_client_names_a_key(start, links, authority, tmp_path):
    """A key that is named is proved: also the key of the certificate, which has no secret that could be."""
    ci = make_named_key("ci")
    running = start(of_certificate("build", "dns:build.example", "admin"), record(ci), limits={"refusal_delay": 0.0})
    pair = authority.pair("build", names=NAMES)
    path = tmp_path / "ci.key"
    path.touch(0o600)
    path.write_text(ci.text)
    for endpoint, key in (
        (shown(running, authority, pair), ci),
        (shown(running, authority, pair, key=str(path)), None),
    ):
        assert ask(links(endpoint, key), Ping(1)) == OK
        peer, _ = running.messages.get(timeout=30)
        assert (peer.identity, peer.role, peer.door) == ("key:ci", "submitter", "key")
    for secret in (b"", bytes(32)):
        with pytest.raises(AuthenticationError, match="does not accept the key"):
            links(shown(running, authority, pair), Key("build", secret))
    assert running.server._table.door.find("build") is None


def test_a_client_without_a_secret_wants_an_authority_of_the_service(start, links, authority):
    running = start(of_certificate("build", "dns:build.example"))
    certificate, key = map(str, authority.pair("build", names=NAMES))
    blind = replace(running.remote, trust=ServiceTrust("box", certificate=certificate, certificate_key=key))
    with pytest.raises(ConfigurationError, match="box has a certificate of the client, and neither a key nor an"):
        links(blind)
    assert running.logins == []
    with pytest.raises((AuthenticationError, OrchaConnectionError), match="wants a certificate of the client"):
        links(replace(running.remote, trust=ServiceTrust("box", ca=str(authority.path))))


def test_a_service_that_asks_for_no_certificate_takes_none(answering, links, authority):
    """Also where it has a key of the certificate: nobody has checked what the client shows."""
    certificate, its_key = authority.pair("127.0.0.1")
    running = answering(
        tls=certificates.load(TlsFiles(str(certificate), str(its_key))),
        named_keys=records(of_certificate("build", "dns:build.example", "admin")),
    )
    with pytest.raises(AuthenticationError, match="asks its clients for no certificate"):
        links(shown(running, authority, authority.pair("build", names=NAMES)))


def test_one_user_has_no_more_connections_by_certificates_than_by_a_secret(start, links, authority):
    running = start(of_certificate("build", "dns:build.example"), limits={"peers_of_one_user": 2})
    endpoint = shown(running, authority, authority.pair("build", names=NAMES))
    links(endpoint)
    links(endpoint)
    with pytest.raises(OrchaConnectionError, match="no room for another client now"):
        links(endpoint)


def test_a_renewed_certificate_of_the_same_key_has_the_same_fingerprint(start, links, authority):
    pair = authority.pair("build", names=NAMES)
    running = start(of_certificate("build", file_fingerprint(str(pair[0]))))
    renewed = authority.pair("build", key=load_pem_private_key(pair[1].read_bytes(), None))
    assert ask(links(shown(running, authority, renewed)), Ping(1)) == OK
    same_name = authority.pair("build", names=NAMES)
    assert "no key for the certificate" in refusal(running, links, shown(running, authority, same_name))[0]
