"""How many petitions of a group may run at once, as people set it while the service runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._protocol.messages import Reply, SetGroup, Verdict
from orcha._service.lifecycle.settings import MAX_SLOTS
from orcha._service.verbs.petition_lookup import is_owner, refuse
from orcha.interfaces.policy import MAX_NAME_CHARACTERS, is_name

if TYPE_CHECKING:
    from orcha._server.server import Peer
    from orcha._service.engine import Engine


def set_group(engine: Engine, peer: Peer, message: SetGroup) -> None:
    """Have so many petitions of a group run at once from now on, over restarts too; what runs goes on."""
    if not is_owner(engine, peer, message.request, "set groups"):
        return
    if not is_name(message.group) or (message.slots or 0) > MAX_SLOTS:
        text = f"give a group a name of 1 to {MAX_NAME_CHARACTERS} characters, and at most {MAX_SLOTS} slots"
        refuse(engine, peer, message.request, Verdict.REFUSED, text)
        return
    engine.admitting.set_slots(message.group, message.slots)
    engine.reply(peer, Reply(message.request, Verdict.OK))


__all__ = ["set_group"]
