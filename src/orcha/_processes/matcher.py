"""Looks for a pattern in texts, in a process of its own, since nobody knows before how long that takes.

Run as ``python -I -S matcher.py PROCESSOR SECONDS LENGTH...``: the seconds of processor time and of
wall time that it may take, then the lengths of the pattern and of each text within its standard input. It ends with 0
where the pattern is found in a text, with 1 where it is not, and by a signal where its time is over.
"""

from __future__ import annotations

import re
import resource
import signal
import sys

FOUND, NOT_FOUND = 0, 1
MEMORY_BYTES = 1 << 30
"""The most address space that it may have."""


def main(processor: int, seconds: int, *lengths: int) -> int:
    """Look for the pattern; return the exit code."""
    resource.setrlimit(resource.RLIMIT_CPU, (processor, processor))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for number in (signal.SIGALRM, signal.SIGXCPU):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.alarm(seconds)  # also where the service has ended meanwhile
    pattern, *texts = [sys.stdin.buffer.read(length) for length in lengths]
    looked_for = re.compile(pattern)
    return FOUND if any(looked_for.search(text) for text in texts) else NOT_FOUND


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
