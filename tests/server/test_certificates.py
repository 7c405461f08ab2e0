"""A client recognises the service that it means, and a service its clients' certificates, before any proof."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from orcha._protocol import certificates, pins
from orcha._protocol.keys import make_key, users_key
from orcha._protocol.messages import Ping, Reply, Verdict
from orcha._protocol.tls import context_of, server_tls
from orcha._protocol.tls_files import TlsFiles
from orcha._protocol.trust import ServiceTrust
from orcha.exceptions import AuthenticationError, ConfigurationError, OrchaConnectionError
from server.answering import ask
from support.authorities import Authority

OK = Reply(1, Verdict.OK)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def named(running, **how):
    """Give the endpoint of a server over TCP as that of a service with a name."""
    return replace(running.remote, trust=ServiceTrust("box", **how))


def known(running):
    return pins.read_pins().get(running.remote.name)


def test_a_service_is_recognised_from_its_first_use_on_over_restarts_and_renewals(answering, links, authority):
    certificate, key = authority.pair("box.example")
    running = answering(tls=certificates.load(TlsFiles(str(certificate), str(key))))
    assert ask(links(named(running)), Ping(1)) == OK
    fingerprint = known(running)
    assert fingerprint == certificates.load(TlsFiles(str(certificate), str(key))).fingerprint
    assert Path(pins.pins_path()).stat().st_mode & 0o777 == 0o600

    renewed = authority.pair("box.example", key=load_pem_private_key(key.read_bytes(), None))
    running.server.use_tls(certificates.load(TlsFiles(str(renewed[0]), str(renewed[1]))))
    assert ask(links(named(running)), Ping(1)) == OK
    assert known(running) == fingerprint


def test_a_certificate_of_another_key_takes_its_place_and_connections_stay(answering, links):
    running = answering()
    before, half = links(running.remote), running.stranger()
    running.server.use_tls(server_tls())
    after = links(running.remote)
    assert [ask(each, Ping(1)) for each in (before, after)] == [OK, OK]
    with half:  # it was shown the certificate before, and is still heard
        half.sendall(b"\0\0\0\1x")
        half.settimeout(30)
        assert half.recv(1) == b""


def test_a_service_that_has_changed_is_not_told_anything(answering, links):
    running = answering()
    assert ask(links(named(running)), Ping(1)) == OK
    first = known(running)
    second = server_tls()
    running.server.use_tls(second)
    with pytest.raises(pins.PinMismatchError) as raised:
        links(named(running))
    for part in (first, second.fingerprint, pins.pins_path(), "orcha service trust box", "HAS CHANGED"):
        assert part in str(raised.value)
    assert raised.value.exit_code == 77
    assert known(running) == first
    assert pins.forget_pin(running.remote.name) == first
    assert ask(links(named(running)), Ping(1)) == OK
    assert known(running) == second.fingerprint


def test_a_service_that_does_not_know_the_key_is_not_pinned(answering, links):

    running = answering(limits={"refusal_delay": 0.0})
    with pytest.raises(AuthenticationError):
        links(named(running), make_key())
    assert known(running) is None


@pytest.fixture
def relay():
    """Give a function that starts somebody with a certificate of their own; what clients tell them is kept."""
    heard: list[bytes] = []
    ends: list[socket.socket] = []

    def start(tls_context, address=("127.0.0.1", 0)):
        listener = socket.create_server(address)
        ends.append(listener)

        def listen():
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                try:
                    with tls_context.wrap_socket(client, server_side=True) as inside:
                        heard.append(b"")
                        while data := inside.recv(65_536):
                            heard[-1] += data
                except OSError:
                    continue

        thread = threading.Thread(target=listen)
        thread.start()
        ends.append(thread)
        return listener.getsockname()[1], heard

    yield start
    for end in ends:
        if isinstance(end, socket.socket):
            end.shutdown(socket.SHUT_RDWR)
            end.close()
        else:
            end.join(30)


def test_who_stands_between_hears_no_byte_of_the_handshake(answering, links, relay, authority):
    """With a pin, and with an authority: the client ends before its hello, and so before any proof of its key."""
    running = answering()
    links(named(running))
    certificate, key = authority.pair("127.0.0.1")
    context = context_of(key.read_bytes() + certificate.read_bytes())
    port, heard = relay(context)
    between = replace(running.remote, port=port, folder="/nonexistent", trust=ServiceTrust("box"))
    pins.keep_pin(between.name, str(known(running)))
    with pytest.raises(pins.PinMismatchError):
        links(between)
    other = Authority(authority.folder, "another")
    with pytest.raises(AuthenticationError, match="does not vouch for the certificate"):
        links(replace(between, trust=ServiceTrust("box", ca=str(other.path))))
    with pytest.raises(AuthenticationError, match="does not vouch"):
        links(replace(between, address="localhost", trust=ServiceTrust("box", ca=str(authority.path))))
    assert not any(heard)


def test_with_an_authority_a_service_is_recognised_by_its_name(answering, links, authority):
    certificate, key = authority.pair("127.0.0.1")
    running = answering(tls=certificates.load(TlsFiles(str(certificate), str(key))))
    assert ask(links(named(running, ca=str(authority.path))), Ping(1)) == OK
    assert known(running) is None
    certificate, key = authority.pair("192.0.2.7")
    running.server.use_tls(certificates.load(TlsFiles(str(certificate), str(key))))
    with pytest.raises(AuthenticationError, match=r"does not vouch for the certificate of 127\.0\.0\.1"):
        links(named(running, ca=str(authority.path)))
    certificate, key = authority.pair("127.0.0.1", days=1, since=-2)
    running.server.use_tls(certificates.load(TlsFiles(str(certificate), str(key))))
    with pytest.raises(AuthenticationError, match="certificate has expired"):
        links(named(running, ca=str(authority.path)))


@pytest.mark.parametrize("uvloop", [True, False])
def test_clients_show_a_certificate_where_the_service_names_their_authority(answering, links, authority, uvloop):
    certificate, key = authority.pair("127.0.0.1")
    running = answering(tls=certificates.load(TlsFiles(str(certificate), str(key), str(authority.path))), uvloop=uvloop)
    own, own_key = authority.pair("ci.example")
    shown = named(running, certificate=str(own), certificate_key=str(own_key))
    key = users_key()
    assert ask(links(shown, key), Ping(1)) == OK
    strangers, strangers_key = Authority(authority.folder, "another").pair("ci.example")
    for endpoint in (
        running.remote,
        named(running),
        named(running, certificate=str(strangers), certificate_key=str(strangers_key)),
    ):
        with pytest.raises((AuthenticationError, OrchaConnectionError)):
            links(endpoint, key)
    old, old_key = authority.pair("ci.example", days=1, since=-2)
    with pytest.raises((AuthenticationError, OrchaConnectionError)):
        links(named(running, certificate=str(old), certificate_key=str(old_key)), key)
    assert running.messages.qsize() == 1
    assert ask(links(running.endpoint), Ping(1)) == OK  # the Unix socket has the kernel's word


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"ca": "/nonexistent"}, "/nonexistent cannot be read"),
        ({"ca": "{none}"}, "cannot be used"),
        ({"certificate": "/nonexistent"}, "/nonexistent cannot be read"),
        ({"certificate": "{none}"}, "cannot be used"),
        ({"key": "/nonexistent"}, "the key file /nonexistent is not there"),
    ],
)
def test_a_file_of_a_client_that_cannot_be_used_is_named(answering, links, tmp_path, how, said):
    none = tmp_path / "none"
    none.write_text("nothing")
    running = answering()
    key = None if "key" in how else users_key()
    with pytest.raises(ConfigurationError, match=said):
        links(named(running, **{field: path.format(none=none) for field, path in how.items()}), key)


def test_a_file_of_pins_that_is_none_is_named_with_its_line(answering, links):
    running = answering()
    path = Path(pins.pins_path())
    path.write_text("box:1 SHA256:a\nnothing\n")
    with pytest.raises(ConfigurationError, match=rf"{path}:2: a line has a place and a fingerprint"):
        links(named(running))
    path.write_text(f"{running.remote.name} SHA256:first\n{running.remote.name} SHA256:second\n")
    with pytest.raises(pins.PinMismatchError, match="SHA256:first"):
        links(named(running))
    path.unlink()
