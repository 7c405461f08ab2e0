"""What the workers of Huey, Celery and Ray do for a task, and what comes of it: nothing, or a command.

With BENCH_WORK=commands it is /bin/echo one at a time, and /bin/true for many. Runs in the peers' environment:
standard library only.
"""

from __future__ import annotations

import os
import subprocess

COMMANDS = os.environ.get("BENCH_WORK") == "commands"
ECHO = "hi\n" if COMMANDS else 0
"""What `one` gives; `many` gives 0."""


def one() -> str | int:
    """Give what a command printed."""
    if not COMMANDS:
        return 0
    return subprocess.run(["/bin/echo", "hi"], stdout=subprocess.PIPE, text=True, check=True).stdout


def many() -> int:
    """Give how a command ended."""
    return subprocess.run(["/bin/true"], check=True).returncode if COMMANDS else 0


def expect(got: object, wanted: object) -> None:
    """Raise RuntimeError unless they are the same."""
    if got != wanted:
        raise RuntimeError(f"no success: {got!r}")
