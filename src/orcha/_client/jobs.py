"""The jobs of a client's sending half, one at a time and in order, and who does them.

There is a thread for them, but waking it costs as much as what it does. So who asks for something that is sent at once
may do that job itself, where nothing else is to be done.
"""

from __future__ import annotations

import threading
from collections import deque
from queue import SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Jobs:
    """What the sending thread is to do.

    Putting a job in is two calls in C: Ctrl+C tears nothing. A job that its caller does itself can be torn: whoever did
    it hears of the interruption, and the thread calls `torn` before anything else is done.
    """

    def __init__(self, torn: Callable[[], None], done: Callable[[], None]) -> None:
        """Have none; `torn` is called where one was interrupted, `done` when the thread has done some."""
        self._torn = torn
        self._done = done
        self._jobs: deque[tuple[Callable[..., None], tuple[Any, ...]] | None] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._turn = threading.Lock()
        self._is_unsure = False
        """Whether a job is being done by its caller, or was and has not come to its end."""

    def post(self, job: Callable[..., None], *args: Any) -> None:
        """Have a job done by the thread."""
        self._jobs.append((job, args))
        self._bell.put(None)

    def do(self, job: Callable[..., None], *args: Any) -> None:
        """Do a job now, where all that was asked for before is done; else have the thread do it."""
        if self._jobs or self._turn.locked() or self._is_unsure:
            self.post(job, *args)
            return
        try:
            with self._turn:
                self._is_unsure = True
                job(*args)
                self._is_unsure = False
        except BaseException:
            self._bell.put(None)
            raise

    def end(self) -> None:
        """Let the thread end after what was posted."""
        self._jobs.append(None)
        self._bell.put(None)

    def run(self) -> None:
        """Do jobs until told to end; for the thread."""
        while True:
            self._bell.get()
            with self._turn:
                if self._is_unsure:
                    self._is_unsure = False
                    self._torn()
                while self._jobs:
                    job = self._jobs.popleft()
                    if job is None:
                        return
                    job[0](*job[1])
                    del job  # it may hold a channel's last reference
            self._done()
