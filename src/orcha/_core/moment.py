"""A moment in time, as the edges of the service hand it to the core, which reads no clock."""

from __future__ import annotations

from typing import NamedTuple


class Moment(NamedTuple):
    """One moment on both clocks."""

    wall: float
    """Seconds since 1970, which rows hold and people are told; this clock is set now and then."""
    steady: float
    """Seconds of a clock that nobody sets: this one decides what is due."""

    def steadily(self, due: float) -> float:
        """Give the steady time of a wall-clock time; a time that has passed is due now.

        >>> Moment(wall=1000.0, steady=5.0).steadily(1010.0), Moment(wall=1000.0, steady=5.0).steadily(900.0)
        (15.0, 5.0)
        """
        return self.steady + max(0.0, due - self.wall)
