"""How a client connects over SSH: it starts ``orcha relay`` at the login, and speaks through that with the service.

The relay joins its two streams with the Unix socket of the service there. The kernel there names the login's user to
the service, and the service's user to the relay, and ssh protects the bytes. So the handshake is that of a Unix socket.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import time
from dataclasses import replace

from orcha._client.connection import RECEIVE_BYTES, ServiceConnection, time_left
from orcha._client.login_delay import login_delay
from orcha._client.ssh_process import SshProcess, ssh_command
from orcha._protocol.frames import FrameError
from orcha._protocol.handshake import UNIX, ClientHandshake, HandshakeError
from orcha._protocol.relay_greeting import GreetingError, GreetingReader
from orcha.exceptions import AuthenticationError, ConfigurationError, OrchaConnectionError, OrchaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from orcha._protocol.endpoint import Endpoint
    from orcha._protocol.keys import Key
    from orcha._protocol.relay_greeting import FarSide
    from orcha._protocol.ssh_place import SshPlace

_LOGIN_SECONDS = 30.0
"""What a login may take where nobody is asked anything."""
_DIALOGUE_SECONDS = 3600.0
"""What a person may take to answer ssh."""
_HANDSHAKE_SECONDS = 10.0
WAIT_SECONDS = 2.0
"""How long a relay waits for a service that is away: a login for each attempt would cost the host more."""
_UNPACK_SECONDS = 600.0
"""What a login may take to unpack what was sent, once all was sent."""
_STOP_SECONDS = 130.0
"""What a service there may take to stop: a little longer than orcha stop waits."""
_CLOSE_SECONDS = 0.5
"""What ssh has to pass on what it was given, when a connection is closed."""
_END_SECONDS = 2.0
"""What ssh may take to end after it has closed its streams."""
_SSH_FAILED_CODE, _NOT_FOUND_CODE, _NOT_EXECUTABLE_CODE = 255, 127, 126
_REFUSED = (
    "Permission denied",
    "Host key verification failed",
    "REMOTE HOST IDENTIFICATION HAS CHANGED",
    "Too many authentication failures",
    "No more authentication methods",
    "no matching host key",
)
"""What ssh says where trying again is of no use, and may have the host shut out this one."""
_TURNED_AWAY = "kex_exchange_identification"
"""What ssh says where the host has too many logins under way at this moment (MaxStartups of sshd_config(5))."""
_MAX_LOGINS = 5
_UNKNOWN_HOST = ("Could not resolve hostname", "Name or service not known", "No address associated with hostname")


class RelayedConnection(ServiceConnection):
    """A connection through ssh and a relay."""

    def __init__(self, ssh: SshProcess, endpoint: Endpoint, far: FarSide) -> None:
        super().__init__(ssh.socket, UNIX, endpoint)
        self.transport = "ssh"
        self._ssh = ssh
        self.far = far

    def close(self) -> None:
        """Close the connection once what was sent is on its way, and end ssh."""
        with contextlib.suppress(OSError):  # it is closed already
            self.sock.shutdown(socket.SHUT_WR)
            self._ssh.wait(_CLOSE_SECONDS)
        super().close()
        self._ssh.end()


def dial_ssh(
    endpoint: Endpoint, key: Callable[[], Key | None], load_key: Callable[[], Key], timeout: float
) -> RelayedConnection:
    """Connect to the service at a login; `key` gives the key to prove in any case, `load_key` what else is asked for.

    `timeout` is in seconds, and the login has its own time beside it. Raises the errors of `orcha._client.dial.dial`.
    """
    place = endpoint.ssh
    assert place is not None
    ssh, far = _log_in(place)
    try:
        ssh.be_quiet()
        connection = RelayedConnection(ssh, replace(endpoint, ssh=_found(place, far)), far)
        connection.handshake(ClientHandshake(UNIX, "ssh", key(), load_key=load_key), max(timeout, _HANDSHAKE_SECONDS))
    except BaseException as error:
        ssh.socket.close()
        ssh.end()
        if isinstance(error, (FrameError, HandshakeError, OSError)) and not isinstance(error, OrchaError):
            raise OrchaConnectionError(
                f"the service on {place.host} does not answer through the relay"
                f" ({error!s:.200}{'' if str(error) else 'it closed the connection'}): see its log"
            ) from None
        if type(error) is OrchaError:  # no version in common
            raise OrchaError(f"{place.host} has Orcha {far.version}: {error}") from None
        raise
    return connection


def _log_in(place: SshPlace) -> tuple[SshProcess, FarSide]:
    """Start ssh and hear the relay; once more where the host turned ssh away before it looked at who comes."""
    asks = not place.is_known and _has_terminal()
    words = ssh_command(place, _remote_command(place), asks=asks)
    for attempt in range(_MAX_LOGINS):
        ssh = SshProcess(words, asks=asks)
        try:
            return ssh, greet(ssh, place, time.monotonic() + (_DIALOGUE_SECONDS if asks else _LOGIN_SECONDS))
        except BaseException as error:
            ssh.socket.close()
            ssh.end()
            is_last = place.is_known or attempt == _MAX_LOGINS - 1
            if is_last or not isinstance(error, OrchaConnectionError) or _TURNED_AWAY not in ssh.said():
                raise
        time.sleep(login_delay(attempt + 1))
    raise AssertionError


def wait_until_stopped(place: SshPlace) -> None:
    """Wait until the service there, which was asked to stop, has stopped; raises OrchaConnectionError else."""
    ssh = SshProcess(ssh_command(place, f"{_relay(place)} --until-stopped", asks=False), asks=False)
    try:
        greet(ssh, place, time.monotonic() + _LOGIN_SECONDS + _STOP_SECONDS)
    finally:
        ssh.socket.close()
        ssh.end()


def send(place: SshPlace, what: str, write: Callable[[BinaryIO], None]) -> FarSide:
    """Have a relay at the login do `what` with what `write` writes; give what the relay says of that.

    Raises OrchaConnectionError where the relay could not, and what `write` raises.
    """
    ssh = SshProcess(ssh_command(place, f"{_relay(place)} {what}", asks=False), asks=False)
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError), ssh.socket.makefile("wb") as stream:
            write(stream)
        ssh.socket.shutdown(socket.SHUT_WR)
        return greet(ssh, place, time.monotonic() + _UNPACK_SECONDS)
    finally:
        ssh.socket.close()
        ssh.end()


def _relay(place: SshPlace) -> str:
    service = f" --service {shlex.quote(place.service)}" if place.service else ""
    return f"{place.program}{service} relay"


def _remote_command(place: SshPlace) -> str:
    wait = f" --wait {WAIT_SECONDS:g}" if place.is_known else ""
    folder = "" if place.folder is None else f" --folder {shlex.quote(place.folder)}"
    return f"{_relay(place)}{wait}{folder}"


def _found(place: SshPlace, far: FarSide) -> SshPlace:
    """Give the place of the service that was found: a client stays with it, and asks for the folder once."""
    return replace(place, service=f"unix:{far.place}", is_known=True, folder=None)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY))
    except OSError:
        return False
    return True


def greet(ssh: SshProcess, place: SshPlace, deadline: float) -> FarSide:
    """Wait for the relay's line; raise what it says, or why there is none."""
    reader = GreetingReader()
    far = None
    while far is None:
        try:
            ssh.socket.settimeout(time_left(deadline))
            data = ssh.socket.recv(RECEIVE_BYTES)
        except TimeoutError:
            raise OrchaConnectionError(
                f"ssh has not logged in to {place.login} in time: try ssh {place.login} true"
            ) from None
        except ConnectionError:
            data = b""
        if not data:
            raise failure(place, ssh.wait(_END_SECONDS), ssh.said(), reader.noise)
        try:
            far = reader.feed(data)
        except GreetingError as error:
            raise OrchaConnectionError(
                f"what answers on {place.host} is no relay of Orcha: {error}: see the startup files of that login, and"
                " which Orcha it has"
            ) from None
    if reader.rest:
        raise OrchaConnectionError(
            f"something on {place.host} besides Orcha writes to its output ({reader.rest[:40]!a}): see what the startup"
            " files of that login leave running"
        )
    if far.error:
        kind = {77: AuthenticationError, 78: ConfigurationError}.get(far.code, OrchaConnectionError)
        raise kind(f"on {place.host} {far.error}")
    return far


