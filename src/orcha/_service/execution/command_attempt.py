"""An attempt at a command, as the service knows it; and the words in which its end is told."""

from __future__ import annotations

import json
import os
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from orcha._core import authority, pinning
from orcha._core.changes import AttemptStep
from orcha._core.codes import BROKEN_CODE, CANCELLED_CODE, INTERRUPTED_CODE
from orcha._core.device_variables import variables
from orcha._core.retry import ended_value, remembered
from orcha._core.state import Outcome
from orcha._core.transitions.command import LOST
from orcha._core.transitions.recover import WATCHER_FAILED
from orcha._protocol import losses
from orcha._service.execution.needed_limits import NO_LIMITS, limits_of
from orcha._service.reports.explanations import cleaned
from orcha._supervisor.contract import (
    BESIDE,
    OUTSIDE,
    ROTATE,
    TRUNCATE,
    AttemptLimitValues,
    CommandSpec,
    UnkeptPiece,
)
from orcha._supervisor.protocol import readable, to_text
from orcha.interfaces.built_in import COMMAND_MANAGER
from orcha.utils import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orcha._core.record import Record
    from orcha._store.contract import AttemptRow
    from orcha._supervisor.contract import CommandEnded, CommandStarted, OutputChunk
    from orcha.interfaces.command import CommandPetition

TAIL_BYTES = 64 * 1024
"""Bytes of each stream in which a retry's pattern is looked for."""
_LIMITS = {"timeout": "ran longer than {}", "idle": "wrote nothing for {}", "cpu": "used more processor time than {}"}
CUT = (
    Outcome.INTERRUPTED,
    INTERRUPTED_CODE,
    "interrupted: it ended with 0, but what watched over it died, and some of its output with that",
)
BESIDE_OVER = "cancelled: the command ended beside which it ran"
ANSWERS_AGAIN = "what watches over the command answers again"
_FAILED = {
    "output": "it wrote more than its output limit",
    "input": "what an earlier attempt read of its standard input is lost",
}
_FIELDS = {"idle": "idle_timeout", "cpu": "cpu_timeout"}
_OK_CODES = (0,)
"""Codes of success where the petition of a command could not be made again."""
_decode = msgspec.json.Decoder(list[dict[str, Any]]).decode
_encode = msgspec.json.Encoder().encode


class Attempt:
    """Everything that is known of a petition's current attempt at its command."""

    __slots__ = (
        "attempt",
        "history",
        "is_apart",
        "is_cut",
        "is_silent",
        "looked",
        "losses",
        "pattern",
        "seq",
        "started",
        "step",
        "tails",
    )

    def __init__(self, record: Record, row: AttemptRow | None) -> None:
        """Begin with the stored history of the petition's attempts, if there is one."""
        self.seq = record.seq
        self.attempt = record.attempt
        self.started = record.started
        self.losses = row.losses if row is not None else 0
        self.history = row.history if row is not None else None
        self.step = AttemptStep(record.seq, record.attempt)
        if row is not None and row.is_command and row.attempt == record.attempt:
            self.step = AttemptStep(*row[:2], row.pid, row.start_time, row.boot_id, row.shim, row.last_chunk)
        retry = record.retry
        self.pattern = retry is not None and retry.output is not None
        self.tails: dict[int, bytes] = {}
        self.is_cut = False
        """Whether some of its output is known to be lost."""
        self.is_apart = False
        """Whether the shim is of a build with another protocol, and so takes no orders."""
        self.is_silent = False
        """Whether the shim has not answered for a while."""
        self.looked = False
        """Whether the search for the retry's pattern has begun."""

    def note_start(self, event: CommandStarted) -> None:
        """Remember which process the attempt's first one is."""
        self.step = self.step.begun(event.pid, event.start_time, event.boot_id, event.shim)

    def note_output(self, chunks: list[OutputChunk]) -> None:
        """Remember the end of the output, since a retry depends on it; output that is in files only is left out."""
        for chunk in chunks:
            data = chunk.data.data if isinstance(chunk.data, UnkeptPiece) else chunk.data
            if isinstance(data, bytes):
                self.tails[chunk.stream] = (self.tails.get(chunk.stream, b"") + data)[-TAIL_BYTES:]

    def note_end(self, at: float, what: dict[str, Any]) -> str:
        """Add this attempt to the history; give the history as it is stored."""
        known = {"pid": self.step.pid, "started": self.started, "ended": at} | what
        self.history = remembered(self.history, self.attempt, _as_json, **known)
        return self.history


