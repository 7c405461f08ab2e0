"""Whether systemd ends this service since the machine goes down, or the user's session does, and not the service alone.

A unit with KillMode=process lets commands outlive the service: right for a restart, wrong where the machine goes down.
There systemd would leave the commands alone until all units have stopped, and kill them when their disks and their
network are gone.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ASK_SECONDS = 5.0
"""Seconds that systemd has to answer: it may be busy with the shutdown."""
STOPPING_WORD = "stopping"
"""What `systemctl is-system-running` prints from the begin of a shutdown on: systemctl(1)."""
THE_MACHINE = "the machine went down while it ran"
THE_LOGIN = (
    "the systemd of its user ended while it ran, as after the last logout (loginctl enable-linger prevents that)"
)
"""What people are told of a command that is ended."""


def why_host_stops(environment: Mapping[str, str]) -> str | None:
    """Say why commands end, where the service manager that started this process is itself going down.

    None where no systemd started it, and where systemd does not answer.
    """
    if not environment.get("INVOCATION_ID") or not environment.get("NOTIFY_SOCKET"):
        return None
    is_users = bool(environment.get("MANAGERPID"))  # systemd.exec(5): set by the manager of a user alone
    try:
        done = subprocess.run(
            ["systemctl", *(["--user"] if is_users else []), "is-system-running"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ASK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.stdout.strip() != STOPPING_WORD.encode():
        return None
    return THE_LOGIN if is_users else THE_MACHINE


__all__ = ["why_host_stops"]
