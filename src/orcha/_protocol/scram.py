"""SCRAM-SHA-256 with channel binding (RFC 5802, RFC 7677), without I/O.

Both ends prove that they have the key, the client first, and that they see the same `binding`: the channel-binding data
of a type named `orcha`.
"""

from __future__ import annotations

import os
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from hashlib import pbkdf2_hmac, sha256
from hmac import compare_digest, digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._protocol.keys import Key, KeyRecord

GS2_HEADER = b"p=orcha,,"
REFUSED = b"e=invalid-proof"
"""The one answer to a wrong proof, binding, nonce or id."""
NOT_SHARED = b"e=not-shared"
"""The answer to a right proof of another user, where the service is not shared."""
EXPIRED = b"e=expired-key"
"""The answer to a right proof of a key whose time is over."""
NO_ROOM = b"e=no-room"
"""The answer to a right proof of a client that has as many connections as one user may have."""
MIN_ITERATIONS, MAX_ITERATIONS = 4096, 1_000_000
"""That a client computes: fewer would help an attacker who guesses keys, more would keep the client busy."""
_NONCE_BYTES = 18


class ScramError(Exception):
    """The other end does not have the key, or does not follow the protocol."""


def keys_of(password: bytes, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """Derive the client's and the server's key (RFC 5802, 3)."""
    salted = pbkdf2_hmac("sha256", password, salt, iterations)
    return digest(salted, b"Client Key", "sha256"), digest(salted, b"Server Key", "sha256")


class ScramClient:
    """The end that proves first."""

    def __init__(self, key: Key, binding: bytes, nonce: bytes | None = None) -> None:
        self._key = key
        self._binding = binding
        self._nonce = _make_nonce() if nonce is None else nonce
        self._bare = b"n=" + key.id.encode("ascii") + b",r=" + self._nonce
        self._server_signature = b""

    def first(self) -> bytes:
        """Give the client-first-message."""
        return GS2_HEADER + self._bare

    def final(self, server_first: bytes) -> bytes:
        """Take the server-first-message, give the client-final-message."""
        nonce, salt_text, count = _attributes(server_first, b"r", b"s", b"i")
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ScramError("the service's nonce does not go on from the client's")
        if not count.isdigit() or len(count) > 7 or not MIN_ITERATIONS <= int(count) <= MAX_ITERATIONS:
            raise ScramError(f"the service asks for {count!r} iterations")
        client_key, server_key = keys_of(self._key.password, _from_base64(salt_text), int(count))
        without_proof = b"c=" + _base64(GS2_HEADER + self._binding) + b",r=" + nonce
        message = b",".join((self._bare, server_first, without_proof))
        signature = digest(sha256(client_key).digest(), message, "sha256")
        self._server_signature = digest(server_key, message, "sha256")
        return without_proof + b",p=" + _base64(_xor(client_key, signature))

    def verify(self, server_final: bytes) -> None:
        """Take the server-final-message; raises ScramError unless the service has proved that it knows the key."""
        if server_final.startswith(b"e="):
            raise ScramError("the service does not accept the key")
        (signature,) = _attributes(server_final, b"v")
        if not self._server_signature or not compare_digest(_from_base64(signature), self._server_signature):
            raise ScramError("the service does not know the key")


class ScramServer:
    """The end that checks first.

    An unknown id costs as much work as a known one, and gets the same answer.
    """

    def __init__(
        self, find: Callable[[str], KeyRecord | None], stranger: KeyRecord, binding: bytes, nonce: bytes | None = None
    ) -> None:
        """Take the function that gives keys' records by id, and the record in place of an unknown one."""
        self._find = find
        self._stranger = stranger
        self._binding = binding
        self._nonce = _make_nonce() if nonce is None else nonce
        self._record = stranger
        self._known = False
        self.key_id = ""
        """The id of the key that the client says it has."""
        self._bare = self._server_first = b""

    def first(self, client_first: bytes) -> bytes:
        """Take the client-first-message, give the server-first-message."""
        if not client_first.startswith(GS2_HEADER):
            raise ScramError("a client-first-message without the channel binding")
        self._bare = client_first.removeprefix(GS2_HEADER)
        name, client_nonce = _attributes(self._bare, b"n", b"r")
        if not client_nonce.isascii() or not client_nonce.decode("ascii").isprintable():
            raise ScramError("a nonce that is not printable")
        from orcha._protocol.keys import hidden_salt

        self.key_id = key_id = name.decode("ascii", "replace")
        record = self._find(key_id)
        self._known = record is not None
        self._record = record or self._stranger
        self._nonce = client_nonce + self._nonce
        hidden = hidden_salt(self._stranger.salt, key_id)  # for known ids, too: the work is the same
        salt = self._record.salt if self._known else hidden
        self._server_first = b"r=%b,s=%b,i=%d" % (self._nonce, _base64(salt), self._record.iterations)
        return self._server_first

    def final(self, client_final: bytes) -> bytes:
        """Take the client-final-message, give the server-final-message; raises ScramError for a wrong one."""
        binding, nonce, proof_text = _attributes(client_final, b"c", b"r", b"p")
        message = b",".join((self._bare, self._server_first, client_final[: client_final.rindex(b",p=")]))
        signature = digest(self._record.stored_key, message, "sha256")
        proof = _from_base64(proof_text)
        right = len(proof) == len(signature) and compare_digest(
            sha256(_xor(proof, signature)).digest(), self._record.stored_key
        )
        right &= compare_digest(nonce, self._nonce)
        right &= compare_digest(binding, _base64(GS2_HEADER + self._binding))
        right &= self._known
        if not right:
            raise ScramError("a wrong proof")
        return b"v=" + _base64(digest(self._record.server_key, message, "sha256"))

    @property
    def record(self) -> KeyRecord:
        """The record of the key that was proved."""
        return self._record


def _attributes(message: bytes, *names: bytes) -> list[bytes]:
    """Divide `a=x,b=y` into the values of exactly these names in this order."""
    parts = message.split(b",")
    if len(parts) != len(names):
        raise ScramError("a message of other attributes than expected")
    values = []
    for name, part in zip(names, parts, strict=True):
        if not part.startswith(name + b"=") or len(part) < 3:
            raise ScramError(f"a message without the attribute {name.decode()}")
        values.append(part[2:])
    return values


def _make_nonce() -> bytes:
    return _base64(os.urandom(_NONCE_BYTES))


def _base64(data: bytes) -> bytes:
    return b2a_base64(data, newline=False)


def _from_base64(text: bytes) -> bytes:
    try:
        data = a2b_base64(text, strict_mode=True)
    except Base64Error:
        raise ScramError("an attribute that is not base64") from None
    if _base64(data) != text:
        raise ScramError("an attribute that is not canonical base64")
    return data


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")
