"""A message becomes a petition: what the manager makes of it is looked at before anything relies on it."""

from __future__ import annotations

import os
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

from orcha._client.attempt_channel import AttemptChannel
from orcha._core import pinning
from orcha._core.authority import uid_of
from orcha._core.conditions.errors import ConditionTextError
from orcha._core.conditions.terms import BUILT_IN, Origin
from orcha._core.converted import Converted, declares_nothing
from orcha._core.state import OnInterrupt
from orcha._core.waiting_queue import checked_priority
from orcha._protocol import values
from orcha._protocol.shown_reasons import UNREADABLE
from orcha._service.execution.retries import retry_of
from orcha._service.reports.explanations import cleaned, explain
from orcha._service.reports.user_names import user
from orcha._store.checksums import DAMAGED
from orcha.exceptions import StaleCall
from orcha.interfaces.built_in import COMMAND_MANAGER, LEASE_MANAGER
from orcha.interfaces.command import CommandPetition
from orcha.interfaces.message import Message
from orcha.interfaces.petition import Petition
from orcha.interfaces.policy import NOTHING_SAID, Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orcha._core.admission import Admission
    from orcha._core.conditions.condition import Condition
    from orcha._core.record import Record
    from orcha._service.execution.attempt_port import AttemptPort

_FIELDS = tuple(field.name for field in fields(Policy))
NOT_PREEMPTIBLE = (
    "preemptible is for commands alone, and this petition has an action in Python, which the service can neither stop"
    " nor start anew: leave it out, or have the work done by a CommandPetition"
)
_OURS = (COMMAND_MANAGER, LEASE_MANAGER)
"""Managers whose errors and petitions are made here."""
_SERVICE = "service"
"""As whom a petition runs that says nothing about it."""
_POLICIES = {"fail": OnInterrupt.FAIL, "rerun": OnInterrupt.RERUN, "ask": OnInterrupt.ASK}


def convert(record: Record, manager: Any, port: AttemptPort, admission: Admission, *, is_new: bool) -> Converted | str:
    """Make a record's petition, and find out what the petition declares.

    Args:
        record: whose message it is.
        manager: makes the petition of it.
        port: the engine, as channels in this process see it.
        admission: knows the groups and resources that there are.
        is_new: whether the message has just come; a petition made from a kept message keeps its priority.

    Returns:
        What was found out, or why no petition can be made of the message.

    Raises:
        StaleCall: on a thread that was given up meanwhile.

    """
    try:
        petition = _converted(record, manager, port)
        if is_new and (authorize := getattr(manager, "authorize", None)) is not None:
            _check_permission(authorize, record, petition)
        priority = checked_priority(petition.priority)
        is_command = isinstance(petition, CommandPetition) or record.manager == LEASE_MANAGER
        policy, when = getattr(petition, "policy", None), None
        if policy is not None or is_command:
            policy = _checked_policy(record, petition, policy, is_new=is_new)
        if policy is not None:
            when = _check_declared(record, petition, policy, admission, is_new=is_new)
        if is_command:
            _find_secrets(record, petition, admission, is_new=is_new)
        retry = retry_of(petition, policy) if is_command or policy is not None else None
    except StaleCall:
        raise
    except _NotConverted as error:
        return cleaned(str(error))
    except BaseException as error:  # noqa: BLE001 - plugin code: SystemExit too ends this petition only
        if record.manager in _OURS and isinstance(error, ValueError | TypeError):
            return cleaned(str(error))  # written for the author of the field that it names
        return f"the message is refused: {explain(error)}"
    seq, key, name, owner = record.seq, record.key, record.manager, record.owner
    if policy is None and is_new and not record.after:  # a new record says nothing of all that a policy may say
        return Converted(record, True, seq, key, name, owner, petition, is_command, priority, retry, is_plain=True)
    source: Record | Policy = record if policy is None else policy
    needs = record.needs if policy is None else _needs(policy) or None
    after = _others_first(record, policy, admission, is_new=is_new)
    when = record.when if policy is None else when
    declared = (source.group, needs, source.once, after, source.at, source.delay, when)
    return Converted(
        record,
        is_new,
        seq,
        key,
        name,
        owner,
        petition,
        is_command,
        priority if is_new else record.priority,
        retry,
        record.on_interrupt if policy is None else _POLICIES[policy.on_interrupt],
        source.timeout if source.group is None else admission.of_groups.timeout_of(source.group, seq, source.timeout),
        source.queue_timeout,
        source.expect,
        *declared,  # type: ignore[arg-type]  # a policy keeps a date as a number
        record.preemptible if policy is None else policy.preemptible,
        has_policy=policy is not None,
        is_plain=declares_nothing(*declared),  # type: ignore[arg-type]  # as above
    )


