"""The handshake before the first message, without I/O: two hellos, and SCRAM where the kernel does not name the user.

One file, since what one end writes has to be what the other end reads, to the byte.

The bytes of each step are the body of one frame. SCRAM binds both hellos, to the byte and with their frames' headers,
and on TLS the certificate's hash: a third party that changes, repeats or passes on any of these bytes fails.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from orcha._protocol.frames import HEADER_BYTES, Body, frame
from orcha.exceptions import AuthenticationError, ManagerShutdownError, OrchaConnectionError, OrchaError
from orcha.interfaces.roles import ADMIN, ATTEMPT, SUBMITTER, RoleBook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from orcha._protocol.client_certificates import ClientCertificate
    from orcha._protocol.keys import Key, KeyRecord
    from orcha._protocol.scram import ScramClient, ScramServer

CLIENT_MAGIC = b"ORCHA?"
SERVER_MAGIC = b"ORCHA!"
MIN_VERSION_NUMBER = MAX_VERSION_NUMBER = 1
"""Versions of the protocol that this build speaks."""
NOBODY_UID = 65534
"""The kernel's uid for every uid without a number in this user namespace: it proves nothing about a user."""

UNIX, TLS = 1, 3
TRANSPORTS = {UNIX: "unix", TLS: "tls"}
"""2 would be TCP in plain, which no build speaks: where others can write bytes, a connection proves nothing."""

OK, VERSION, BUSY, TRANSPORT, STOPPING, ENDPOINT, NO_KEY_OF_CERTIFICATE, KEYS_OF_CERTIFICATE, EXPIRED_KEY = range(9)
"""Status of a server's hello."""
NO_PROOF, SCRAM_SHA_256 = 0, 1
"""What the server asks of the client after the hellos."""
INSTANCE_BYTES = 16

_EXPIRED = "the time of this key is over: have an admin run orcha key renew"
_CLIENT_FIXED = len(CLIENT_MAGIC) + 3
_SERVER_SIZE = len(SERVER_MAGIC) + 3 + INSTANCE_BYTES


class HandshakeError(Exception):
    """The bytes are no handshake: close the connection."""


class ClientHello(NamedTuple):
    """The first message of a handshake, from the client."""

    lowest: int
    highest: int
    transport: int
    key_id: str
    """The key that the client wants to prove; empty where the kernel's word about its user, or the certificate that the
    client has shown, may be enough."""
    endpoint: str
    """The address and port that the client's end of a TCP connection is connected to."""

    def pack(self) -> bytes:
        """Give the body of the hello's frame."""
        key_id, endpoint = self.key_id.encode("ascii"), self.endpoint.encode()[:1024]
        numbers = bytes((self.lowest, self.highest, self.transport, len(key_id)))
        return b"".join((CLIENT_MAGIC, numbers, key_id, len(endpoint).to_bytes(2, "big"), endpoint))

    @classmethod
    def unpack(cls, body: bytes) -> ClientHello:
        """Read a hello; bytes at its end, which a later version may have added, are ignored."""
        if not body.startswith(CLIENT_MAGIC):
            raise HandshakeError("it does not begin like a client's hello")
        try:
            lowest, highest, transport, size = body[len(CLIENT_MAGIC) : _CLIENT_FIXED + 1]
            at = _CLIENT_FIXED + 1 + size
            key_id = body[_CLIENT_FIXED + 1 : at].decode("ascii")
            end = at + 2 + int.from_bytes(body[at : at + 2], "big")
            endpoint = body[at + 2 : end].decode()
        except ValueError:
            raise HandshakeError("a client's hello that is not well formed") from None
        if end > len(body) or at + 2 > len(body):
            raise HandshakeError("a client's hello that is cut off")
        return cls(lowest, highest, transport, key_id, endpoint)


class ServerHello(NamedTuple):
    """The server's answer to a client's hello."""

    status: int
    version: int
    """The version that both ends go on with; the server's highest one where they have none in common."""
    method: int
    instance: bytes
    """Changes at each start of the service."""

    def pack(self) -> bytes:
        """Give the body of the hello's frame."""
        return SERVER_MAGIC + bytes((self.status, self.version, self.method)) + self.instance

    @classmethod
    def unpack(cls, body: bytes) -> ServerHello:
        """Read a hello; bytes at its end, which a later version may have added, are ignored."""
        if not body.startswith(SERVER_MAGIC) or len(body) < _SERVER_SIZE:
            raise HandshakeError("what answers there is no service of Orcha")
        status, version, method = body[len(SERVER_MAGIC) : len(SERVER_MAGIC) + 3]
        return cls(status, version, method, body[len(SERVER_MAGIC) + 3 : _SERVER_SIZE])


