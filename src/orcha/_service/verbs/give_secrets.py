"""Secrets of a command: they come with its message, and may come again; they stay in memory, and nowhere else."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from orcha._core.authority import may_act_for
from orcha._core.state import State
from orcha._protocol import values
from orcha._protocol.messages import Reply, Verdict
from orcha._service.reports.state_names import word
from orcha._service.verbs.petition_lookup import find, refuse
from orcha.interfaces.built_in import COMMAND_MANAGER
from orcha.utils.core_files import write_none
from orcha.utils.secret_values import check

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orcha._protocol.messages import GiveSecrets
    from orcha._server.server import Peer
    from orcha._service.engine import Engine
    from orcha._store.contract import Row


def give_secrets(engine: Engine, peer: Peer, message: GiveSecrets) -> None:
    """Keep secrets for the next attempts of a petition; answered at once, since nothing is written."""
    engine.handle_when_free(_give, peer, message)


def _give(engine: Engine, peer: Peer, message: GiveSecrets) -> None:
    if message.token is None:
        found = find(engine, peer, message)
        if found is None:
            return
        row = found.row
    else:
        kept = engine.store.tokens([message.token]).get(message.token)
        if kept is None or not may_act_for(peer, kept.owner):
            refuse(engine, peer, message.request, Verdict.UNKNOWN, "there is no petition of yours with this token")
            return
        row = kept
        if row.state is State.ENDED:  # its client cannot know that yet
            engine.reply(peer, Reply(message.request, Verdict.OK))
            return
    reason = _refusal(engine, row, message.secrets)
    if reason is not None:
        refuse(engine, peer, message.request, Verdict.REFUSED, reason)
        return
    _keep(engine, row, message.secrets)
    engine.reply(peer, Reply(message.request, Verdict.OK))


def _refusal(engine: Engine, row: Row, secrets: Mapping[str, bytes]) -> str | None:
    """Give why a petition is given no such secrets; None where it is."""
    try:
        check(secrets)
    except ValueError as error:
        return str(error)
    if row.state is State.ENDED:
        return f"{row.id!r} has ended: orcha retry {row.id} --secret NAME=file:PATH runs it once more"
    if row.manager == COMMAND_MANAGER:
        named = values.fields_of(row.extras).get("secrets") or ()
        if others := sorted(set(secrets) - set(named)):
            there = f"its secrets are {', '.join(named)}" if named else "it names none"
            return f"{row.id!r} is {word(row.state, None)} without a secret {others[0]}: {there}"
    return engine.admission.secrets.refusal(row.token, row.owner, secrets)


def _keep(engine: Engine, row: Row, secrets: Mapping[str, bytes]) -> None:
    write_none()
    engine.admission.secrets.keep(row.token, row.owner, secrets)
    engine.admission.note_secrets(row.seq, row.token)
    engine.admitting.go_on()
    engine.visits.wake()


def take(engine: Engine, peer: Peer, token: bytes, secrets: Mapping[str, bytes]) -> str | None:
    """Keep the secrets that come with a message, which is taken next; give why the message cannot be taken with them.

    `settle` forgets them where the message becomes no petition. A message that comes again, since its connection was
    lost, gives the petition that it became its secrets again.
    """
    try:
        check(secrets)
    except ValueError as error:
        return str(error)
    if token in engine.submissions.undecided:
        return None
    row = engine.store.tokens([token]).get(token)
    if row is not None:
        if may_act_for(peer, row.owner) and _refusal(engine, row, secrets) is None:
            engine.visits.when_free(partial(_keep, engine, row, secrets))
        return None
    reason = engine.admission.secrets.refusal(token, peer.identity, secrets)
    if reason is None:
        write_none()
        engine.admission.secrets.keep(token, peer.identity, secrets)
    return reason


def settle(engine: Engine, token: bytes) -> None:
    """Forget the secrets of a message that has become no petition, and is not becoming a petition."""
    if token not in engine.submissions.undecided and not engine.store.tokens([token]):
        engine.admission.secrets.drop(token)


__all__ = ["give_secrets", "settle", "take"]
