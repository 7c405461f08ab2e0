"""The watcher: a small process that outlives the service by some milliseconds and kills the attempts' processes.

Run as ``python -I -S watcher.py PID START_TIME NONCE``. It makes a session of its own, and needs only the standard
library and this package, which lies beside this file.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

HELPERS_GRACE_SECONDS = 0.04
"""How long the resource tracker may clean up behind the attempts and exit by itself, before it is killed."""
MAX_SWEEP_SECONDS = 30.0
"""When processes that cannot be killed are left to the next start of the service."""


def main(pid: int, start_time: int, nonce: int) -> None:
    """Wait for the end of exactly that process, then kill every process that carries the nonce."""
    os.closerange(3, 1 << 16)
    os.setsid()
    os.chdir("/")
    # `-I -S` leaves this package out of the path. It goes last, so that nothing beside it hides the standard library.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))  # noqa: PTH100, PTH120
    from orcha._processes.tag import new_nonce, tag_of, tag_self

    tag_self(tag_of(new_nonce(), 0))
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):  # SIGTERM is blocked, and stays to be seen
        signal.signal(number, signal.SIG_IGN)

    from orcha._processes.identity import Identity, is_alive, open_pidfd_of

    descriptor = open_pidfd_of(pid)
    # /proc may hide the parent from a process of its own user (proc(5), hidepid): who has this parent knows that it is
    # the service.
    if descriptor is not None and (os.getppid() == pid or is_alive(Identity(pid, start_time))):
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        poller.poll()
    _sweep(nonce, pid)


def _sweep(nonce: int, since: int) -> None:
    """Kill the attempts' processes, then all others that carry the nonce."""
    from orcha._processes.sweep import living, sweep
    from orcha._processes.tag import all_of, attempts_of

    sweep(attempts_of(nonce), deadline=MAX_SWEEP_SECONDS / 60, since=since)
    until = time.monotonic() + HELPERS_GRACE_SECONDS
    while living(all_of(nonce), since=since) and time.monotonic() < until:
        time.sleep(0.004)
    sweep(all_of(nonce), deadline=MAX_SWEEP_SECONDS, since=since)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:4]))
