"""Keys with names, for programs and other machines: a service lets each in by its name, and keeps a verifier alone."""

from __future__ import annotations

import os
from typing import Any

from orcha._protocol.keys import (
    ID_CHARACTERS,
    MAX_ID_CHARACTERS,
    PBKDF2_ITERATIONS,
    SECRET_BYTES,
    Key,
    KeyRecord,
    capability_of,
    record_of,
)

VERIFIER_BYTES = 64
"""StoredKey and ServerKey of SCRAM-SHA-256 (RFC 5802, 3)."""
_HASH_BYTES = VERIFIER_BYTES // 2
_MAX_SEQ_NUMBER = 1 << 50
"""Sequence numbers of petitions stay far below: an id with a larger one is no attempt's."""


def name_problem(name: str) -> str | None:
    """Say why a key cannot have this name; None where it can.

    >>> name_problem("ci"), name_problem("continuous-deploy")
    (None, None)
    >>> name_problem("c i")
    'a key has a name of 1 to 32 letters, digits, - and _'
    """
    if not 0 < len(name) <= MAX_ID_CHARACTERS or not ID_CHARACTERS.issuperset(name):
        return f"a key has a name of 1 to {MAX_ID_CHARACTERS} letters, digits, - and _"
    attempt = capability_of(name)
    if attempt is not None and attempt[0] < _MAX_SEQ_NUMBER:
        return f"{name} looks like the id of an attempt: give the key another name"
    return None


def make_named_key(name: str) -> Key:
    """Make a new key of this name."""
    return Key(name, os.urandom(SECRET_BYTES))


def verifier_of(key: Key, salt: bytes) -> bytes:
    """Give what a service keeps of a key: enough to check a proof, and not enough to make one."""
    record = record_of(key, "", salt)
    return record.stored_key + record.server_key


def named_record(name: str, verifier: bytes, salt: bytes, **how: Any) -> KeyRecord:
    """Give the record by which a service checks proofs of a named key; `how` is the role, and further fields.

    The verifier is empty where a certificate proves the key.
    """
    stored, server = verifier[:_HASH_BYTES], verifier[_HASH_BYTES:]
    return KeyRecord(name, salt, PBKDF2_ITERATIONS, stored, server, is_named=True, **how)


__all__ = ["VERIFIER_BYTES", "make_named_key", "name_problem", "named_record", "verifier_of"]
