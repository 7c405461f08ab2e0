"""What holds for the petitions of a group, as people set it while the service runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orcha._configuration.kinds import MAX_SLOTS, MAX_STARTS_PER_RATE, MIN_AGE_SECONDS
from orcha._core.conditions.errors import ConditionTextError
from orcha._core.groups import NO_RULES, GroupRules
from orcha._core.start_log import StartRate
from orcha._protocol import values
from orcha._protocol.messages import Reply, SetGroup, Verdict
from orcha._protocol.shown_reasons import UNREADABLE
from orcha._service.verbs.petition_lookup import refuse
from orcha.interfaces.policy import MAX_DURATION_SECONDS, MAX_NAME_CHARACTERS, is_name

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    if not isinstance(given, dict) or not given.keys() <= _CHECKS.keys():
        error = f"the rules of a group are {', '.join(_CHECKS)}"
        raise ValueError(error)
    for name, value in given.items():
        if value is not None:
            _CHECKS[name](name, value)
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


def _check_count(name: str, value: Any) -> None:
    if type(value) is not int or not 0 <= value <= MAX_SLOTS:
        error = f"{name} is a whole number from 0 to {MAX_SLOTS}, not {value!r:.80}"
        raise ValueError(error)


def _check_seconds(name: str, value: Any) -> None:
    if type(value) not in {int, float} or not 0 < value <= MAX_DURATION_SECONDS:
        error = f"{name} is a number of seconds above 0 and at most {MAX_DURATION_SECONDS}, not {value!r:.80}"
        raise ValueError(error)


def _check_age(name: str, value: Any) -> None:
    _check_seconds(name, value)
    if value < MIN_AGE_SECONDS:
        error = f"{name} is {MIN_AGE_SECONDS} seconds at least, not {value!r:.80}: so often is no order worth a change"
        raise ValueError(error)


def _check_rate(name: str, value: Any) -> None:
    if not isinstance(value, list | tuple) or len(value) != len(StartRate._fields):
        error = f"{name} is a number of starts, and the seconds within which they are counted, not {value!r:.80}"
        raise ValueError(error)
    count, seconds = value
    if type(count) is not int or not 1 <= count <= MAX_STARTS_PER_RATE:
        error = (
            f"{name} is 1 to {MAX_STARTS_PER_RATE} starts within some seconds, not {count!r:.80}: count a shorter time"
        )
        raise ValueError(error)
    _check_seconds(name, seconds)


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        error = f"{name} is a condition in text, not {value!r:.80}"
        raise ValueError(error)  # noqa: TRY004 - it is answered as each other value that is refused


_CHECKS: Mapping[str, Any] = {
    "per_user": _check_count,
    "default_timeout": _check_seconds,
    "longest": _check_seconds,
    "rate": _check_rate,
    "when": _check_text,
    "age": _check_age,
}

__all__ = ["set_group"]