def binding_of(client_hello: bytes, server_hello: bytes, certificate_hash: bytes) -> bytes:
    """Give SCRAM's channel-binding data: SHA-256 of both hellos' frames, then the certificate's SHA-256 on TLS."""
    from hashlib import sha256

    return sha256(frame(client_hello) + frame(server_hello)).digest() + certificate_hash


# --- the client's side -----------------------------------------------------------------------------------------------


class ClientHandshake:
    """The client's side of the handshake.

    Send `start()`, then for each frame's body that arrives send the result of `receive`, until `done`.
    """

    def __init__(
        self,
        transport: int,
        endpoint: str,
        key: Key | None,
        *,
        load_key: Callable[[], Key] | None = None,
        certificate_hash: bytes = b"",
        by_certificate: bool = False,
    ) -> None:
        """Take the key to prove; with None the user's key is loaded where the service asks for a key.

        With `by_certificate` the client proves no key: an authority vouches for the service, and the certificate that
        the client has shown says which client it is.
        """
        self._hello = ClientHello(
            MIN_VERSION_NUMBER, MAX_VERSION_NUMBER, transport, "" if key is None else key.id, endpoint
        ).pack()
        self._transport = transport
        self._key = key
        self._load_key = load_key
        self._certificate_hash = certificate_hash
        self._by_certificate = by_certificate
        self._scram: ScramClient | None = None
        self._proved = False
        self.server = ServerHello(OK, 0, NO_PROOF, b"")
        """The service's hello, once it came."""
        self.done = False

    def start(self) -> bytes:
        """Give the first frame to send."""
        return frame(self._hello)

    def receive(self, body: Body) -> bytes:
        """Take the body of a frame; give the next frame to send, empty once done.

        Raises AuthenticationError, ManagerShutdownError, OrchaConnectionError (busy, or no service of Orcha),
        OrchaError (no version in common).
        """
        if self._scram is not None:
            return self._receive_proof(self._scram, bytes(body))
        try:
            return self._receive_hello(bytes(body))
        except HandshakeError as error:
            raise OrchaConnectionError(str(error)) from None

    def _receive_proof(self, scram: ScramClient, body: bytes) -> bytes:
        from orcha._protocol.scram import EXPIRED, NO_ROOM, NOT_SHARED, ScramError

        if self._proved and body == NO_ROOM:
            raise OrchaConnectionError("this client has as many connections as one user may have: end some of them")
        if self._proved and body == EXPIRED:
            raise AuthenticationError(_EXPIRED)
        if self._proved and body == NOT_SHARED:
            raise AuthenticationError(
                "the service was started without --share: it lets in its own user and root of its machine alone, over"
                " TCP as far as its kernel knows who dials; to be let in by the key, have it started with --share"
            )
        try:
            if not self._proved:
                self._proved = True
                return frame(scram.final(body))
            scram.verify(body)
        except ScramError as error:
            raise AuthenticationError(f"{error}: both sides need the same --key, or one user's key file") from None
        self.done = True
        return b""

    def _receive_hello(self, body: bytes) -> bytes:
        server = ServerHello.unpack(body)
        _check_status(server)
        self.server = server
        if server.method == NO_PROOF:
            if (self._transport != UNIX and not self._by_certificate) or self._key is not None:
                raise AuthenticationError(
                    "what answers there does not prove that it knows the key: "
                    "give the --key of the service that is meant"
                )
            self.done = True
            return b""
        if server.method != SCRAM_SHA_256:
            raise HandshakeError("the service asks for a proof that is not known here")
        if self._by_certificate:
            raise AuthenticationError(
                "the service asks its clients for no certificate, and so for a key: name one with --key, ORCHA_KEY_FILE"
                " or orcha service add --key-file; or have the service started with --tls-client-ca"
            )
        from orcha._protocol.scram import ScramClient

        key = self._key or (self._load_key() if self._load_key else None)
        if key is None:
            raise AuthenticationError("the service asks for a key: give it with --key, or in the key file")
        self._scram = ScramClient(key, binding_of(self._hello, body, self._certificate_hash))
        return frame(self._scram.first())