def _others_first(
    record: Record, policy: Policy | None, admission: Admission, *, is_new: bool
) -> Mapping[str, bool] | None:
    """Give the ids of the petitions that have to end first, and whether each must succeed; None for none.

    Beside the policy a schedule may name some, when it asks for the petition.
    """
    named = (record.after if is_new else admission.dependencies.unmet(record.seq)) or {}
    if policy is not None and (policy.after or policy.after_ok):
        named = {**named, **dict.fromkeys(map(str, policy.after or ()), False)}
        named |= dict.fromkeys(map(str, policy.after_ok or ()), True)
    return named or None


def _converted(record: Record, manager: Any, port: AttemptPort) -> Petition:
    if record.extras == DAMAGED:
        message = (
            f"what was kept of message {record.key!r} is damaged on the disk, so nothing of it is executed: check the"
            " disk, and send it again"
        )
        raise _NotConverted(message)
    extras = values.decode(record.extras or b"", channel=partial(AttemptChannel, port=port))
    if not isinstance(extras, dict):
        message = f"the message is refused: its extras are {extras!r:.80}, and no dict: send Message(id, {{...}})"
        raise _NotConverted(message)
    petition = manager.convert_to_petition(Message(record.id, extras))
    if petition is None:
        message = f"the message {record.key!r} is refused: its plugin takes no such message"
        raise _NotConverted(message)
    if not isinstance(petition, Petition):
        message = f"the message is refused: its plugin made {petition!r:.80} of it, which is no petition"
        raise _NotConverted(message)
    if str(petition.id) != record.key:
        message = (
            f"the message is refused: its plugin gave its petition the id {str(petition.id)!r}, not {record.key!r}"
        )
        raise _NotConverted(message)
    return petition


def _check_permission(authorize: Callable[..., object], record: Record, petition: Petition) -> None:
    """Raise where the manager does not let a user ask for a petition, or fails when it is asked."""
    try:
        allowed = authorize(record.owner, "submit", petition)
    except StaleCall:
        raise
    except BaseException as error:  # noqa: BLE001 - plugin code: what fails here allows nothing
        message = f"authorize of {record.key!r} failed: {explain(error)}"
        raise _NotConverted(message) from None
    if not allowed:
        message = f"the message is refused: its plugin does not let {user(record.owner)} submit {record.key!r}"
        raise _NotConverted(message)


def _checked_policy(record: Record, petition: Petition, policy: object, *, is_new: bool) -> Policy | None:
    """Give a checked copy of a petition's policy: its class may hold anything, and other code may change it later."""
    if policy is NOTHING_SAID and is_new:
        return None  # the new record of a petition that says nothing has the same; a record that was changed has not
    if record.manager in _OURS:  # which have looked already
        return policy  # type: ignore[return-value]  # they make them themselves
    if policy is not None:
        if not isinstance(policy, Policy):
            message = f"its policy is a {type(policy).__name__}, not a Policy"
            raise TypeError(message)
        policy = Policy(**{field: getattr(policy, field) for field in _FIELDS})
    if isinstance(petition, CommandPetition):
        petition.check()
    elif policy is not None and policy.preemptible is not None:
        raise _NotConverted(NOT_PREEMPTIBLE)
    return policy


