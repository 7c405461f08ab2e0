"""The limits that a process needs so that it can serve."""

from __future__ import annotations

import os

from orcha.exceptions import ConfigurationError

MIN_OPEN_FILES = 64
"""Open files that a service needs to serve, with some room for clients and commands."""
MIN_PROCESSES = 32
"""Processes and threads of a user that a service needs."""


def check_limits() -> None:
    """Raise ConfigurationError where this process may have too few files open, or processes, to serve."""
    import resource

    needed = [(resource.RLIMIT_NOFILE, MIN_OPEN_FILES, "open files", "-n")]
    if os.geteuid():  # root has as many processes as there can be
        needed.append((resource.RLIMIT_NPROC, MIN_PROCESSES, "processes", "-u"))
    for limit, least, what, option in needed:
        soft = resource.getrlimit(limit)[0]
        if soft != resource.RLIM_INFINITY and soft < least:
            raise ConfigurationError(
                f"this process may have {soft} {what}, and a service needs {least}: set ulimit {option} to that or more"
            )
