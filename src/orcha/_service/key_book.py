"""The keys with names that a service lets in: kept over restarts, as verifiers alone."""

from __future__ import annotations

import json
import os
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from orcha._protocol.keys import hidden_salt
from orcha._protocol.named_keys import named_record
from orcha._service.clock_looks import ClockLooks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orcha._core.petitions import Petitions
    from orcha._protocol.keys import KeyRecord
    from orcha._service.timers import Timers
    from orcha._store.contract import Store

_KIND = "key"
_NUMBERS = "numbers of keys"
"""Kind of what is kept of a name that had a key: how many keys, one after another, have had the name."""
_SALTS = "salts of keys", ""
"""Where the secret is kept from which salts are derived, so that salts stay the same over restarts."""
_SALT_SECRET_BYTES = 32
USE_SECONDS = 60.0
"""Seconds by which the kept time of a key's last use may be too early."""


class NamedKey(NamedTuple):
    """A key with a name, as it is kept: without its secret."""

    name: str
    role: str
    verifier: str
    """StoredKey and ServerKey of SCRAM, as hexadecimal digits; empty where a certificate proves the key."""
    uid: int | None
    """The user as whom clients with this key act; None for nobody on this machine."""
    added: float
    """Wall-clock time, as the other times."""
    added_by: str
    """The identity of the client that added the key."""
    expires: float | None
    used: float | None = None
    """When a client last came in by it; None for never."""
    owner: str = ""
    """Whose the petitions of the key are; empty for `key:` and its name, as earlier builds kept it."""
    certificate: str = ""
    """The name of the certificate that proves the key; empty where a secret does."""


class KeyBook:
    """The keys with names; the engine thread's."""

    def __init__(
        self,
        petitions: Petitions,
        store: Store,
        timers: Timers,
        after: Callable[[Callable[[], object]], None],
    ) -> None:
        """Have no key yet; `after` has something called once a change is kept."""
        self._petitions = petitions
        self._store = store
        self._after = after
        self._looks = ClockLooks(timers, self._look)
        self._kept_use: dict[str, float] = {}
        """The last use of each key, as it is kept."""
        self._numbers: dict[str, int] = {}
        """How many keys have had a name that was revoked, one after another."""
        self.known: dict[str, NamedKey] = {}
        self.salts = b""
        self.records: Mapping[str, KeyRecord] = {}
        """What proofs are checked by; another mapping takes the place of this one."""
        self.let_in: Callable[[Mapping[str, KeyRecord], Callable[[], None]], None] = _let_in_nobody
        """Lets in these keys alone, cuts off the clients of others, and calls what it is given."""

    def load(self) -> None:
        """Take over what was kept."""
        kept = self._store.decided(_SALTS[0]).get(_SALTS[1])
        if kept is None:
            kept = os.urandom(_SALT_SECRET_BYTES).hex()
            self._petitions.keep_decided(*_SALTS, kept)
        self.salts = bytes.fromhex(kept)
        self._numbers = {name: int(text) for name, text in self._store.decided(_NUMBERS).items()}
        for text in self._store.decided(_KIND).values():
            key = NamedKey(**json.loads(text))
            self.known[key.name] = key
            self._kept_use[key.name] = key.used or 0.0
        self._change(_nothing)

    def salt_of(self, name: str) -> bytes:
        """Give the salt of the key of this name, which is the same where there is no such key."""
        return hidden_salt(self.salts, name)

    def owner_of_next(self, name: str) -> str:
        """Give whose the petitions of the next key of a name are: never those of an earlier key, which was revoked."""
        earlier = self._numbers.get(name, 0)
        return f"key:{name}.{earlier + 1}" if earlier else f"key:{name}"

    def add(self, key: NamedKey, then: Callable[[], None]) -> None:
        """Let a key in from now on, in place of a key of its name; `then` is called, on another thread, at last.

        By then that holds, and no client is connected by the key that was let in before.
        """
        self._set(key.name, key)
        self._change(then)

    def revoke(self, name: str, then: Callable[[], None]) -> None:
        """Let a key in no more; `then` is called, on another thread, once no client is connected by it."""
        self._numbers[name] = number = self._numbers.get(name, 0) + 1
        self._petitions.keep_decided(_NUMBERS, name, str(number))
        self._set(name, None)
        self._change(then)

    def unproved(self, *, asks: bool) -> list[str]:
        """Give the keys that certificates prove, where the service does not ask clients for certificates."""
        return sorted(each.name for each in self.known.values() if each.certificate and not asks)

    def note_use(self, name: str) -> None:
        """Note that a client has come in by a key."""
        key, now = self.known.get(name), time.time()
        if key is None:
            return  # it was revoked meanwhile
        self.known[name] = used = key._replace(used=now)
        if not 0 <= now - self._kept_use.get(name, 0.0) < USE_SECONDS:
            self._set(name, used)

    def _set(self, name: str, key: NamedKey | None) -> None:
        if key is None:
            del self.known[name]
            self._kept_use.pop(name, None)
        else:
            self.known[name] = key
            self._kept_use[name] = key.used or 0.0
        self._petitions.keep_decided(_KIND, name, None if key is None else json.dumps(key._asdict()))

    def _change(self, then: Callable[[], None]) -> None:
        self.records = {each.name: self._record(each) for each in self.known.values()}
        self._after(partial(self.let_in, self.records, then))
        self._look_later()

    def _record(self, key: NamedKey) -> KeyRecord:
        salt, verifier = self.salt_of(key.name), bytes.fromhex(key.verifier)
        how = {"role": key.role, "uid": key.uid, "expires": key.expires, "owner": key.owner}
        how["certificate"] = key.certificate
        return named_record(key.name, verifier, salt, **how)

    def _look(self) -> None:
        """Cut off clients of keys whose time is over."""
        self.let_in(self.records, _nothing)
        self._look_later()

    def _look_later(self) -> None:
        now = time.time()
        if coming := [key.expires for key in self.known.values() if key.expires is not None and key.expires > now]:
            self._looks.ask_for(min(coming))


def _let_in_nobody(_: Mapping[str, KeyRecord], then: Callable[[], None]) -> None:
    """Do nothing: there is no server yet, which begins with `KeyBook.records`."""
    then()


def _nothing() -> None:
    """Do nothing."""


__all__ = ["KeyBook", "NamedKey"]
