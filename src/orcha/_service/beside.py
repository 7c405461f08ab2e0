"""Commands beside commands that run (`orcha exec`): in the same folder, environment and cgroups, and no longer.

Such a command is a petition of its own. It waits for nothing and takes no slot: it belongs to the running command.
Where its owner has a quota of petitions that run, it is refused above that number of such commands.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orcha._core import transitions
from orcha._core.authority import ADMIN, may_act_as, uid_of
from orcha._core.record import Record
from orcha._core.state import State
from orcha._core.transitions.submit import enter_converted
from orcha._protocol import values
from orcha._service.execution.command_attempt import spec_of, user_of
from orcha._service.reports.command_text import quoted
from orcha._service.reports.state_names import state_of
from orcha.interfaces.built_in import BESIDE_MANAGER, COMMAND_MANAGER, LEASE_MANAGER

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.converted import Converted
    from orcha._core.petitions import Petitions
    from orcha._protocol.messages import Item
    from orcha._service.channels.channel_book import ChannelBook
    from orcha._service.execution.running_commands import RunningCommands
    from orcha._service.submissions import Asked, Submissions

_FIELD = values.encode("beside")
_OF_THE_OTHER = frozenset(("ORCHA_ID", "ORCHA_ATTEMPT"))
_OF_ITS_OWN = frozenset(("argv", "cwd", "env", "stdin", "tty", "merge", "label", "queue", "beside"))
"""Fields that a message of this kind may have; all other fields are taken from the running command."""


class Beside:
    """Takes messages that ask for a command beside a running command; the engine thread's."""

    def __init__(
        self,
        *,
        petitions: Petitions,
        channels: ChannelBook,
        submissions: Submissions,
        running: RunningCommands,
        find: Callable[[str], Record | None],
        convert: Callable[..., Converted | str],
    ) -> None:
        """Prepare.

        Args:
            petitions: the petitions.
            channels: have the channel of each petition.
            submissions: the petitions that are undecided.
            running: know the processes of commands that run.
            find: gives a live petition by its id.
            convert: makes a petition of a message.

        """
        self._petitions = petitions
        self._channels = channels
        self._submissions = submissions
        self._running = running
        self._find = find
        self._convert = convert

    def fields_of(self, extras: bytes) -> dict[str, Any] | None:
        """Give the fields of a message that asks for such a command; None for any other message."""
        fields = values.fields_of(extras) if _FIELD in extras else {}
        return fields if fields.get("beside") is not None else None

    def take(self, asked: Asked, item: Item, owner: str, fields: dict[str, Any]) -> str | None:
        """Start the command; give why it cannot be started."""
        if (why := self._refusal(fields, owner)) is not None:
            return why
        host = self._host(asked, fields["beside"])
        if isinstance(host, str):
            return host
        step = self._running.of(host).step
        if step.pid is None or step.start_time is None:
            return f"{host.key!r} is starting: try again in a moment"
        try:
            sent = values.encode(self._message(host, fields))
        except (ValueError, TypeError) as error:
            return str(error)
        converted = self._convert(item.id, item.token, owner, sent, is_new=True)
        if isinstance(converted, str):
            return converted
        converted.petition.beside = step.pid, step.start_time, user_of(host)  # type: ignore[attr-defined]  # a command's
        self._start(asked, item, owner, converted)
        return None

    def _refusal(self, fields: dict[str, Any], owner: str) -> str | None:
        """Give why such a message is refused, whichever command it names."""
        if unknown := sorted(set(fields) - _OF_ITS_OWN):
            return f"a command beside another one has no {unknown[0]} of its own: ask for it with orcha run"
        quotas = self._petitions.quotas
        spent = None if quotas is None else quotas.refusal_beside(owner)
        return None if spent is None else spent.text()

    def _host(self, asked: Asked, name: object) -> Record | str:
        """Give the running command beside which the new command runs; or why it cannot."""
        host = self._find(name) if isinstance(name, str) else None
        peer = asked.asker.peer
        if host is None or not may_act_as(peer, host.owner):
            return f"no petition {quoted(str(name))} of yours runs: orcha ps shows the petitions that do"
        if host.state is not State.RUNNING or not host.command or host.manager == LEASE_MANAGER:
            how = state_of(host) if host.state is not State.RUNNING else "no command"
            return f"{host.key!r} is {how}: only beside a command that runs another one can"
        if peer.role != ADMIN and not os.geteuid() and user_of(host) != uid_of(peer.identity):
            return f"{host.key!r} runs as the user of the service: only root can run something beside it"
        return host

    @staticmethod
    def _message(host: Record, fields: dict[str, Any]) -> dict[str, Any]:
        """Give the message of the new command: fields that it does not have are the running command's."""
        spec = spec_of(host)
        there = {"cwd": spec.cwd, "umask": spec.umask}
        own = {name: value for name, value in fields.items() if name not in {"beside", "queue"} and value is not None}
        given = own.pop("env", None) or {}
        if not isinstance(given, dict):
            raise TypeError(f"env is a dict, not {type(given).__name__}")
        theirs = ((name, value) for name, value in spec.env.items() if name not in _OF_THE_OTHER)
        environment = {_as_sent(name): _as_sent(value) for name, value in theirs}
        return there | own | {"env": environment | {"ORCHA_BESIDE": host.key.replace("\0", "")} | given}

    def _start(self, asked: Asked, item: Item, owner: str, converted: Converted) -> None:
        token, identity, extras, channel = item
        petitions = self._petitions
        mine = token if channel is None else channel
        seq, now = petitions.take_seq(), petitions.now
        record = Record(seq, token, identity, COMMAND_MANAGER, owner, mine, extras, now.wall)
        enter_converted(record, converted)
        petitions.enter(record)
        self._submissions.add(record, asked)
        petitions.granted.take(replace(converted, record=record, seq=seq, key=record.key, manager=BESIDE_MANAGER))
        known = self._channels.known(mine) or self._channels.create(mine, owner, own=channel is None)
        transitions.submit.accept(petitions, record, now, start=True, new_channel=not known.kept)
        known.kept = True


def _as_sent(text: str) -> str | bytes:
    """Give a text as it is sent: as bytes where lone surrogates stand for bytes."""
    raw = text.encode("utf-8", "surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


__all__ = ["Beside"]
