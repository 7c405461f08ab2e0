"""Commands of a simulated machine, and what watches over them; both outlive the service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from signal import SIGCONT, SIGSTOP
from typing import Any

from orcha._supervisor import contract
from orcha._supervisor.contract import (
    CommandEnded,
    CommandLost,
    CommandSpec,
    CommandStarted,
    CommandStopped,
    Event,
    FoundAttempt,
    ResourceUsage,
    SurvivorsGone,
)

Attempt = tuple[int, int]
"""(sequence, attempt)"""


@dataclass
class Command:
    """One attempt at a command."""

    spec: CommandSpec
    executed: bool = False
    why: str | None = None
    """Why it is being ended, if it is."""
    end: CommandEnded | None = None
    is_lost: bool = False
    survivors: list[int] = field(default_factory=list)
    untold: list[Event] = field(default_factory=list)
    """What the service has not heard of."""
    stands_still: bool = False
    """Whether its processes have been told to stop."""
    is_told: bool = True
    """Whether events reach the service: the events of an adopted attempt do once the service asks for them."""

    @property
    def is_to_stop(self) -> bool:
        """Whether its shim has yet to stop its processes, and to tell that."""
        return any(isinstance(event, CommandStopped) for event in self.untold)

    @property
    def lives(self) -> bool:
        """Whether a process of it may live."""
        return bool(self.survivors) or (self.end is None and not self.is_lost)


class SimulatedShims:
    """The supervisor's side; the story says what becomes of each command."""

    def __init__(self) -> None:
        """Watch over nothing."""
        self.commands: dict[Attempt, Command] = {}
        self.executed: Counter[Attempt] = Counter()
        self.rebooted = False
        self.unproven = False
        """Whether the notes of what was handed over are gone: nothing proves then that an attempt was not executed."""

    # --- what the service asks for ------------------------------------------------------------------------------

    def start(self, spec: CommandSpec) -> None:
        """Take a command."""
        self.commands[spec.seq, spec.attempt] = Command(spec)

    def cancel(self, seq: int, attempt: int, why: str) -> None:
        """End it soon."""
        command = self.commands.get((seq, attempt))
        if command is not None and command.lives:
            command.why = command.why or why

    kill = cancel

    def signal(self, seq: int, attempt: int, number: int) -> None:
        """Stop it, or let it go on."""
        command = self.commands.get((seq, attempt))
        if command is not None and number in {SIGSTOP, SIGCONT}:
            command.stands_still = number == SIGSTOP

    def stop(self, seq: int, attempt: int) -> None:
        """Take that it is to stop: it does when its shim comes to that, and tells."""
        command = self.commands.get((seq, attempt))
        if command is not None and command.lives:
            command.untold.append(CommandStopped(seq, attempt))

    def resume(self, seq: int, attempt: int, *, after_chunk: int) -> None:
        """Tell of an adopted attempt."""
        command = self.commands.get((seq, attempt))
        if command is not None:
            command.is_told = True
            if command.end is not None:
                is_over = bool(command.end.survivors) and not command.survivors
                end = command.end._replace(survivors=list(command.survivors))
                command.untold = [end, *([SurvivorsGone(seq, attempt)] if is_over else [])]

    def forget(self, seq: int, attempt: int) -> None:
        """Forget an attempt that is over."""
        command = self.commands.get((seq, attempt))
        assert command is None or not command.lives, f"attempt {attempt} of petition {seq} lives, and is forgotten"
        self.commands.pop((seq, attempt), None)

    def discard(self, seq: int, attempt: int) -> None:
        """Kill and forget an attempt that nobody knows."""
        self.commands.pop((seq, attempt), None)

    def adopt(self) -> list[FoundAttempt]:
        """Give what outlived an earlier service."""
        return [self._found(command) for command in self.commands.values()]

    def _found(self, command: Command) -> FoundAttempt:
        spec, end = command.spec, command.end
        command.is_told = command.is_lost and bool(command.survivors)  # no shim waits for a question
        command.untold = []
        phase = contract.RUNNING if command.executed else contract.WAITING
        phase = contract.LOST if command.is_lost else contract.ENDED if end is not None else phase
        pid = 4711 if command.executed else 0
        known: dict[str, Any] = {
            "executed": command.executed,
            "ended": _of_a_dead_shim(end) if command.is_lost else None,
        }
        known |= {"same_boot": not self.rebooted, "survivors": tuple(command.survivors)}
        return FoundAttempt(spec.seq, spec.attempt, spec.channel, phase, "shim", pid, 1.0, "boot", **known)

    def may_have_run(self, seq: int, attempt: int, *, epoch: int) -> bool:
        """Tell whether it was executed, or nothing proves that it was not."""
        return self.unproven or (seq, attempt) in self.executed

    def recovered(self) -> None:
        """Note hand-overs anew."""
        self.unproven = False

    def more(self, *_: object) -> list[Event]:
        """Have told all."""
        return []

    def descriptors(self) -> list[int]:
        """Have none."""
        return []

    def close(self, *, keep: bool) -> None:
        """Let go; end all where commands are not kept."""
        if not keep:
            self.commands.clear()

    def __getattr__(self, verb: str) -> Any:
        """Take any other call."""
        if verb.startswith("_"):
            raise AttributeError(verb)
        return lambda *_, **__: None

    # --- what happens -------------------------------------------------------------------------------------------

    def executes(self, key: Attempt) -> None:
        """Its first instruction runs."""
        command = self.commands[key]
        command.executed = True
        self.executed[key] += 1
        command.untold.append(CommandStarted(*key, 4711, 1.0, "boot", "shim"))

    def ends(self, key: Attempt, code: int, survivors: list[int]) -> None:
        """It ends, by itself or because it was cancelled."""
        command = self.commands[key]
        given: dict[str, Any] = {"code": code, "signal": None, "why": command.why}
        if command.why is not None:
            given |= {"code": None, "signal": 2}
        command.end = CommandEnded(
            *key, **given, signals=[], usage=ResourceUsage(), last_chunk=0, dropped=0, survivors=list(survivors)
        )
        command.survivors = list(survivors)
        command.untold.append(command.end)

    def loses(self, key: Attempt, survivors: tuple[int, ...] = ()) -> None:
        """What watches over it dies, and its processes with it, but for processes that nothing can kill."""
        command = self.commands[key]
        command.is_lost, command.survivors = True, list(survivors)
        command.untold = [CommandLost(*key, command.executed, _of_a_dead_shim(command.end), "", survivors)]

    def supervisors_end(self) -> None:
        """Every supervisor ends as soon as it is started: no attempt that waits for a shim gets one."""
        for key, command in self.commands.items():
            waits = command.end is None and not command.is_lost
            if waits and not command.executed and command.is_told:
                self.loses(key)

    def loses_notes(self) -> None:
        """Somebody removes the notes of what was handed over, and what shims wrote of attempts that did not begin."""
        self.unproven = True
        for key, command in list(self.commands.items()):
            if command.lives and not command.executed:
                del self.commands[key]

    def survivors_go(self, key: Attempt) -> None:
        """What nothing could kill has ended."""
        command = self.commands[key]
        command.survivors = []
        command.untold.append(SurvivorsGone(*key))

    def power_fails(self) -> None:
        """Nothing runs any more."""
        self.rebooted = True
        for command in self.commands.values():
            command.is_lost |= command.end is None
            command.survivors = []

    def tell(self, key: Attempt, on_events: Callable[[list[Event]], None]) -> None:
        """Have the service hear of what happened to one command."""
        command = self.commands[key]
        command.stands_still |= command.is_to_stop
        events, command.untold = command.untold, []
        on_events(events)


def _of_a_dead_shim(end: CommandEnded | None) -> CommandEnded | None:
    """Give the end that a dead shim saw: what has outlived the shim is looked for anew."""
    return None if end is None else end._replace(survivors=[])
