"""A relay, and what a client makes of an ssh that ends."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from orcha._client import ssh_process
from orcha._client.dial_ssh import failure
from orcha._client.login_delay import login_delay
from orcha._client.relay import join
from orcha._client.ssh_process import SshProcess, ssh_command
from orcha._protocol.ssh_place import SshPlace
from orcha.utils import threads
from support.waiting import DEADLINE, wait_for

MANY = os.urandom(1 << 16) * 64


class Relay:
    """A relay on a thread between a client's two streams and a service's socket."""

    def __init__(self, *, pipes: bool) -> None:
        self.service, theirs = socket.socketpair()
        self.service.settimeout(DEADLINE)
        if pipes:
            (given, self.give), (self.take, taken) = os.pipe(), os.pipe()
        else:
            ours, far = socket.socketpair()
            self.give = self.take = ours.detach()
            given = far.detach()
            taken = os.dup(given)

        def run() -> None:
            with theirs:
                join(theirs, given, taken)
            for each in {given, taken}:
                os.close(each)

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def end_giving(self) -> None:
        """Say that nothing more comes from the client."""
        if self.give != self.take:
            os.close(self.give)
            self.give = -1
            return
        with socket.socket(fileno=os.dup(self.give)) as ours:
            ours.shutdown(socket.SHUT_WR)

    def hang_up(self) -> None:
        """Take the client away."""
        for each in {self.give, self.take} - {-1}:
            os.close(each)

    def joined(self) -> None:
        """Wait for its end."""
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()
        self.service.close()


def read_all(descriptor):
    found = b""
    while data := os.read(descriptor, 1 << 16):
        found += data
    return found


@pytest.fixture(params=[True, False], ids=["pipes", "one socket"])
def relay(request):
    return Relay(pipes=request.param)


def test_both_ways_at_once_with_more_than_fits_and_each_end_is_passed_on(relay):
    def give():
        left = memoryview(MANY)
        while left:
            left = left[os.write(relay.give, left) :]
        relay.end_giving()

    def answer():
        relay.service.sendall(MANY)
        got = b""
        while data := relay.service.recv(1 << 16):
            got += data
        relay.service.sendall(b"all" if got == MANY else b"not all")
        relay.service.shutdown(socket.SHUT_WR)

    threads = [threading.Thread(target=each) for each in (give, answer)]
    for thread in threads:
        thread.start()
    assert read_all(relay.take) == MANY + b"all"
    for thread in threads:
        thread.join(DEADLINE)
    relay.hang_up()
    relay.joined()


def test_a_service_that_does_not_read_stops_the_client_and_one_that_ends_ends_the_relay(relay):
    os.set_blocking(relay.give, False)
    sent = 0
    stuck = 0
    while stuck < 20:
        try:
            sent += os.write(relay.give, MANY[:65_536])
            stuck = 0
        except BlockingIOError:
            stuck += 1
            threading.Event().wait(0.01)
    assert sent < 8 << 20
    relay.service.close()
    os.set_blocking(relay.take, True)
    with pytest.raises(ConnectionResetError) if relay.give == relay.take else nothing():
        assert read_all(relay.take) == b""
    relay.hang_up()
    relay.joined()


def nothing():
    from contextlib import nullcontext

    return nullcontext()


def test_a_client_that_takes_nothing_more_ends_the_relay_though_the_service_says_nothing(relay):
    relay.hang_up()
    assert relay.service.recv(1) == b""
    relay.joined()


# --- ssh ---------------------------------------------------------------------------------------------------------

BOX, KNOWN = SshPlace("anna@box", program="orcha"), SshPlace("box", is_known=True)


@pytest.mark.parametrize(
    ("place", "code", "said", "noise", "kind", "text"),
    [
        (BOX, 255, "ssh: Could not resolve hostname box: Name or service not known", b"", 69, "does not know the host"),
        (BOX, 255, "anna@box: Permission denied (publickey).", b"", 77, "cannot log in to anna@box: anna@box: Perm"),
        (KNOWN, 255, "Host key verification failed.", b"", 77, "would have to ask to log in again"),
        (BOX, 255, "ssh: connect to host box port 22: Connection refused", b"", 69, "does not reach anna@box: ssh:"),
        (BOX, 127, "bash: line 1: orcha: command not found", b"", 69, "there is no program orcha on box (bash"),
        (BOX, 126, "sh: 1: orcha: Permission denied", b"", 69, "there is no program orcha on box"),
        (BOX, 127, "orcha: there is no command relay: orcha --help lists them", b"", 1, "is older than this one"),
        (BOX, 1, "", b"This account is not available.\n", 69, "ended with 1 before Orcha spoke there (b'This acc"),
        (BOX, -9, "", b"", 69, "was killed by signal 9"),
        (BOX, None, "", b"", 69, "has not ended"),
    ],
)
def test_why_ssh_ended_is_told_with_the_cure(place, code, said, noise, kind, text):
    error = failure(place, code, said, noise)
    assert error.exit_code == kind
    assert text in str(error)
    assert ": " in str(error)


def test_the_words_of_an_ssh(monkeypatch):
    monkeypatch.setenv("ORCHA_SSH", "sh -F 'my config'")
    words = ssh_command(SshPlace("anna@box", 2222), "orcha relay", asks=True)
    assert words[:6] == ["sh", "-F", "my config", "-T", "-x", "-a"]
    assert words[-4:] == ["-p", "2222", "anna@box", "orcha relay"]
    assert {"ServerAliveInterval=15", "ServerAliveCountMax=3", "ClearAllForwardings=yes"} < set(words)  # after 45 s
    assert "BatchMode=yes" not in words
    assert "BatchMode=yes" in ssh_command(SshPlace("box"), "orcha relay", asks=False)


def test_what_ssh_says_before_its_end_is_kept_and_shown_where_it_goes_on(capfd):
    ssh = SshProcess(["sh", "-c", "echo 'try again' >&2; read x; printf '\\033[2J%s' \"$x\" >&2; exit 7"], asks=True)
    wait_for(lambda: "try again" in ssh.said())
    seen = wait_for(lambda: capfd.readouterr().err)
    assert seen == "try again\n"
    ssh.socket.sendall(b"last words\n")
    assert ssh.wait(DEADLINE) == 7
    assert ssh.said() == "try again; [2Jlast words"
    assert capfd.readouterr().err == ""
    ssh.end()
    ssh.socket.close()


def test_an_ssh_that_cannot_be_watched_is_ended_and_nothing_of_it_is_left(monkeypatch):
    """The fixtures of all tests look for children and descriptors that a test leaves."""

    def refuse(thread):
        raise threads.NoThreadError("no room")

    monkeypatch.setattr(ssh_process.threads, "start", refuse)
    with pytest.raises(threads.NoThreadError):
        SshProcess(["sh", "-c", "exec sleep 1000"], asks=False)


def test_logins_are_tried_with_longer_and_longer_pauses():
    assert login_delay(0) < 0.11
    assert 1.0 <= login_delay(20) <= 2.0
