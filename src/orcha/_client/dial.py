"""How a client connects: over the Unix socket in the endpoint's folder where that is safe, else over TCP with TLS."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import time
from dataclasses import replace
from functools import partial

from orcha import properties
from orcha._client.connection import CLOSED_ERRORS, RECEIVE_BYTES, ServiceConnection, time_left
from orcha._client.tcp import connect_tcp
from orcha._protocol.endpoint import with_short_path
from orcha._protocol.frames import FrameError
from orcha._protocol.handshake import NOBODY_UID, TLS, UNIX, ClientHandshake, HandshakeError, check_turned_away
from orcha._protocol.socket_ends import is_systemds, peer_credentials
from orcha.exceptions import AuthenticationError, ConfigurationError, OrchaConnectionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._protocol.endpoint import Endpoint
    from orcha._protocol.keys import Key
    from orcha._protocol.tls import TlsSession
    from orcha._protocol.trust import ServiceTrust

_NOT_TAKEN = "the service at {name} does not take the certificate {shown} of this client, "
_ALERTS = {
    "CERTIFICATE_EXPIRED": (
        f"{_NOT_TAKEN}which has expired, or its list of revoked certificates: put a renewed one into its place"
    ),
    "CERTIFICATE_REVOKED": f"{_NOT_TAKEN}which its authority has revoked: have that authority issue another one",
    "UNKNOWN_CA": (
        f"{_NOT_TAKEN}since it knows another authority: give a certificate, with its chain, of the authority that"
        " tls.client_ca of that service names"
    ),
    "UNSUPPORTED_CERTIFICATE": (
        f"{_NOT_TAKEN}which is not for clients: have its authority issue one for clients (clientAuth)"
    ),
    "BAD_CERTIFICATE": (
        f"{_NOT_TAKEN}which is not valid yet, or not well formed: set the clock, or have its authority issue another"
    ),
    "CERTIFICATE_REQUIRED": (
        "the service at {name} wants a certificate of the client, of its own authority ({reason}): orcha"
        " service add NAME tls://host:port --cert FILE --cert-key FILE"
    ),
}
"""What the service says of a certificate, as OpenSSL names the alerts of RFC 8446, 6.2."""


def dial(
    endpoint: Endpoint,
    key: str | bytes | Key | None = None,
    *,
    timeout: float = 5.0,
    start_timeout: float = 0.0,
    allow_weak_key: bool | None = None,
    prove: bool = True,
) -> ServiceConnection:
    """Connect to the service at an endpoint.

    Without `key` the client proves nothing on the Unix socket of a service of the same user or of root, where the
    kernel names both users, and proves the key of the user's key file elsewhere. The client always proves a `key` that
    is given; without `prove` only where the kernel does not name the user. `timeout` is in seconds: for connecting,
    for TLS, and for each answer of the service in the handshake. A service that systemd starts for this client has
    `start_timeout` seconds for its first answer, where these are more.
    `allow_weak_key` says whether a weak key may be proved to another machine, None for the value of
    ``orcha.properties.allow_weak_key``.

    Raises OrchaConnectionError (no program listens, or it does not answer), AuthenticationError (the key is wrong,
    another user listens there, or a relay passes connections on), ManagerShutdownError (the service is stopping),
    ConfigurationError (the key file is not safe, or a weak key would go to another machine), and OrchaError (no version
    of the protocol in common).

    Example::

        connection = dial(Endpoint("127.0.0.1", 50000))
        connection.send(frames.encode(messages.Ping(1)))
    """
    keys = _Keys(key, prove=prove, file=None if endpoint.trust is None else endpoint.trust.key)
    if endpoint.ssh is not None:
        from orcha._client.dial_ssh import dial_ssh

        return dial_ssh(endpoint, keys.given, keys.load, timeout)
    for path in endpoint.socket_paths():
        connection = _dial_unix(endpoint, path, keys, timeout, start_timeout)
        if connection is not None:
            return connection
    if not endpoint.has_port:
        raise OrchaConnectionError(no_service_text(endpoint))
    allow_weak = properties.allow_weak_key if allow_weak_key is None else allow_weak_key
    return _dial_tcp(endpoint, keys, timeout, allow_weak=allow_weak)


class _Keys:
    """The key to prove: the given one, or the user's key file, read when it is needed."""

    def __init__(self, key: str | bytes | Key | None, *, prove: bool, file: str | None = None) -> None:
        """Take the key that was given, and the file of the key that stands with the name of the service."""
        self._given = key
        self._file = file
        self._prove = prove
        self._key: Key | None = None

    def certificate_counts(self, trust: ServiceTrust | None) -> bool:
        """Tell whether the client comes in by its certificate alone: it has one for this service, and names no key.

        Raises ConfigurationError where nobody vouches for the service: a client that proves no key is not told by
        the service's proof of the key that this is the service that is meant.
        """
        if trust is None or trust.certificate is None or self.may_be_anothers:
            return False
        if trust.ca is None:
            raise ConfigurationError(
                f"{trust.name} has a certificate of the client, and neither a key nor an authority of the service: give"
                " --ca FILE, so that the client knows the service, or --key-file FILE (orcha service add)"
            )
        return True

    @property
    def may_be_anothers(self) -> bool:
        """Whether the key was named, and so may be another user's; no other user has the user's own key."""
        from orcha._protocol.endpoint import KEY_VARIABLE

        return self._given is not None or self._file is not None or bool(os.environ.get(KEY_VARIABLE))

    def given(self) -> Key | None:
        """Give the key that has to be proved in any case; None for no such key."""
        is_named = self._given is not None or self._file is not None
        return self.load() if is_named and self._prove else None

    def load(self) -> Key:
        """Give the key that was named, else the user's own."""
        from orcha._protocol import keys

        if self._key is None:
            given = self._given
            if given is None:
                self._key = keys.users_key() if self._file is None else keys.named_file_key(self._file)
            else:
                self._key = keys.parse_key(given) if isinstance(given, (str, bytes)) else given
        return self._key


