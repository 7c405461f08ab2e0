"""Keys: what a client proves to have, and what a service keeps to check it.

A key is 32 secret bytes with an id that may be known. Its text is one of

- `orcha1.<id>.<secret>`: made by Orcha; the id of 1 to 32 letters, digits, `-` and `_`, the secret as 43 characters
  of base64url without padding (RFC 4648, 5);
- any other text, stretched with scrypt (RFC 7914; N = 2**15, r = 8, p = 1, salt `orcha text key 1`, 32 bytes). Its id
  is `t` and the first 12 characters of base64url of HMAC-SHA-256(secret, "orcha key id").
"""

from __future__ import annotations

import os
import stat
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass, field

from orcha._protocol.endpoint import KEY_VARIABLE, key_path, make_private_folder, unusable
from orcha.exceptions import ConfigurationError
from orcha.interfaces.roles import ADMIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

KEY_PREFIX = "orcha1."
SECRET_BYTES = 32
MIN_STRONG_KEY_CHARACTERS = 16
"""A text key of fewer characters is weak: an attacker that overhears one handshake can guess the key."""
PBKDF2_ITERATIONS = 4096
"""Rounds of PBKDF2: the least that SCRAM allows (RFC 7677), since all keys are 32 random or stretched bytes."""

MAX_ID_CHARACTERS = 32
ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_TO_URL, _FROM_URL = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_", b"+/")
"""From base64 to base64url and back (RFC 4648, 4 and 5)."""
_SCRYPT = {"n": 1 << 15, "r": 8, "p": 1, "maxmem": 64 * 1024 * 1024, "dklen": SECRET_BYTES}
_MAX_KEY_FILE_BYTES = 4096
CREDENTIAL = "orcha.key"
"""Name of the key among the credentials that systemd hands to a service: systemd.exec(5), LoadCredential=."""


@dataclass(frozen=True)
class Key:
    """A key; it does not show its secret."""

    id: str
    secret: bytes = field(repr=False)
    weak: bool = field(default=False, compare=False)
    """Made from a short text."""

    @property
    def text(self) -> str:
        """As it stands in a key file."""
        return f"{KEY_PREFIX}{self.id}.{_base64url(self.secret)}"

    @property
    def password(self) -> bytes:
        """What SCRAM calls the password: the secret as base64url."""
        return _base64url(self.secret).encode("ascii")


@dataclass(frozen=True)
class KeyRecord:
    """What a service keeps of a key: enough to check a proof, not enough to make one (RFC 5802, 3)."""

    id: str
    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)
    role: str
    """What clients that prove the key may do: one of `orcha.interfaces.roles`."""
    is_named: bool = False
    """Whether it is a key that was given a name; else it is the service's own, or an attempt's."""
    uid: int | None = None
    """The user as whom clients act that prove a named key; None for nobody that the kernel knows."""
    expires: float | None = None
    """The time on the wall clock from which on a named key is not taken any more; None for never."""
    owner: str = ""
    """Whose the petitions of clients are that prove a named key; empty for `key:` and the id."""
    certificate: str = ""
    """The name of the certificate that proves a named key (`client_certificates.py`); empty where a secret does."""

    def is_over(self, now: float) -> bool:
        """Tell whether the key is not taken any more at a time on the wall clock."""
        return self.expires is not None and now >= self.expires


def parse_key(text: str | bytes) -> Key:
    """Read a key's text; a text that Orcha did not make costs about 0.1 s.

    Raises ConfigurationError for an empty text, for no UTF-8, and for a text that begins like Orcha's and goes on
    otherwise.
    """
    try:
        return _parse(text)
    except ValueError as error:
        raise ConfigurationError(
            f"the key cannot be used: {error}; leave --key out, and the one in {key_path()} is used or made"
        ) from None


def _parse(text: str | bytes) -> Key:
    """Read a key's text; ValueError says what is wrong with it."""
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError:
            raise ValueError("it is no UTF-8") from None
    text = text.strip()
    if not text:
        raise ValueError("it is empty")
    if text.startswith(KEY_PREFIX):
        return _parse_made(text)
    return _stretch(text)


def make_key() -> Key:
    """Make a new key."""
    return Key("k" + _base64url(os.urandom(6)), os.urandom(SECRET_BYTES))