def _as_json(history: object) -> str:
    """Encode a history in a sixth of the time that the standard library takes: each command has one."""
    try:
        return _encode(history).decode()
    except UnicodeEncodeError:  # surrogates, which stand for the bytes of a name that is no UTF-8
        return json.dumps(history)


_PASSED_ON = ("LANG", "LC_ALL", "TZ")
"""Variables of a service of root that also a command of another user gets, where it was asked for without any."""


def user_of(record: Record) -> int | None:
    """Give the user as whom a petition's command runs; None for the user of the service.

    Raises CannotRunAsError where nobody is known as whom it could run.
    """
    petition: CommandPetition = record.petition  # type: ignore[assignment]
    if petition.beside is not None:
        return petition.beside[2]
    service = os.geteuid()
    if service:  # only root can run commands as others
        return None
    policy = petition.policy
    as_submitter = record.manager == COMMAND_MANAGER or (policy is not None and policy.run_as == "submitter")
    return authority.runs_as(record.owner, as_submitter=as_submitter, service=service)


@cache
def _environment() -> dict[str, str]:
    """Give the service's own environment: decoding all of it for each command costs as much as starting one."""
    return {to_text(name): to_text(value) for name, value in os.environb.items()}


def _as_text(environment: Mapping[str, str | bytes] | Mapping[str | bytes, str | bytes]) -> dict[str, str]:
    """Give a command's environment as it travels."""
    if {*map(type, environment), *map(type, environment.values())} <= {str}:  # 80 calls fewer for what clients send
        return dict(environment)  # type: ignore[arg-type]  # that is what the line above says
    return {to_text(name): to_text(value) for name, value in environment.items()}


def secrets_of(record: Record, sent: Mapping[str, bytes]) -> dict[str, bytes] | None:
    """Give what a petition's command finds in files of its own; None for nothing.

    `sent` is what its client sent. Raises LookupError where a secret is not there.
    """
    petition: CommandPetition = record.petition  # type: ignore[assignment]
    if not petition.secrets:
        return None
    found: dict[str, bytes] = {}
    for name, value in petition.secrets.items():
        if value is None and name not in sent:
            raise LookupError(f"its secret {name} is not there")
        given = sent[name] if value is None else value
        found[name] = given if isinstance(given, bytes) else given.encode("utf-8", "surrogateescape")
    return found


def spec_of(record: Record, *, outlives: bool = True) -> CommandSpec:
    """Give the specification of a petition's current attempt; `outlives` tells whether it outlives the service."""
    petition: CommandPetition = record.petition  # type: ignore[assignment]
    uid = user_of(record)
    if petition.env is not None:
        environment = _as_text(petition.env)
    elif uid is None:
        environment = dict(_environment())
    else:  # another user's: nothing of root's environment
        environment = {name: text for name, text in _environment().items() if name in _PASSED_ON}
    environment |= {"ORCHA_ID": record.key.replace("\0", ""), "ORCHA_ATTEMPT": str(record.attempt)}
    if record.devices:
        environment |= variables(record.devices)
    pinned = pinning.processors((record.devices or {}).get(pinning.PROCESSORS, ())) if petition.pin else None
    if pinned:
        environment[pinning.VARIABLE] = ",".join(map(str, pinned))
    needed = limits_of(record.needs) if record.needs else NO_LIMITS
    spec = CommandSpec(
        record.seq,
        record.attempt,
        record.channel,
        tuple(petition.argv),
        petition.cwd,
        environment,
        petition.umask,
        "pipe" if petition.stdin else "null",
        None if petition.tty is None else (petition.tty[0], petition.tty[1]),
        int(petition.stop_signal),
        float(petition.grace),
        record.timeout,
        petition.idle_timeout,
        petition.cpu_timeout,
        needed.memory if petition.memory is None else petition.memory,
        petition.pids,
        needed.cpu_share if petition.cpu_share is None else petition.cpu_share,
        petition.output_limit,
        petition.output_policy,
        outlives,
        petition.merge,
        float(petition.drain),
        petition.leftovers,
        *((int(petition.warn[0]), float(petition.warn[1])) if petition.warn is not None else ()),
    )
    if pinned is not None:
        spec = spec._replace(processors=pinned)
    if uid is not None:
        spec = spec._replace(uid=uid)
    if petition.beside is None:
        return spec
    return spec._replace(outlives=False, beside_pid=petition.beside[0], beside_start=petition.beside[1])


def limits_now(record: Record) -> AttemptLimitValues:
    """Give the limits that a running command has by now."""
    petition: CommandPetition = record.petition  # type: ignore[assignment]
    warning = (int(petition.warn[0]), float(petition.warn[1])) if petition.warn is not None else (None, 0.0)
    return AttemptLimitValues(record.timeout, petition.idle_timeout, petition.cpu_timeout, *warning)


