"""How long a client waits before it logs in once more."""

from __future__ import annotations

import os


def login_delay(attempt: int) -> float:
    """Give the seconds before this attempt (from 0) to connect again by a login: less than 0.1 s, then up to 2 s.

    A host counts logins, and shuts out who makes many (MaxStartups, PerSourcePenalties of sshd_config(5)).
    """
    chance = os.urandom(1)[0] / 255
    return 0.1 * chance if attempt == 0 else min(2.0, 0.25 * 2**attempt) * (0.5 + 0.5 * chance)
