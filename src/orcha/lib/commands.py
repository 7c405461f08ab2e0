"""The built-in manager: its messages are commands to run."""

from __future__ import annotations

import os
from functools import lru_cache

from orcha.interfaces.built_in import COMMAND_MANAGER
from orcha.lib.manager import Manager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from orcha._configuration.configured import Configured
    from orcha.exceptions import ConditionFailed
    from orcha.interfaces.command import CommandPetition, Retry
    from orcha.interfaces.message import Message
    from orcha.interfaces.petition import Petition
    from orcha.interfaces.policy import Policy

CONCURRENCY_VARIABLE = "ORCHA_COMMANDS"
"""Variable that says how many commands may run at once."""
_MAX_CONCURRENCY_DIGITS = 9
MAX_LABEL_CHARACTERS = 200
_COMMAND_FIELDS = frozenset(
    (
        *("argv", "cwd", "env", "umask", "stdin", "tty", "merge", "stop_signal", "grace", "drain", "leftovers"),
        *("idle_timeout", "cpu_timeout", "memory", "pids", "cpu_share", "output_limit", "output_policy", "ok_codes"),
        *("warn", "pin"),
    )
)
"""Keys of a message that are fields of the petition."""
_POLICY_FIELDS = frozenset(
    (
        *("on_interrupt", "timeout", "queue_timeout", "group", "needs", "once", "if_exists", "at", "delay"),
        *("after", "after_ok", "if_dependency_fails", "when", "expect", "preemptible"),
    )
)
"""Keys that are fields of its policy."""
_OTHER_FIELDS = frozenset(("priority", "retry", "queue", "label", "beside", "secrets", "expect_source"))
_FIELDS = _COMMAND_FIELDS | _POLICY_FIELDS | _OTHER_FIELDS
_FIELDS_WITH_DEFAULTS = frozenset(
    (
        *("cwd", "stdin", "merge", "stop_signal", "grace", "drain", "leftovers", "output_limit", "output_policy"),
        *("pin", "ok_codes", "on_interrupt", "if_exists", "if_dependency_fails"),
    )
)
"""Keys for which None means the default, too."""


class CommandManager(Manager):
    """Runs the commands that its messages hold, as many at once as there are processors.

    A message's extras are the fields of a :class:`~orcha.interfaces.CommandPetition` by their names, those of its
    :class:`~orcha.interfaces.Policy`, `retry` as a dict of the fields of a :class:`~orcha.interfaces.Retry`,
    `priority`, `queue`, and `secrets`: a list of the names of what `send` has as `secrets`. Only `argv` has to be
    there. What is wrong is named in the refusal.

    Args:
        most: how many may run at once; default ``ORCHA_COMMANDS``, else the number of processors.

    Example::

        queue = client.manager.Queue()
        client.send(Message("m1", {"argv": ["make", "-j4"], "cwd": "/srv/build", "queue": queue}))

    Raises:
        ConfigurationError: ``ORCHA_COMMANDS`` is not a number of at least 1.

    """

    _stored_as = COMMAND_MANAGER
    defaults: Mapping[str, Any] = {}
    """Fields of commands whose messages do not hold them, as the configuration says."""

    def __init__(self, *args: Any, most: int | None = None, **options: Any) -> None:
        """Resolve how many may run; the rest is as for every manager."""
        super().__init__(*args, **options)
        self.most = most_commands() if most is None else most

    def use(self, configured: Configured) -> None:
        """Run as many commands at once, with such defaults, as the configuration files say."""
        self.most = most_commands(configured.value("service", "commands", None))
        self.defaults = configured.defaults

    def convert_to_petition(self, m: Message) -> Petition | None:
        """Make the petition; ValueError or TypeError name what is wrong with the message."""
        return petition_of(m, self.may_run, self.defaults)

    def may_run(self, petition: Petition) -> bool | ConditionFailed:  # noqa: ARG002 - every one may as another
        """Tell whether one more may run now."""
        return self.running_processes < self.most or _machine_full(self.most)

    def on_start(self, petition: Petition) -> bool | None:
        """Do nothing more."""
        return super().on_start(petition)

    def on_finish(self, petition: Petition) -> bool | None:
        """Do nothing more."""
        return super().on_finish(petition)