def end_of(record: Record, ended: CommandEnded) -> tuple[Outcome, int, str | None]:
    """Give outcome, final value and reason of a command's end, whatever was decided about its petition."""
    value = ended_value(ended.code, ended.signal, ended.why)
    if value is None:
        if ended.why in {"shutdown", OUTSIDE}:
            return Outcome.INTERRUPTED, INTERRUPTED_CODE, "interrupted: the service was stopped while it ran"
        return Outcome.CANCELLED, CANCELLED_CODE, BESIDE_OVER if ended.why == BESIDE else None
    if ended.why is None:
        succeeded = ended.signal is None and value in getattr(record.petition, "ok_codes", _OK_CODES)
        return (Outcome.SUCCEEDED if succeeded else Outcome.FAILED), value, None
    if ended.why in _LIMITS:
        return Outcome.TIMED_OUT, value, _LIMITS[ended.why].format(_limit(record, ended.why))
    if ended.why == "memory":
        return Outcome.FAILED, value, f"out of memory: it used {_bytes(ended.usage.peak)}"
    return Outcome.FAILED, value, _FAILED[ended.why]


def loss(failure: str) -> str:
    """Give the reason of an interruption by the death of a shim, which `failure` says more of where that is known."""
    return WATCHER_FAILED.format(failure) if failure else LOST


def not_started(code: int) -> int:
    """Give the final value of a command that could not be executed: 125 to 127, as shells and env(1) do."""
    return code if 125 <= code <= 127 else BROKEN_CODE


def shown(record: Record, reason: str) -> str:
    """Give why a command was not started without the secrets that people write in front of a program's name.

    Nothing is known of its program where its petition could not be made again.
    """
    petition: CommandPetition | None = record.petition  # type: ignore[assignment]
    if petition is None:
        return cleaned(reason)
    program = readable(petition.argv[0])[1:-1]
    return cleaned(reason.replace(program, redact.text(program)))


def not_kept(row: AttemptRow, attempt: int) -> int | None:
    """Give how many bytes of an ended attempt were passed on only; None where that is not known."""
    ended = next((one for one in _decode(row.history or "[]") if one["attempt"] == attempt), {})
    return ended.get("placed", ended.get("dropped"))


def dropped(record: Record, count: int) -> str:
    """Tell how much output was dropped, and why: `rotate` drops output that was passed on before."""
    limit = getattr(record.petition, "output_limit", None)
    if getattr(record.petition, "output_policy", TRUNCATE) == ROTATE:
        return losses.OLDEST.format(count)
    why = "there is a limit, or no room on the service's disk"
    return losses.NOT_KEPT.format(count, why if limit is None else f"its limit is {limit} bytes, or the disk is full")


def described(ended: CommandEnded) -> dict[str, Any]:
    """Give the stored facts about an attempt's end, for people and programs."""
    return {
        "code": ended.code,
        "signal": ended.signal,
        "why": ended.why,
        "signals": [list(sent) for sent in ended.signals],
        **ended.usage._asdict(),
        "dropped": ended.dropped,
        "survivors": ended.survivors,
        **({"placed": ended.placed} if 0 < ended.placed < ended.dropped else {}),
    } | ({"kept" if ended.kept else "left_behind": [list(one) for one in ended.leftovers]} if ended.left else {})


def left_behind(ended: CommandEnded) -> str:
    """Tell people about the processes that a command left behind.

    >>> from orcha._supervisor.contract import CommandEnded, ResourceUsage
    >>> left_behind(CommandEnded(1, 1, 0, None, None, [], ResourceUsage(), 0, 0, [], ((7, "sleep"),), 3))
    'orcha: the command left 3 processes behind, which were ended: sleep (pid 7) and 2 more'
    """
    who = ", ".join(f"{name} (pid {pid})" for pid, name in ended.leftovers)
    more = ended.left - len(ended.leftovers)
    who += f" and {more} more" if more > 0 else ""
    many = f"{ended.left} processes" if ended.left > 1 else "a process"
    if ended.kept:
        goes = "go" if ended.left > 1 else "goes"
        return f"orcha: the command left {many} behind, which {goes} on, out of Orcha's hands: {who}"
    return f"orcha: the command left {many} behind, which {'were' if ended.left > 1 else 'was'} ended: {who}"


def _limit(record: Record, why: str) -> str:
    seconds = record.timeout if why == "timeout" else getattr(record.petition, _FIELDS[why], None)
    return "it may" if seconds is None else f"{seconds:.12g} s"


def _bytes(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"
