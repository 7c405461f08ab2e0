"""A service of commands whose shims hang, once the file TEST_HANGS is there.

With TEST_NEVER_KILLS the service kills such a shim only when its command is to end.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from orcha._supervisor import main, shim_heartbeats, supervisor_process
from support import serve
from support.commands import COMMANDS
from support.shims import hanging


def program(folder: Path) -> list[str]:
    """Give the program of a supervisor whose shims hang."""
    return [hanging.__file__, str(folder), str(Path(main.__file__).parents[2]), os.environ["TEST_HANGS"]]


if __name__ == "__main__":
    supervisor_process._program = program
    shim_heartbeats.ENDS_WITHIN_SECONDS = 0.2
    if os.environ.get("TEST_NEVER_KILLS"):
        shim_heartbeats.LAST_SHORT_LOOKS = 1 << 40
    serve.main(COMMANDS, *sys.argv[1:])