def _check_declared(
    record: Record, petition: Petition, policy: Policy, admission: Admission, *, is_new: bool
) -> Condition | None:
    """Refuse a petition whose policy cannot be followed here; give its condition in text, where it has one."""
    if is_new and (policy.needs or policy.group is not None):
        _check_needs(record, policy, admission)
        if isinstance(petition, CommandPetition) and petition.pin:
            _check_pin(admission)
    when = None if policy.when is None else _condition(record, policy, admission, is_new=is_new)
    if policy.run_as != _SERVICE:
        _check_user(record, petition)
    return when


def _check_needs(record: Record, policy: Policy, admission: Admission) -> None:
    whose = record.owner, record.manager
    refusal = admission.refusal(policy.group, _needs(policy), policy.timeout, whose)
    if refusal is not None:
        raise _NotConverted(refusal.text())


def _check_pin(admission: Admission) -> None:
    devices = admission.resources.inventory.devices(pinning.PROCESSORS)
    refusal = pinning.refusal(devices, os.sched_getaffinity(os.getpid()))
    if refusal is not None:
        raise _NotConverted(refusal)


def _check_user(record: Record, petition: Petition) -> None:
    """Refuse what asks to run as its submitter, and cannot."""
    if not isinstance(petition, CommandPetition):
        raise _NotConverted("run_as='submitter' is for a CommandPetition: an action runs as the user of the service")
    if os.geteuid() and uid_of(record.owner) != os.geteuid():
        raise _NotConverted("run_as='submitter': only a service of root can run a command as another user")


def _find_secrets(record: Record, petition: Petition, admission: Admission, *, is_new: bool) -> None:
    """Find the secrets that a petition names; a new one whose client sent others, or not all, is refused.

    A conversion without a sequence number only tells what a petition would be.
    """
    if not isinstance(petition, CommandPetition) or not petition.secrets or not record.seq:
        return
    wanted = [name for name, value in petition.secrets.items() if value is None]
    if not is_new:
        admission.secrets.find(record.seq, record.token, wanted)
        return
    came = admission.secrets.of(record.token)
    if more := sorted(came.keys() - set(wanted)):
        raise _NotConverted(f"the secret {more[0]} came with it, and its command names no such secret: leave it out")
    if missing := [name for name in wanted if name not in came]:
        message = (
            f"it names the secret {missing[0]}, which did not come with it, and no service keeps a secret for later:"
            f" give --secret {missing[0]}=file:PATH, or --secret {missing[0]}=env:VARIABLE"
        )
        raise _NotConverted(message)


def _check_files(record: Record, when: Condition) -> None:
    """Refuse a condition about files where a service of root would look at them for another user."""
    if record.manager != COMMAND_MANAGER or os.geteuid() or uid_of(record.owner) == 0:
        return
    named = sorted(
        reading.name
        for reading in when.readings
        if (term := BUILT_IN.get(reading.name)) is not None and term.origin is Origin.FILES
    )
    if named:
        message = (
            f"its condition asks for {named[0]}, which this service would look up as root: have the command itself look"
            " at files"
        )
        raise _NotConverted(message)


def _needs(policy: Policy) -> Mapping[str, int | str] | None:
    """Give the needs of a policy, which has checked them, and holds whole numbers and texts."""
    return policy.needs  # type: ignore[return-value]  # that is what the line above says


def _condition(record: Record, policy: Policy, admission: Admission, *, is_new: bool) -> Condition:
    """Give the condition in text; what was read once is taken as it is, though a name in it may be gone."""
    text = str(policy.when)
    if not is_new:
        return admission.conditions.read_again(text)
    try:
        when = admission.conditions.read(text)
    except ConditionTextError as error:
        message = f"{UNREADABLE}, {error}"
        raise _NotConverted(message) from None
    _check_files(record, when)
    return when


class _NotConverted(Exception):  # noqa: N818 - never leaves this module
    """The value that convert_to_petition returned is no petition."""
