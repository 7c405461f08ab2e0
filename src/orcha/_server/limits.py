"""What no client may use up."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field


def descriptor_limit() -> int:
    """Give how many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def _default_reserve() -> int:
    return max(16, min(256, descriptor_limit() // 4))


@dataclass(frozen=True)
class Limits:
    """What no client may use up."""

    peers: int = 4096
    """Authenticated clients."""
    strangers: int = 256
    """Connections before authentication; beyond it the oldest yields."""
    handshake_deadline: float = 5.0
    """Seconds for TLS and handshake together."""
    refusal_delay: float = 1.0
    """Seconds before a wrong proof is answered."""
    reserved_descriptors: int = field(default_factory=_default_reserve)
    """Descriptors that connections leave to the rest of the service."""
    pause_backlog: int = 4 * 1024 * 1024
    """Bytes not taken by a client from which on nothing is read of it."""
    max_backlog: int = 64 * 1024 * 1024
    """Bytes not taken by a client from which on it is cut off."""