@lru_cache(1)
def _machine_full(slots: int) -> ConditionFailed:
    """Give the no that each command hears while `slots` commands run; each round of asking ends with it."""
    from orcha._core.reasons import MachineFull
    from orcha.exceptions import ConditionFailed

    return ConditionFailed(MachineFull(slots).text(), for_all=True)


def petition_of(m: Message, condition: Any, defaults: Mapping[str, Any] | None = None) -> CommandPetition:
    """Make the petition of a message; `defaults` hold fields that stand in for missing ones.

    Raises:
        ValueError, TypeError: the message does not hold what it should.

    """
    from orcha.interfaces.command import CommandPetition
    from orcha.interfaces.policy import NOTHING_SAID, Policy

    extras = with_defaults(m.extras, defaults) if defaults else m.extras
    if not extras.keys() <= _FIELDS:
        raise ValueError(f"a command has no field {', '.join(map(repr, sorted(extras.keys() - _FIELDS)))}")
    if "argv" not in extras:
        raise ValueError("argv is missing: give the program and its arguments")
    fields = _given(extras, _COMMAND_FIELDS)
    if isinstance(fields.get("tty"), list):
        fields["tty"] = tuple(fields["tty"])
    is_plain = _POLICY_FIELDS.isdisjoint(extras)
    policy: Policy = NOTHING_SAID if is_plain else Policy(**_given(extras, _POLICY_FIELDS))
    petition = CommandPetition(
        m.id, extras.get("queue"), condition=condition, policy=policy, retry=_retry(extras.get("retry")), **fields
    )
    if "secrets" in extras:
        petition.secrets = _secrets(extras["secrets"])
    petition.priority = extras.get("priority") or 0
    _check_text("label", extras.get("label"))
    _check_text("expect_source", extras.get("expect_source"))
    petition.check()
    return petition


def with_defaults(extras: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Give the fields of a command with the configured ones; a group has its own default of the time limit.

    >>> with_defaults({"argv": ["make"], "grace": 1}, {"grace": 5, "timeout": 60})
    {'grace': 1, 'timeout': 60, 'argv': ['make']}
    >>> with_defaults({"argv": ["make"], "group": "nightly"}, {"timeout": 60})
    {'argv': ['make'], 'group': 'nightly'}
    """
    found = {**defaults, **extras}
    if "group" in extras and "timeout" not in extras:
        found.pop("timeout", None)
    return found


def _check_text(name: str, text: object) -> None:
    if text is not None and (not isinstance(text, str) or len(text) > MAX_LABEL_CHARACTERS):
        raise ValueError(f"{name} is a text of at most {MAX_LABEL_CHARACTERS} characters, not {text!r:.80}")


def _given(extras: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {
        name: value
        for name, value in extras.items()
        if name in names and not (value is None and name in _FIELDS_WITH_DEFAULTS)
    }


def _secrets(given: object) -> dict[str, None] | None:
    """Give the secrets that a message names; it never holds their values, since it is stored."""
    if given is None:
        return None
    if not isinstance(given, list | tuple):
        raise TypeError(
            f"secrets is a list of names, whose values come beside the message, not a {type(given).__name__}"
        )
    from orcha.utils.secret_values import check_name

    return dict.fromkeys(map(check_name, given))


def _retry(given: object) -> Retry | None:
    if given is None:
        return None
    if not isinstance(given, dict):
        raise TypeError(f"retry is a dict, not {type(given).__name__}")
    from dataclasses import fields

    from orcha.interfaces.command import Retry

    unknown = sorted(set(given) - {field.name for field in fields(Retry)})
    if unknown:
        raise ValueError(f"retry has no {', '.join(map(repr, unknown))}")
    if "times" not in given:
        raise ValueError("retry has no times: how often it is run again at most")
    return Retry(**given)


def most_commands(default: int | None = None) -> int:
    """Give how many commands may run at once: as ORCHA_COMMANDS says, else the default, else one for each processor.

    Raises:
        ConfigurationError: ORCHA_COMMANDS is not a number of at least 1.

    """
    text = os.environ.get(CONCURRENCY_VARIABLE)
    if text is None:
        return len(os.sched_getaffinity(0)) if default is None else default
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_CONCURRENCY_DIGITS or int(text) < 1:
        from orcha.exceptions import ConfigurationError

        raise ConfigurationError(
            f"{CONCURRENCY_VARIABLE} is {text!r:.80}: set it to a whole number from 1 to 999999999"
        )
    return int(text)


__all__ = ["CommandManager", "most_commands", "petition_of"]
