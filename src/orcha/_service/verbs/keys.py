"""Let in programs and other machines, each by a key of its own; let one in no more; tell which keys there are."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING, Any

from orcha._protocol.client_certificates import NoCertificateNameError, certificate_name
from orcha._protocol.handshake import NOBODY_UID
from orcha._protocol.keys import PBKDF2_ITERATIONS
from orcha._protocol.messages import Reply, Verdict
from orcha._protocol.named_keys import VERIFIER_BYTES, name_problem
from orcha._service.key_book import NamedKey
from orcha._service.reports.explanations import describe
from orcha._service.verbs import answer_size as fitting
from orcha._service.verbs.petition_lookup import refuse
from orcha.interfaces.roles import ROLES

if TYPE_CHECKING:
    from orcha._protocol.messages import ListKeys, SetKey
    from orcha._server.server import Peer
    from orcha._service.engine import Engine

MAX_KEYS = 1_000
"""Keys with names of one service."""
MAX_SECONDS = 100 * 366 * 86_400.0
"""Seconds for which a key may be taken that has an end."""


class _NotAddedError(Exception):
    """The key is not let in; the text says why."""


def set_key(engine: Engine, peer: Peer, message: SetKey) -> None:
    """Let a key in, or no more; answered when that is kept, and no client is connected by what is let in no more."""

    def answer() -> None:
        engine.post(engine.reply, peer, Reply(message.request, Verdict.OK))

    if message.verifier is None and message.certificate is None:
        if message.name in engine.keys.known:
            engine.keys.revoke(message.name, answer)
        else:
            text = f"there is no key {message.name!a:.80}: orcha key ls"
            refuse(engine, peer, message.request, Verdict.UNKNOWN, text)
        return
    user = message.user

    def add(uid: int | Exception | None) -> None:
        if isinstance(uid, Exception):
            _refuse_user(engine, peer, message, uid)
            return
        try:
            key = _new_key(engine, peer, message, uid)
        except _NotAddedError as error:
            refuse(engine, peer, message.request, Verdict.REFUSED, str(error))
        else:
            engine.keys.add(key, answer)

    if user is None:
        add(None)
    else:
        engine.lookups.begin(lambda: _uid_of(user), add)


def _refuse_user(engine: Engine, peer: Peer, message: SetKey, error: Exception) -> None:
    """Tell that a key may not act as a user, or that nobody has said in time which user that is."""
    if isinstance(error, _NotAddedError):
        refuse(engine, peer, message.request, Verdict.REFUSED, str(error))
    else:
        text = f"{describe(error)}: try again; getent passwd {message.user!a:.80} shows when the directory answers"
        refuse(engine, peer, message.request, Verdict.BUSY, text)


def _new_key(engine: Engine, peer: Peer, message: SetKey, uid: int | None) -> NamedKey:
    name, seconds, known = message.name, message.seconds, engine.keys.known
    verifier, certificate = _proof_of(engine, message)
    if seconds is not None and not 0 < seconds <= MAX_SECONDS:
        raise _NotAddedError("give a time above zero, and of at most a hundred years")
    now = engine.petitions.now.wall
    if message.renews:
        return _renewed(peer, message, known.get(name), now)._replace(verifier=verifier, certificate=certificate)
    if problem := name_problem(name):
        raise _NotAddedError(problem)
    if name in known:
        raise _NotAddedError(f"there is a key {name} already: orcha key renew {name}, or give another name")
    if len(known) >= MAX_KEYS:
        raise _NotAddedError(f"there are {MAX_KEYS} keys already: revoke keys that nobody uses")
    if message.role not in ROLES:
        raise _NotAddedError(f"{message.role!a:.80} is no role: give one of {', '.join(ROLES)}")
    return NamedKey(
        name,
        message.role,
        verifier,
        uid,
        now,
        peer.identity,
        None if seconds is None else now + seconds,
        owner=engine.keys.owner_of_next(name),
        certificate=certificate,
    )


def _proof_of(engine: Engine, message: SetKey) -> tuple[str, str]:
    """Give by what a key is to be proved: a verifier, or the name of a certificate; the other one is empty."""
    if message.certificate is None:
        verifier = message.verifier or b""
        if len(verifier) != VERIFIER_BYTES:
            raise _NotAddedError(f"a verifier has {VERIFIER_BYTES} bytes, and not {len(verifier)}")
        return verifier.hex(), ""
    if message.verifier is not None:
        raise _NotAddedError("a key is proved by a secret or by a certificate: give one of the two")
    try:
        certificate = certificate_name(message.certificate)
    except NoCertificateNameError as error:
        raise _NotAddedError(str(error)) from None
    others = [each.name for each in engine.keys.known.values() if each.certificate == certificate]
    if others and others != [message.name]:
        raise _NotAddedError(f"the key {others[0]} is of this certificate already: orcha key revoke {others[0]}")
    return "", certificate


def _renewed(peer: Peer, message: SetKey, key: NamedKey | None, now: float) -> NamedKey:
    """Give a key with another secret to come: its petitions stay its own."""
    if key is None:
        raise _NotAddedError(f"there is no key {message.name!a:.80}: orcha key ls")
    seconds = message.seconds
    if seconds is None and key.expires is not None:
        seconds = key.expires - key.added
    expires = None if seconds is None else now + seconds
    return key._replace(added=now, added_by=peer.identity, expires=expires, used=None)


def _uid_of(user: str) -> int:
    """Give the user as whom clients with a key act; on a thread of lookups."""
    if os.geteuid():
        raise _NotAddedError("only a service of root runs commands as another user: leave out --as")
    try:
        uid = int(user) if user.isascii() and user.isdecimal() else pwd.getpwnam(user).pw_uid
        pwd.getpwuid(uid)
    except (KeyError, OverflowError, ValueError):
        raise _NotAddedError(f"{user!a:.80} is no user of this machine: give a name that id(1) knows") from None
    if uid in {0, NOBODY_UID}:
        raise _NotAddedError("a key runs no commands as root or as nobody: give another user")
    return uid


def list_keys(engine: Engine, peer: Peer, message: ListKeys) -> None:
    """Tell which keys there are, without what they are checked by."""
    book, now = engine.keys, engine.petitions.now.wall
    connected = [each.key for each in engine.outbox.peers.values() if each.key]
    found: dict[str, Any] = {
        "keys": [_shown(key, now, connected.count(key.name)) for _, key in sorted(book.known.items())]
    }
    if message.name is not None:
        found |= {"salt": book.salt_of(message.name), "iterations": PBKDF2_ITERATIONS}
    engine.reply(peer, Reply(message.request, Verdict.OK, fitting.answer(found)))


def _shown(key: NamedKey, now: float, connections: int) -> dict[str, Any]:
    known = key._asdict() | {"owner": key.owner or f"key:{key.name}"}
    del known["verifier"]
    return known | {"expired": key.expires is not None and now >= key.expires, "connections": connections}


__all__ = ["list_keys", "set_key"]