def capability_id(seq: int, attempt: int) -> str:
    """Name the key of one attempt: `c` and base64url of its sequence number, 8 bytes, and attempt number, 4 bytes."""
    return "c" + _base64url(seq.to_bytes(8, "big") + attempt.to_bytes(4, "big"))


def capability_of(key_id: str) -> tuple[int, int] | None:
    """Give the sequence and attempt number that a capability's id names; None for another id."""
    if len(key_id) != 17 or not key_id.startswith("c") or not ID_CHARACTERS.issuperset(key_id):
        return None
    numbers = _from_base64url(key_id[1:])
    return int.from_bytes(numbers[:8], "big"), int.from_bytes(numbers[8:], "big")


def record_of(key: Key, role: str = ADMIN, salt: bytes | None = None) -> KeyRecord:
    """Make what a service keeps of a key."""
    from hashlib import sha256

    from orcha._protocol.scram import keys_of

    salt = os.urandom(16) if salt is None else salt
    client, server = keys_of(key.password, salt, PBKDF2_ITERATIONS)
    return KeyRecord(key.id, salt, PBKDF2_ITERATIONS, sha256(client).digest(), server, role)


def record_of_no_key(salt: bytes | None = None) -> KeyRecord:
    """Make the record that stands in place of one of an unknown key; no key fits it.

    What it keeps is drawn by lot: nobody sees whether that was derived from a key, which takes 1 ms.
    """
    salt = os.urandom(16) if salt is None else salt
    return KeyRecord("", salt, PBKDF2_ITERATIONS, stored_key=os.urandom(32), server_key=os.urandom(32), role="")


def hidden_salt(secret: bytes, key_id: str) -> bytes:
    """Give the salt of an unknown id: the same each time, so that the salt does not tell that the id is unknown."""
    import hmac

    return hmac.digest(secret, key_id.encode("ascii", "replace"), "sha256")[:16]


def keyring(keys: Iterable[Key], role: str = ADMIN, *, salts: bytes | None = None) -> dict[str, KeyRecord]:
    """Make what a service keeps of its keys, by id.

    `salts` is the secret from which salts are derived, so that a known id has the salt that it would have as an unknown
    one (`hidden_salt`); None for salts of chance.
    """
    return {key.id: record_of(key, role, None if salts is None else hidden_salt(salts, key.id)) for key in keys}


def check_strength(key: Key, *, loopback: bool, allow_weak: bool = False) -> str | None:
    """Judge a key by itself, never by what the other end says; give a warning for a weak key, else None.

    Raises ConfigurationError where a weak key would be used with another machine and `allow_weak` is not given.
    """
    if not key.weak:
        return None
    weak = f"the key has fewer than {MIN_STRONG_KEY_CHARACTERS} characters and can be guessed"
    better = f"without --key the one in {key_path()} is used, which is made at its first use and cannot"
    if not loopback and not allow_weak:
        raise ConfigurationError(
            f"{weak}: {better}; copy that file to the other machine, or give --allow-weak-key before the command"
        )
    return f"{weak}: {better}"


def load_key(path: str, *, handed_over: bool = False) -> Key:
    """Read a key file; `handed_over` where it is a credential, which root may own and let this user read.

    Raises FileNotFoundError where there is none, and ConfigurationError where it is another user's, where others may
    read it, where it cannot be read, and where it holds no key.
    """
    try:
        text = _read_file(path, handed_over=handed_over)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unusable(f"the key file {path} cannot be read", error) from None
    try:
        return _parse(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{path} holds no key: {error}; put it back, or move it away and a new one is made"
        ) from None


def _read_file(path: str, *, handed_over: bool = False) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if handed_over:
            _check_credential(path, found)
        else:
            _check_file(path, found)
        return os.read(descriptor, _MAX_KEY_FILE_BYTES)
    finally:
        os.close(descriptor)


def load_or_make_key(path: str) -> Key:
    """Read the user's key file, and make it, 0600 in a folder 0700, where there is none.

    Raises ConfigurationError as `load_key` does, and where it cannot be made.
    """
    try:
        return load_key(path)
    except FileNotFoundError:
        make_private_folder(os.path.dirname(path))  # noqa: PTH120 - pathlib costs a client 5 ms
    try:
        return _make_file(path)
    except OSError as error:
        raise unusable(f"the key file {path} cannot be made", error) from None


