"""What each message is called in the record of deeds, and which petitions it is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from orcha._core.authority import may_act_for_all
from orcha._core.permissions import Deed
from orcha._protocol import messages
from orcha._service.audit_book import Named
from orcha._service.verbs.petition_lookup import NamedPetition, named_petition

if TYPE_CHECKING:
    from orcha._server.peer import Peer
    from orcha._service.engine import Engine
    from orcha._store.contract import Row

MAX_VERB_CHARACTERS = 40
_LOOKING = frozenset((Deed.GREET, Deed.LOOK, Deed.READ, Deed.COUNT))
"""Deeds that change nothing: they are kept only where they were refused."""
_WORDS: dict[type, str | Callable[[Any], str]] = {
    messages.Select: lambda message: message.verb or "ps",
    messages.ChangeSchedule: lambda message: f"cron {message.change}"[:MAX_VERB_CHARACTERS],
    messages.ChangeLease: lambda message: "unlock" if message.seconds is None else "extend",
    messages.DrainService: lambda message: "drain" if message.drained else "undrain",
    messages.DrainResource: lambda message: "resource drain" if message.drained else "resource undrain",
    messages.Unset: lambda message: f"{message.kind} unset",
    messages.SetKey: lambda message: f"key {_what_becomes_of_key(message)}",
    messages.Submit: "submit",
    messages.Follow: "attach",
    messages.List: "ps",
    messages.Remove: "rm",
    messages.Call: "call",
    messages.GiveSecrets: "secrets",
    messages.AddSchedule: "cron add",
    messages.FireSchedule: "cron now",
    messages.ListSchedules: "cron ls",
    messages.ListResources: "resource ls",
    messages.SetResource: "resource set",
    messages.SetGroup: "group set",
    messages.ListKeys: "key ls",
    messages.ListEvents: "events",
}
"""The word for a message, where its name is not the verb; or what gives the word."""


def _what_becomes_of_key(message: messages.SetKey) -> str:
    if message.verifier is None and message.certificate is None:
        return "revoke"
    return "renew" if message.renews else "add"


def verb_of(message: Any) -> str:
    """Give the verb that people know a message by.

    >>> verb_of(messages.Cancel(1, None, "a")), verb_of(messages.DrainService(1, drained=False))
    ('cancel', 'undrain')
    >>> verb_of(messages.SetKey(1, "ci", bytes(64), renews=True)), verb_of(messages.SetKey(1, "ci"))
    ('key renew', 'key revoke')
    """
    word = _WORDS.get(type(message), type(message).__name__.lower())
    return word if isinstance(word, str) else word(message)


def named(engine: Engine, peer: Peer, message: Any, deed: Deed | None) -> Named:
    """Give what a message is about: no more of somebody else's petition than its client has said."""
    looks = deed in _LOOKING
    if looks:
        return Named(verb_of(message), _ids(message), only_looks=True)
    owners: tuple[str, ...] = ()
    meant = _meant(engine, message)
    if meant is not None:
        is_said = getattr(message, "id", None) is not None or peer.identity == meant.owner or may_act_for_all(peer)
        ids: tuple[str, ...] = (meant.id if is_said else "",)
        owners = (meant.owner,)
    else:
        ids = _ids(message)
        if type(message) in {messages.ChangeSchedule, messages.FireSchedule}:
            planned = engine.schedules.planned.get(message.name)
            owners = () if planned is None else (planned.schedule.owner,)
    why, is_cancel = getattr(message, "why", ""), type(message) is messages.Cancel
    return Named(verb_of(message), ids, owners, why, is_at_once=is_cancel)


def _meant(engine: Engine, message: Any) -> NamedPetition | Row | None:
    """Give the petition that a message is about, if it is about one."""
    if type(message) is not messages.Cancel or message.id is not None or message.token is None:
        return named_petition(engine, message)
    record = engine.petitions.of_token(message.token)
    if record is not None:
        return NamedPetition(record.seq, record.key, record.owner, record.manager)
    return engine.store.tokens([message.token]).get(message.token)


def _ids(message: Any) -> tuple[str, ...]:
    """Give what a message names: a petition, a group, a schedule, a resource, a key."""
    if type(message) in {messages.Submit, messages.List}:
        return tuple(str(item.id) for item in message.items) if type(message) is messages.Submit else ()
    for field in ("id", "group", "name", "resources"):
        value = getattr(message, field, None)
        if value is not None:
            return (f"{field} {value}" if field == "group" else str(value),)
    if type(message) is messages.Select:
        return tuple(message.ids)
    return ()


__all__ = ["named", "verb_of"]