# --- Unix ------------------------------------------------------------------------------------------------------------


def _dial_unix(
    endpoint: Endpoint, path: str, keys: _Keys, timeout: float, start_timeout: float
) -> ServiceConnection | None:
    """Connect over a Unix socket; None without a socket, or a service, or where another user may have made it."""
    sock = None
    by_systemd = False
    try:
        sock = open_unix(path, timeout, endpoint.owner)
        if sock is None:
            return None
        by_systemd = is_systemds(sock)
        connection = ServiceConnection(sock, UNIX, endpoint.found(path))
        load = keys.load if endpoint.owner is None else partial(_refuse_to_prove, endpoint.owner)
        handshake = ClientHandshake(UNIX, endpoint.name, keys.given(), load_key=load)
        connection.handshake(handshake, timeout, start_timeout=start_timeout if by_systemd else 0.0)
    except BaseException as error:
        if sock is not None:
            sock.close()
        if by_systemd and isinstance(error, (TimeoutError, *CLOSED_ERRORS)):
            raise _not_started(path, error) from None
        if isinstance(error, (FrameError, HandshakeError, TimeoutError, *CLOSED_ERRORS)):
            raise _no_service(endpoint.found(path), error) from None
        raise
    return connection


def _not_started(path: str, error: Exception) -> OrchaConnectionError:
    from orcha.utils.system_paths import system_socket

    what = "does not answer" if isinstance(error, TimeoutError) else "does not start, or ends at this moment"
    whose = "" if path == system_socket() else " --user"
    return OrchaConnectionError(
        f"the service that systemd starts for {path} {what}: see systemctl{whose} status orcha.service"
    )


def _refuse_to_prove(owner: int) -> Key:
    from orcha.utils.users import described

    raise AuthenticationError(
        f"the service of {described(owner)} is not shared with {described(os.geteuid())}: have them add you to"
        " serve --share, or to [roles] in the configuration of the service"
    )


