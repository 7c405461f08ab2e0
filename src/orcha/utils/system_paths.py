"""Where the machine's service keeps what it has: a service of root that every local user may connect to.

``ORCHA_SYSTEM_ROOT`` names a folder below which all of these paths lie, as a test or a container wants it.
"""

from __future__ import annotations

from orcha.utils.paths import named_path

SYSTEM_ROOT = "ORCHA_SYSTEM_ROOT"
"""The variable that moves all paths of the machine's service; service and clients need the same value."""


def system_state() -> str:
    """Give the folder with the state of the machine's service."""
    return f"{_root()}/var/lib/orcha/system"


def system_socket() -> str:
    """Give the Unix socket of the machine's service."""
    return f"{_root()}/run/orcha/orcha.sock"


def system_configuration() -> str:
    """Give the configuration file of the machine's service."""
    return f"{_root()}/etc/orcha/orcha.toml"


def shared_folder(uid: int) -> str:
    """Give the folder with the sockets by which a user's services let in other users; nobody else may write there."""
    return f"{_root()}/tmp/orcha-share-{uid}"  # noqa: S108 - both sides look whose the folder and the socket are


def _root() -> str:
    return (named_path(SYSTEM_ROOT) or "").rstrip("/")


__all__ = ["SYSTEM_ROOT", "shared_folder", "system_configuration", "system_socket", "system_state"]
