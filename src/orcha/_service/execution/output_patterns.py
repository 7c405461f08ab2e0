"""Whether a pattern is found in what a command wrote, without a regular expression on the engine's thread.

A pattern is a client's, and there are some that take years on a line of text: the interpreter does nothing else
meanwhile. So each is looked for in a small process, which is given a second of a processor.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from orcha._processes import matcher
from orcha._processes.attempt_tracking import apart
from orcha.utils.threads import NoThreadError, guarded, ignore_death, start

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orcha.utils.threads import OnDeath

MAX_PROCESSOR_SECONDS = 1
"""Seconds of a processor for one question."""
MAX_ELAPSED_SECONDS = 20
"""Seconds that may pass: the processor may have much else to do."""
CONCURRENT_QUESTIONS = 2
"""Questions that are answered at the same time."""
_SPECIAL = frozenset(b".^$*+?{}[]\\|()")
_PROGRAM = os.path.abspath(matcher.__file__)  # noqa: PTH100 - as the other programs of this package


class Question(NamedTuple):
    """One pattern, where it is looked for, and who is told."""

    pattern: bytes
    texts: Sequence[bytes]
    told: Callable[[bool | None], None]


class Matching:
    """Answers questions on threads of its own, which are there while there are questions."""

    def __init__(self, on_death: OnDeath = ignore_death) -> None:
        """Have none; `on_death` is told where a thread dies."""
        self._on_death = on_death
        self._lock = threading.Lock()
        self._questions: deque[Question] = deque()
        self._threads = 0

    def ask(self, pattern: bytes, texts: Sequence[bytes], told: Callable[[bool | None], None]) -> None:
        """Have `told` called with whether the pattern is found in one of the texts; None where nobody knows in time.

        Plain words are looked for at once, on the caller's thread; else `told` is called on another one.
        """
        if _SPECIAL.isdisjoint(pattern):
            told(any(pattern in text for text in texts))
            return
        with self._lock:
            self._questions.append(Question(pattern, texts, told))
            starts = self._threads < CONCURRENT_QUESTIONS
            self._threads += starts
        if starts:
            self._start()

    def _start(self) -> None:
        """Start another thread; where there can be none, the questions that no other one answers are given up."""
        try:
            start(guarded("orcha-match", self._run, self._on_death))
        except NoThreadError:
            with self._lock:
                self._threads -= 1
                given_up = [] if self._threads else list(self._questions)
                if given_up:
                    self._questions.clear()
            for question in given_up:
                question.told(None)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._questions:
                    self._threads -= 1
                    return
                question = self._questions.popleft()
            try:
                answer = found(question.pattern, question.texts)
            except (OSError, subprocess.SubprocessError):
                answer = None
            question.told(answer)


def found(pattern: bytes, texts: Sequence[bytes]) -> bool | None:
    """Tell whether a pattern is found in one of the texts; None where nobody could tell in time.

    Raises:
        OSError, subprocess.SubprocessError: no process could be started.

    """
    lengths = [str(len(part)) for part in (pattern, *texts)]
    command = [
        sys.executable,
        "-I",
        "-S",
        "-W",
        "ignore",
        _PROGRAM,
        str(MAX_PROCESSOR_SECONDS),
        str(MAX_ELAPSED_SECONDS),
        *lengths,
    ]
    with apart():
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=True
        )
    with process:
        try:
            process.communicate(b"".join((pattern, *texts)), timeout=2 * MAX_ELAPSED_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    return {matcher.FOUND: True, matcher.NOT_FOUND: False}.get(process.returncode)


__all__ = ["Matching", "found"]