def services_key(path: str | None = None) -> Key:
    """Give the key that a service without --key lets in: the credential `orcha.key`, else the key file at a path.

    Without a path that is the user's key file.

    Raises ConfigurationError as `load_or_make_key` does.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder:
        try:
            return load_key(f"{folder}/{CREDENTIAL}", handed_over=True)
        except FileNotFoundError:
            pass  # other credentials may be for plugins
    return load_or_make_key(path or key_path())


def users_key() -> Key:
    """Give the key that a client uses without --key: the user's own, made where there is none, or $ORCHA_KEY_FILE.

    Raises ConfigurationError as `load_or_make_key` does, and where $ORCHA_KEY_FILE names no file: a key that a client
    made there could be no service's.
    """
    path = key_path()
    if not os.environ.get(KEY_VARIABLE):
        return load_or_make_key(path)
    try:
        return load_key(path)
    except FileNotFoundError:
        raise ConfigurationError(
            f"{KEY_VARIABLE} names {path}, which is not there: start the service with it, which makes it"
        ) from None


def named_file_key(path: str) -> Key:
    """Give the key in a file that the user has named for one service.

    Raises ConfigurationError as `load_key` does, and where there is no such file.
    """
    try:
        return load_key(path)
    except FileNotFoundError:
        raise ConfigurationError(f"the key file {path} is not there: orcha key add --out makes one") from None


def _make_file(path: str) -> Key:
    key = make_key()
    new = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            os.write(descriptor, key.text.encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.link(new, path)  # like O_EXCL it never replaces another's, but the file is whole when it appears
    except FileExistsError:
        return load_key(path)  # another process was faster
    finally:
        os.unlink(new)  # noqa: PTH108
    return key


def _check_file(path: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(f"{path} is no file: move it away, and a new key is made")
    if found.st_uid != os.geteuid():
        raise ConfigurationError(
            f"{path} belongs to uid {found.st_uid}, and a key is its owner's alone: "
            "set ORCHA_HOME to a folder of your own"
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigurationError(f"others may read {path} (mode {stat.S_IMODE(found.st_mode):04o}): chmod 600 {path}")


def _check_credential(path: str, found: os.stat_result) -> None:
    """Check as systemd leaves a credential: root's or the user's own, and no other user's to read.

    Where an access control list lets a service's user read it, the mode shows that list's mask as the group's.
    """
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(f"{path} is no file: have LoadCredential={CREDENTIAL}:PATH name the key file")
    if found.st_uid not in {0, os.geteuid()} or stat.S_IMODE(found.st_mode) & 0o007:
        raise ConfigurationError(
            f"{path} can be read by others (uid {found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o}), as no"
            " credential of systemd can: let systemd set CREDENTIALS_DIRECTORY, by LoadCredential= in the unit"
        )


def _parse_made(text: str) -> Key:
    key_id, _, secret = text.removeprefix(KEY_PREFIX).partition(".")
    if not 0 < len(key_id) <= MAX_ID_CHARACTERS or not ID_CHARACTERS.issuperset(key_id):
        raise ValueError(f"its id is not 1 to {MAX_ID_CHARACTERS} letters, digits, - and _")
    if len(secret) != 43 or not ID_CHARACTERS.issuperset(secret):
        raise ValueError("its secret is not 43 characters of base64url")
    key = Key(key_id, _from_base64url(secret + "="))
    if key.text != text:
        raise ValueError("its secret has bits beyond 256")
    return key


def _stretch(text: str) -> Key:
    import hashlib
    import hmac

    secret = hashlib.scrypt(text.encode(), salt=b"orcha text key 1", **_SCRYPT)
    name = hmac.digest(secret, b"orcha key id", "sha256")
    return Key("t" + _base64url(name)[:12], secret, weak=len(text) < MIN_STRONG_KEY_CHARACTERS)


def _base64url(data: bytes) -> str:
    """Encode without the module base64: a child of an attempt may be forked while another thread imports that."""
    return b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL).decode("ascii")


def _from_base64url(text: str) -> bytes:
    return a2b_base64(text.encode("ascii").translate(_FROM_URL))