def check_turned_away(data: bytes) -> None:
    """Raise the error of a hello in plain, by which a service without room turns a client away; else do nothing."""
    try:
        _check_status(ServerHello.unpack(data[HEADER_BYTES:]))
    except HandshakeError:
        return


def _check_status(server: ServerHello) -> None:
    if server.status == STOPPING:
        raise ManagerShutdownError
    if server.status == BUSY:
        raise OrchaConnectionError("the service has no room for another client now: try again later")
    if server.status == TRANSPORT:
        raise OrchaError("the service was reached in another way than the client meant to: something stands between")
    if server.status == ENDPOINT:
        raise AuthenticationError(
            "what listens there passes connections on to a service that does not listen there: dial that service's own"
            " address and port; where a tunnel is meant to pass them on, ORCHA_REACHED_AS names it to the service"
        )
    if server.status == NO_KEY_OF_CERTIFICATE:
        raise AuthenticationError(
            "the service has no key for the certificate of this client: have an admin run orcha key add NAME --role"
            " ROLE --certificate FILE, or name a key with orcha service add --key-file"
        )
    if server.status == KEYS_OF_CERTIFICATE:
        raise AuthenticationError(
            "several keys of the service fit the certificate of this client: have an admin revoke all but one"
            " (orcha key ls)"
        )
    if server.status == EXPIRED_KEY:
        raise AuthenticationError(_EXPIRED)
    if server.status == VERSION or not MIN_VERSION_NUMBER <= server.version <= MAX_VERSION_NUMBER:
        raise OrchaError(
            f"the service speaks version {server.version} of the protocol, this client {MIN_VERSION_NUMBER} to "
            f"{MAX_VERSION_NUMBER}: both need releases of Orcha that fit"
        )
    if server.status != OK:
        raise HandshakeError("the service answers with a status that is not known here")


# --- the server's side -----------------------------------------------------------------------------------------------


class Credentials(NamedTuple):
    """The process at the other end of a Unix socket. Never decide by the pid: the kernel may have given it anew."""

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    """Its other groups."""


class AdmittedClient(NamedTuple):
    """A client that is admitted."""

    identity: str
    """`uid:<n>`, `key:<id>` where no kernel knows the user (`key:<id>.<n>` for the n-th named key), or `attempt`."""
    role: str
    """What the client may do: one of `orcha.interfaces.roles`, or `attempt`."""
    attempt: tuple[int, int] | None = None
    """(sequence number, attempt number): the one attempt for which an `attempt` may send."""
    key: str = ""
    """The name of the named key that the client has proved; empty for every other client."""
    proved: KeyRecord | None = None
    """By what the proof of a named key was checked."""
    until: float | None = None
    """Where a certificate proved the key: from when on, on the wall clock, the certificate is not valid any more."""
    is_other: bool = False
    """The key admitted another user than the service's own and root, or a user that no kernel knows."""


OTHERS_OF_ROOT = SUBMITTER
"""Role of other users at a service of root."""
NO_ROLES = RoleBook()
"""No other user may come in."""


