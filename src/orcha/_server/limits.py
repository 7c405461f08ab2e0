"""What no client may use up: connections, descriptors, time and memory."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field


def descriptor_limit() -> int:
    """Give how many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def _default_reserve() -> int:
    return max(16, min(256, descriptor_limit() // 4))


def _default_of_one_user() -> int:
    room = descriptor_limit() - _default_reserve()
    return max(1, min(1024, room // 4))


@dataclass(frozen=True)
class ConnectionLimits:
    """What no client may use up."""

    peers: int = 4096
    """Authenticated clients."""
    peers_of_one_user: int = field(default_factory=_default_of_one_user)
    """Authenticated clients of one user who is no admin of the service: so that one user leaves room for others."""
    unauthenticated: int = 256
    """Connections before authentication; for one more the oldest of the user with the most is closed."""
    handshake_deadline: float = 5.0
    """Seconds for TLS and handshake together."""
    refusal_delay: float = 1.0
    """Seconds before a wrong proof is answered."""
    reserved_descriptors: int = field(default_factory=_default_reserve)
    """Descriptors that connections leave to the rest of the service."""
    pause_backlog: int = 4 * 1024 * 1024
    """Bytes that a client may leave untaken; beyond them nothing more is read from the client."""
    max_backlog: int = 64 * 1024 * 1024
    """Bytes that a client may leave untaken; beyond them the client is cut off."""
