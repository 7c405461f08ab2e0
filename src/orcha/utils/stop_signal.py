"""When this process was first told by a signal to stop: its handlers note that before anything else."""

from __future__ import annotations


class StopSignal:
    """The first signal that stops this process."""

    def __init__(self) -> None:
        """Begin before any signal."""
        self.came: float | None = None
        """By the monotonic clock; None while no signal has come."""

    def note(self, now: float) -> None:
        """Note that a signal has come; called in its handler."""
        if self.came is None:
            self.came = now


stop_signal = StopSignal()
"""What this process's handlers have noted."""