class Door:
    """Decides which clients are admitted."""

    def __init__(
        self,
        keyring: Mapping[str, KeyRecord],
        *,
        capability: Callable[[int, int], bytes | None] | None = None,
        roles: RoleBook = NO_ROLES,
        share: bool = False,
        instance: bytes | None = None,
        salts: bytes | None = None,
    ) -> None:
        """Take the keys' records by id, the function that knows attempts' keys, and roles of other users and groups.

        `salts` is the secret from which the salts of unknown ids are derived, None for a new one.

        With `share` the key admits other users too; without, it admits the service's own user and root alone.
        """
        from orcha._protocol.keys import record_of_no_key

        self.keyring = keyring
        self.instance = os.urandom(INSTANCE_BYTES) if instance is None else instance
        self._capability = capability
        self.roles = roles
        """The roles of other users whom the kernel names; another book takes the place of this one."""
        self._uid = os.geteuid()
        self._share = share
        self.clock: Callable[[], float] = time.time
        """Gives the time on the wall clock, by which named keys expire."""
        self.named: Mapping[str, KeyRecord] = {}
        """Keys with names, which admit whatever user has them; another mapping takes the place of this one."""
        self.stranger = record_of_no_key(salts)
        """A record of no key, in place of every unknown one."""

    def admit_user(self, credentials: Credentials | None) -> AdmittedClient | None:
        """Admit a user that the kernel names: the service's own and root as admins, others by the tables of roles."""
        if credentials is None or credentials.uid == NOBODY_UID:
            return None
        if credentials.uid in (self._uid, 0):
            return AdmittedClient(f"uid:{credentials.uid}", ADMIN)
        role = self.roles.role_for(credentials.uid, (credentials.gid, *credentials.groups))
        return AdmittedClient(f"uid:{credentials.uid}", role) if role else None

    def find(self, key_id: str) -> KeyRecord | None:
        """Give the record of a key; the record of a living attempt is made of its capability.

        An attempt that is over costs the same, and has a salt like any unknown id: so no answer tells which attempts
        live.
        """
        from orcha._protocol.keys import Key, capability_of, hidden_salt, record_of

        known = self.keyring.get(key_id) or self.named.get(key_id)
        if known is not None and known.certificate:
            return None  # it has no secret that could be proved
        if known is not None or (names := capability_of(key_id)) is None or self._capability is None:
            return known
        secret = self._capability(*names)
        salt = hidden_salt(self.stranger.salt, key_id)
        record = record_of(Key(key_id, secret or self.stranger.stored_key), ATTEMPT, salt)
        return record if secret else None

    def admit_key(self, record: KeyRecord, uid: Callable[[], int | None]) -> AdmittedClient | None:
        """Admit a client that proved the key of this record; None for another user where the service is not shared.

        `uid` gives the client's user, as far as the kernel knows. An attempt, and a named key, are admitted whatever
        the user.

        Raises NotAdmittedError for a named key that was revoked meanwhile, or whose time is over.
        """
        from orcha._protocol.keys import capability_of

        if record.is_named:
            return self._admit_named(record)
        if record.id not in self.keyring:
            return AdmittedClient(ATTEMPT, ATTEMPT, capability_of(record.id))
        user = uid()
        if user in {self._uid, 0} and user != NOBODY_UID:
            return AdmittedClient(f"uid:{user}", record.role)
        if not self._share:
            return None
        identity = f"key:{record.id}" if user is None or user == NOBODY_UID else f"uid:{user}"
        return AdmittedClient(identity, record.role if self._uid else OTHERS_OF_ROOT, is_other=True)

    def admit_certificate(self, certificate: ClientCertificate) -> AdmittedClient:
        """Admit a client that has shown a certificate, and proves no key.

        Raises NotAdmittedError where no key, or more than one, fits the certificate, and where the key's time is over.
        """
        fitting = [each for each in self.named.values() if each.certificate in certificate.names]
        if not fitting:
            names = ", ".join(sorted(certificate.names))
            raise NotAdmittedError(f"no key is of its certificate ({names})", b"", status=NO_KEY_OF_CERTIFICATE)
        if len(fitting) > 1:
            names = ", ".join(sorted(each.id for each in fitting))
            raise NotAdmittedError(f"several keys are of its certificate ({names})", b"", status=KEYS_OF_CERTIFICATE)
        return self._admit_named(fitting[0])._replace(until=certificate.end)

    def _admit_named(self, record: KeyRecord) -> AdmittedClient:
        from orcha._protocol.scram import EXPIRED, REFUSED

        if self.named.get(record.id) != record:
            raise NotAdmittedError("a key that was revoked", frame(REFUSED), late=True)
        if record.is_over(self.clock()):
            raise NotAdmittedError("a key whose time is over", frame(EXPIRED), status=EXPIRED_KEY, key=record.id)
        identity = (record.owner or f"key:{record.id}") if record.uid is None else f"uid:{record.uid}"
        return AdmittedClient(identity, record.role, key=record.id, proved=record)


class NotAdmittedError(Exception):
    """The client is not admitted: send `answer`, with a delay where `late`, and close."""

    def __init__(self, reason: str, answer: bytes, *, late: bool = False, status: int = OK, key: str = "") -> None:
        super().__init__(reason)
        self.answer = answer
        self.late = late
        self.status = status
        """What a hello says of it, to a client that is told by a hello."""
        self.key = key
        """The named key that is meant, where it is known which."""