def open_unix(path: str, timeout: float, owner: int | None = None) -> socket.socket | None:
    """Connect to a Unix socket; None without a socket, or a service, or where another user may have made it.

    `owner` is another user who may have made it, too.
    """
    trusted = (os.geteuid(), 0) if owner is None else (owner,)
    if not _is_made_by(trusted, os.path.dirname(path), path):  # noqa: PTH120 - pathlib costs a client 5 ms
        return None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        try:
            with_short_path(path, sock.connect)
        except (FileNotFoundError, ConnectionRefusedError, PermissionError):
            sock.close()
            return None
        uid = peer_credentials(sock)[1]
        if uid == NOBODY_UID or uid not in trusted:
            sock.close()
            return None
    except BaseException:
        sock.close()
        raise
    return sock


def _is_made_by(trusted: tuple[int, ...], folder: str, path: str) -> bool:
    """Tell whether a folder and its socket are of one of these users, and no other user can replace the socket."""
    try:
        found, sock = os.lstat(folder), os.lstat(path)
    except OSError:
        return False
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid in trusted
        and not stat.S_IMODE(found.st_mode) & 0o022
        and stat.S_ISSOCK(sock.st_mode)
        and sock.st_uid in trusted
    )


# --- TCP -------------------------------------------------------------------------------------------------------------


def _dial_tcp(endpoint: Endpoint, keys: _Keys, timeout: float, *, allow_weak: bool) -> ServiceConnection:
    from orcha._protocol.keys import check_strength
    from orcha._protocol.socket_ends import give_up_sending, name_of, prepare_tcp

    try:
        sock = connect_tcp(endpoint.address, endpoint.port, timeout)
    except socket.gaierror as error:
        raise OrchaConnectionError(
            f"nobody knows where {endpoint.address} is ({error.strerror}): give another address"
        ) from None
    except OSError as error:
        raise OrchaConnectionError(no_service_text(endpoint, error.strerror or str(error))) from None
    try:
        prepare_tcp(sock)
        give_up_sending(sock)
        by_certificate = keys.certificate_counts(endpoint.trust)
        key = None if by_certificate else keys.load()
        if key is not None:
            check_strength(key, loopback=endpoint.is_loopback, allow_weak=allow_weak)
        session = _start_tls(sock, timeout, endpoint)
        if key is not None:
            _check_owner(sock, endpoint, keys)
        pin = _unknown_pin(session, endpoint)
        connection = ServiceConnection(sock, TLS, replace(endpoint, elsewhere=()), session)
        certificate_hash = session.peer_certificate_hash()
        connection.handshake(
            ClientHandshake(
                TLS,
                name_of(sock.getpeername()),
                key,
                certificate_hash=certificate_hash,
                by_certificate=by_certificate,
            ),
            timeout,
        )
        if pin is not None:
            _keep(endpoint, pin)
    except BaseException as error:
        sock.close()
        if isinstance(error, OrchaConnectionError) or not isinstance(error, (OSError, FrameError, HandshakeError)):
            raise
        if (about := _about_certificates(endpoint, error)) is not None:
            raise AuthenticationError(about) from None
        raise _no_service(endpoint, error) from None
    return connection


def _unknown_pin(session: TlsSession, endpoint: Endpoint) -> str | None:
    """Give the fingerprint of a named service that is seen for the first time; None for all others.

    Raises PinMismatchError where the service is not the same as before; it is told nothing of the key then.
    """
    if endpoint.trust is None or endpoint.trust.ca is not None:
        return None
    from orcha._protocol.certificates import fingerprint_of
    from orcha._protocol.pins import check_pin

    fingerprint = fingerprint_of(session.peer_certificate())
    return fingerprint if check_pin(endpoint.trust.name, endpoint.name, fingerprint) else None


def _keep(endpoint: Endpoint, fingerprint: str) -> None:
    """Keep the fingerprint of a service that has proved to know the key."""
    from orcha._protocol.pins import keep_pin, pins_path

    try:
        keep_pin(endpoint.name, fingerprint)
    except OSError as error:
        raise ConfigurationError(
            f"{pins_path()} cannot be written: {error.strerror}: see whose it is, since services are recognised by it"
        ) from None


