"""What is told of a petition to a client that may see its metadata alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

METADATA = frozenset(
    (
        *("seq", "id", "state", "priority", "aged", "manager", "owner", "user", "group", "array"),
        *("attempt", "submitted", "started", "ended", "outcome", "code", "paused", "due", "place", "until"),
        *("needs", "expect", "timeout", "queue_timeout", "kinds", "lease", "preemptible", "stands_still"),
        *("elements", "last_element", "elements_waiting", "elements_running"),
        *("elements_succeeded", "elements_failed", "elements_cancelled"),
    )
)
"""What is told: which petition it is, whose, in which state since when, and what it takes from others.

All else is left out, such as command, folder, label, output, and every text that may name one of these. What is
added to the answers later stays hidden until it stands here.
"""


def redacted(known: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is known of a petition with nothing but its metadata, by the same keys; `sight` says that it is so.

    >>> redacted({"id": "a", "state": "running", "command": "make secret", "attempts": [{"reason": "x"}]})
    {'id': 'a', 'state': 'running', 'command': None, 'attempts': [], 'sight': 'metadata'}
    """
    hidden: dict[str, Any] = {
        name: [] if isinstance(value, list) else None for name, value in known.items() if name not in METADATA
    }
    return {name: hidden.get(name, value) for name, value in known.items()} | {"sight": "metadata"}


__all__ = ["METADATA", "redacted"]