class ServerHandshake:
    """The server's side of the handshake.

    For each frame's body that arrives send the result of `receive`, until `admission` is set.
    """

    def __init__(
        self,
        door: Door,
        transport: int,
        *,
        credentials: Credentials | None = None,
        certificate_hash: bytes = b"",
        reached_as: Container[str] | None = None,
        uid: Callable[[], int | None] | None = None,
        certificate: Callable[[], ClientCertificate | None] = lambda: None,
    ) -> None:
        """Take the credentials of the client, or the certificate's hash and the ends that the client may have dialled.

        `uid` gives the client's user where there are no credentials, None where no kernel knows. It is called once,
        after the client has proved the key. `certificate` gives the certificate that the client has shown, where an
        authority of the service vouches for it. It is called once, where the client names no key.
        """
        self._door = door
        self._certificate = certificate
        self._uid = uid or (lambda: None if credentials is None else credentials.uid)
        self._reached_as = reached_as
        self._transport = transport
        self.user = door.admit_user(credentials)
        """The user whom the kernel names and who may come in; None where a key has to be proved."""
        self._certificate_hash = certificate_hash
        self._scram: ScramServer | None = None
        self._answered = False
        self.claimed: str | None = None
        """The id of the key that the client says it has; None before it has begun to prove a key."""
        self.admission: AdmittedClient | None = None
        self.has_certificate = False
        """The client names no key, and its certificate is to say which client it is."""

    def receive(self, body: Body, status: int = OK) -> bytes:
        """Take the body of a frame, give the frame to send; a `status` other than OK refuses the client's hello.

        Raises HandshakeError for bytes that are no handshake, NotAdmittedError for a client that is not admitted.
        """
        from orcha._protocol.scram import NOT_SHARED, REFUSED, ScramError

        data = bytes(body)
        if self._scram is None:
            return self._receive_hello(data, status)
        if not self._answered:
            self._answered = True
            try:
                answer = self._scram.first(data)
            except ScramError as error:
                raise HandshakeError(str(error)) from None
            self.claimed = self._scram.key_id
            return frame(answer)
        try:
            answer = self._scram.final(data)
        except ScramError as error:
            raise NotAdmittedError(str(error), frame(REFUSED), late=True) from None
        self.admission = self._door.admit_key(self._scram.record, self._uid)
        if self.admission is None:
            raise NotAdmittedError("another user's, and the service is not shared", frame(NOT_SHARED))
        return frame(answer)

    def _receive_hello(self, body: bytes, status: int) -> bytes:
        hello = ClientHello.unpack(body)
        version = min(hello.highest, MAX_VERSION_NUMBER)
        if status == OK and not max(hello.lowest, MIN_VERSION_NUMBER) <= version:
            status, version = VERSION, MAX_VERSION_NUMBER
        if status == OK and hello.transport != self._transport:
            status = TRANSPORT
        if status == OK and self._reached_as is not None and hello.endpoint not in self._reached_as:
            status = ENDPOINT
        user = None if hello.key_id else self.user or self._by_certificate(status, version)
        method = SCRAM_SHA_256 if user is None else NO_PROOF
        answer = ServerHello(status, version, method, self._door.instance).pack()
        if status != OK:
            raise NotAdmittedError(f"status {status}", frame(answer))
        if user is not None:
            self.admission = user
            return frame(answer)
        from orcha._protocol.scram import ScramServer

        binding = binding_of(body, answer, self._certificate_hash)
        self._scram = ScramServer(self._door.find, self._door.stranger, binding)
        return frame(answer)

    def _by_certificate(self, status: int, version: int) -> AdmittedClient | None:
        """Admit a client that names no key by its certificate; None where there is none, or for another status than OK.

        Raises NotAdmittedError, whose answer is a hello.
        """
        certificate = None if status != OK else self._certificate()
        if certificate is None:
            return None
        self.has_certificate = True
        try:
            return self._door.admit_certificate(certificate)
        except NotAdmittedError as refused:
            raise self._refused_by_hello(refused, refused.status, version) from None

    def refuse_for_room(self, reason: str, answer: bytes) -> NotAdmittedError:
        """Give the refusal of a client that was let in, and for whose user there is no room; `answer` ends SCRAM."""
        refused = NotAdmittedError(reason, answer)
        return self._refused_by_hello(refused, BUSY, MAX_VERSION_NUMBER) if self.has_certificate else refused

    def _refused_by_hello(self, refused: NotAdmittedError, status: int, version: int) -> NotAdmittedError:
        answer = ServerHello(status, version, NO_PROOF, self._door.instance).pack()
        return NotAdmittedError(str(refused), frame(answer), status=status, key=refused.key)