def _about_certificates(endpoint: Endpoint, error: BaseException) -> str | None:
    """Say which certificate the other end, or this one, does not accept; None for another error."""
    reason = str(getattr(error, "reason", None) or "")
    ca = None if endpoint.trust is None else endpoint.trust.ca
    if reason == "CERTIFICATE_VERIFY_FAILED":
        return (
            f"{ca} does not vouch for the certificate of {endpoint.name} ({getattr(error, 'verify_message', reason)}):"
            " nothing was sent; give the --ca of that service, and its name as its certificate has it"
        )
    if "ALERT" not in reason:
        return None
    shown = None if endpoint.trust is None else endpoint.trust.certificate
    for word, text in _ALERTS.items():
        if word in reason:
            return text.format(name=endpoint.name, shown=shown, reason=reason)
    if "CERTIFICATE" in reason:
        return _ALERTS["CERTIFICATE_REQUIRED"].format(name=endpoint.name, shown=shown, reason=reason)
    return None


def _start_tls(sock: socket.socket, timeout: float, endpoint: Endpoint) -> TlsSession:
    from orcha._protocol.tls import TlsSession, client_context

    is_checked = endpoint.trust is not None and endpoint.trust.ca is not None
    session = TlsSession(client_context(endpoint.trust), server=False, name=endpoint.address if is_checked else None)
    deadline, data = time.monotonic() + timeout, b""
    while not session.established:
        try:
            said = session.receive(data)
        except OSError:  # ssl.SSLError, which is not imported here
            check_turned_away(data)
            raise
        if said:  # pragma: no cover - a service speaks second
            raise OrchaConnectionError("what listens there is no service of Orcha: give another --port")
        if outgoing := session.outgoing():
            with contextlib.suppress(*CLOSED_ERRORS):  # a service that turns a client away says so, and closes
                sock.sendall(outgoing)
        if not session.established:
            sock.settimeout(time_left(deadline))
            data = sock.recv(RECEIVE_BYTES)
            if not data:
                raise ConnectionAbortedError
    return session


def _check_owner(sock: socket.socket, endpoint: Endpoint, keys: _Keys) -> None:
    """Raise AuthenticationError where the user's own key would be proved to another user of this machine but root.

    Call this after the TLS handshake: a process has accepted the connection then, and the kernel knows its user.
    """
    from orcha._protocol.socket_ends import owner_of_peer

    if keys.may_be_anothers:
        return
    owner = owner_of_peer(sock)
    if owner not in {None, NOBODY_UID, os.geteuid(), 0}:
        raise AuthenticationError(
            f"what listens on {endpoint.name} belongs to uid {owner}, and not to uid {os.geteuid()} who runs this, or"
            " root: to use another user's service give the key that you share (--key or ORCHA_KEY_FILE)"
        )


def _no_service(endpoint: Endpoint, error: Exception) -> OrchaConnectionError:
    if isinstance(error, TimeoutError):
        return OrchaConnectionError(
            f"what listens on {endpoint.name} does not answer: see its log, or give another --port"
        )
    if isinstance(error, CLOSED_ERRORS):
        return OrchaConnectionError(
            f"what listens on {endpoint.name} closed the connection before it said who it is, as a service does that"
            " ends at this moment: try again, or give another --port"
        )
    return OrchaConnectionError(
        f"what listens on {endpoint.name} is no service of Orcha ({error}): give another --port"
    )


def no_service_text(endpoint: Endpoint, why: str = "") -> str:
    """Say that no service answers, where the client looked for one, and what to do."""
    kept = os.path.isfile(f"{endpoint.folder}.last-start")  # noqa: PTH113
    if kept and not os.path.lexists(f"{endpoint.folder}/orcha.db"):
        return f"no service answers: its folder {endpoint.folder} was moved or removed: put it back where it was"
    tried = [f"{endpoint.name} ({why})" if why else endpoint.name]
    tried += [path for path in endpoint.socket_paths()[1:] if os.path.isdir(os.path.dirname(os.path.dirname(path)))]  # noqa: PTH112, PTH120
    if len(tried) > 1 or not endpoint.has_port:
        where, cure = f"; tried {' and '.join(tried)}", ", or give the --port of another one"
    else:
        where, cure = f" on {tried[0]}", " with the same --port and --listen-address, or give those it listens on"
    return f"no service answers{where}: start it (orcha serve --background){cure} before the command"
