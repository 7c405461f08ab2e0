"""What holds for the petitions of a group, as people set it while the service runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._configuration.group_rules import check_rules
from orcha._configuration.kinds import MAX_SLOTS
from orcha._core.conditions.errors import ConditionTextError
from orcha._core.groups import NO_RULES, GroupRules
from orcha._core.start_log import StartRate
from orcha._protocol import values
from orcha._protocol.messages import Reply, SetGroup, Verdict
from orcha._protocol.shown_reasons import UNREADABLE
from orcha._service.verbs.petition_lookup import refuse
from orcha.interfaces.policy import MAX_NAME_CHARACTERS, is_name

if TYPE_CHECKING:
    from orcha._core.conditions.book import ConditionBook
    from orcha._server.server import Peer
    from orcha._service.engine import Engine


def set_group(engine: Engine, peer: Peer, message: SetGroup) -> None:
    """Have this hold for the petitions of a group from now on, over restarts too; what runs goes on."""
    groups, name = engine.admission.of_groups, message.group
    slots = groups.slots.get(name) if message.keeps_slots else message.slots
    try:
        if not is_name(name) or (slots or 0) > MAX_SLOTS:
            error = f"give a group a name of 1 to {MAX_NAME_CHARACTERS} characters, and at most {MAX_SLOTS} slots"
            raise ValueError(error)  # noqa: TRY301 - it is answered as what `_changed` raises
        rules = _changed(groups.rules.get(name, NO_RULES), message.rules, engine.admission.conditions)
    except ValueError as error:
        refuse(engine, peer, message.request, Verdict.REFUSED, str(error))
        return
    engine.admitting.set_group(name, slots, rules, peer.identity)
    engine.reply(peer, Reply(message.request, Verdict.OK))


def _changed(rules: GroupRules, sent: bytes | None, conditions: ConditionBook) -> GroupRules:
    """Give the rules with what a message changes.

    Raises:
        ValueError: the message names what is no rule, or a value that a rule cannot have.

    """
    given = {} if sent is None else values.decode(sent, channel=bytes)
    check_rules(given)
    if given.get("rate") is not None:
        given["rate"] = StartRate(*given["rate"])
    if given.get("when") is not None:
        try:
            given["when"] = conditions.read(given["when"]).text
        except ConditionTextError as wrong:
            error = f"{UNREADABLE}, {wrong}"
            raise ValueError(error) from None
    changed = rules._replace(**given)
    if changed.is_too_long(changed.default_timeout):
        error = f"its default timeout is {changed.default_timeout:g} s, and its longest {changed.longest:g} s"
        raise ValueError(f"{error}: give a default timeout that is not longer")
    return changed


__all__ = ["set_group"]