def failure(place: SshPlace, code: int | None, said: str, noise: bytes) -> OrchaError:
    """Give the error of an ssh that ended before a relay spoke.

    >>> str(failure(SshPlace("box"), 127, "sh: 1: orcha: not found", b"")).partition(":")[0]
    'there is no program orcha on box (sh'
    """
    because = f" ({said})" if said else ""
    if code == _SSH_FAILED_CODE:
        return _not_logged_in(place, said)
    if code == _NOT_FOUND_CODE and "no command relay" in said:
        return OrchaError(f"the Orcha on {place.host} is older than this one, and has no relay: update it there")
    if code in {_NOT_FOUND_CODE, _NOT_EXECUTABLE_CODE}:
        return OrchaConnectionError(
            f"there is no program {place.program} on {place.host}{because}: install Orcha there, or say where it is, in"
            f' services.toml: {place.host} = {{ at = "{place.url}", program = "/opt/orcha/bin/orcha" }}'
        )
    if not said and noise:
        because = f" ({noise[:80]!a})"
    ended = "has not ended" if code is None else f"ended with {code}" if code >= 0 else f"was killed by signal {-code}"
    return OrchaConnectionError(
        f"ssh to {place.login} {ended} before Orcha spoke there{because}: try ssh {place.login} {place.program}"
        " --version"
    )


def _not_logged_in(place: SshPlace, said: str) -> OrchaError:
    because = f": {said}" if said else ""
    if any(text in said for text in _REFUSED):
        if place.is_known:
            return AuthenticationError(
                f"the connection to {place.host} was lost, and ssh would have to ask to log in again{because}: what"
                " runs there goes on, and the same command, or orcha attach, finds it"
            )
        return AuthenticationError(f"ssh cannot log in to {place.login}{because}: try ssh {place.login} true")
    if any(text in said for text in _UNKNOWN_HOST):
        return OrchaConnectionError(
            f"ssh does not know the host {place.host}{because}: give another one, or name it in ~/.ssh/config"
        )
    return OrchaConnectionError(f"ssh does not reach {place.login}{because}: try ssh {place.login} true")


__all__ = ["RelayedConnection", "dial_ssh", "failure", "greet"]
