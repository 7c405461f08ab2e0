"""Processes that a command leaves behind when its first process ends: how long they may go on, and what follows."""

from __future__ import annotations

import os

from orcha._processes.identity import read_stat
from orcha._processes.system import read_small
from orcha._supervisor.contract import KEEP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._supervisor.contract import CommandSpec
    from orcha._supervisor.process_tree import ProcessTree

LAST_WORDS_SECONDS = 1.0
"""How long leftovers may go on where the command was asked to end."""
SETTLE_SECONDS = 0.2
"""How long leftovers that hold no output open may go on."""
EXITING_LOOK_SECONDS = 0.02
"""Time between two looks at processes that are exiting."""
MAX_NAMED_PROCESSES = 10
MAX_EXIT_SECONDS = 30.0
"""A process that takes longer to exit, as one with a large core file does, counts as a leftover."""
_FLAG_EXITING = 0x4  # PF_EXITING of <linux/sched.h>, in the field `flags` of proc_pid_stat(5)
_NEVER = float("inf")


class Leftovers:
    """Decides when the leftovers of one attempt are ended; times are of the monotonic clock."""

    def __init__(self, spec: CommandSpec, tree: ProcessTree) -> None:
        """Begin without leftovers: the leader still runs."""
        self.due = _NEVER
        """When the leftovers are ended."""
        self.named: list[tuple[int, str]] = []
        """Pids and names of the first leftovers, for people."""
        self.count = 0
        self.kept = False
        """Whether the leftovers live on, out of Orcha's hands."""
        self._spec = spec
        self._tree = tree
        self._since = 0.0
        self._settles = False

    @property
    def is_waiting(self) -> bool:
        """Whether leftovers may go on for now."""
        return self.due != _NEVER

    def wait(self, now: float, *, asked: bool) -> None:
        """Let leftovers go on for a while: the leader has ended, by itself or because it was `asked` to."""
        self._since = now
        self.due = now + (min(self._spec.drain, LAST_WORDS_SECONDS) if asked else self._spec.drain)

    def settle(self, now: float) -> None:
        """Note that no leftover holds the command's output open any more."""
        if not self._settles:
            self._settles = True
            self.due = min(self.due, now + SETTLE_SECONDS)

    def are_gone(self, now: float, *, asked: bool) -> bool:
        """Name the living leftovers, and let them live on where that is wanted; True where all are exiting already."""
        living = [child.pid for child in self._tree.members() if not _is_exiting(child.pid)]
        if not living and now < self._since + MAX_EXIT_SECONDS:
            self.due = now + EXITING_LOOK_SECONDS
            return True
        self.due = _NEVER
        if not asked:
            self.count = len(living)
            self.named = [(pid, _name(pid)) for pid in living[:MAX_NAMED_PROCESSES]]
            self.kept = self._spec.leftovers == KEEP and bool(living)
            if self.kept:
                self._tree.let_go()
        return False


def _is_exiting(pid: int) -> bool:
    """Return whether a process has ended or is exiting."""
    try:
        text = read_small(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return not _is_there(pid)
    stat = read_stat(pid)
    fields = text[text.rfind(b")") + 2 :].split()
    return stat is None or stat.is_dead or (len(fields) > 6 and bool(int(fields[6]) & _FLAG_EXITING))


def _is_there(pid: int) -> bool:
    """Return whether a process exists that /proc does not show."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _name(pid: int) -> str:
    """Return a process's name, for people."""
    try:
        text = read_small(f"/proc/{pid}/comm").decode("utf-8", "replace").rstrip("\n")
    except OSError:
        return "?"
    return "".join(each if each.isprintable() else "?" for each in text) or "?"
