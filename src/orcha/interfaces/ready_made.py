"""Ready-made petitions."""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass, field

from orcha.interfaces.petition import Petition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha.interfaces.petition import ActionCallbackT, _Queue


class EmptyPetition(Petition):
    """A petition that asks for nothing and comes after every other."""

    priority = float("inf")
    id = -1

    def __init__(self) -> None:
        """Make it."""
        self.queue = None
        self.action = _do_nothing
        self.condition = _yes

    def terminate(self, pid: int | None) -> bool:  # noqa: ARG002 - a signature plugins know
        """Have nothing to end."""
        return False


class WatchdogPetition(Petition):
    """A sign of life: it goes through the whole service before every other, and answers.

    The answer is 0 after systemd was told ``WATCHDOG=1`` (`sd_notify(3)`), or `errno.EPERM` where the service does not
    run with that: its manager's ``notify_watchdog`` is off.
    """

    priority = float("-inf")
    id = "watchdog"

    def __init__(self, notify_watchdog: bool, queue: _Queue | None = None) -> None:
        """Make it, now."""
        self.notify_watchdog = notify_watchdog
        self.creation_time = time.monotonic()
        self.queue = queue
        self.action = _answer_watchdog
        self.condition = _yes

    @property
    def elapsed_time(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self.creation_time

    def terminate(self, pid: int | None) -> bool:  # noqa: ARG002 - a signature plugins know
        """Have nothing to end."""
        return False


def _answer_watchdog(_: ActionCallbackT, petition: WatchdogPetition) -> None:
    """Tell systemd, and the client that asked."""
    if not petition.notify_watchdog:
        petition.finish(errno.EPERM)
        return
    from orcha.utils.systemd import notify

    notify("WATCHDOG=1")
    petition.finish(0)


def _do_nothing(_: ActionCallbackT, petition: Petition) -> None:
    """Finish at once."""
    petition.finish()


def _yes(_: Petition) -> bool:
    """Allow it."""
    return True


@dataclass(eq=False)
class SignalingPetition(Petition):
    """A petition whose processes are ended by a signal of its choosing.

    Example::

        SignalingPetition(m.id, queue, action, condition, signal=signal.SIGUSR1, kill_parent=False)
    """

    signal: int = field(compare=False)
    """Number of the signal."""
    kill_parent: bool = field(compare=False)
    """Whether the process given to the callback gets it too, or only its children."""

    def terminate(self, pid: int | None) -> bool:
        """Send the signal to the children of `pid`, and to itself with `kill_parent`; to nobody where it is None.

        Returns:
            False where this process may not signal one of them.

        Raises:
            ValueError: nothing of the petition waits or runs.

        """
        super().terminate(pid)
        if pid is None:
            return True
        from orcha.utils.cmd import kill_proc_tree

        return kill_proc_tree(pid, including_parent=self.kill_parent, sig=self.signal)


__all__ = ["EmptyPetition", "SignalingPetition", "WatchdogPetition"]
