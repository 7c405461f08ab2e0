"""What the options before the command set, for the whole process.

A manager built without arguments reads them when it is built. A program that uses Orcha as a library may assign them.

Example::

    from orcha import properties
    properties.port = 50001
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

listen_address: str = "127.0.0.1"
"""Address that a service listens on and a client connects to."""

port: int = 50000
"""TCP port, 1 to 65535; a service may take 0 for any free one."""

named: bool = False
"""Whether an option or the environment names an address or a port; without it there is more than one place to look."""

service: str | None = None
"""Which service a client means: a name, a path or a URL (``orcha --service``); None where nobody said so, and empty
where an address or a port was named instead."""

authkey: bytes | None = None
"""Key shared by service and clients; None for the key file of the user."""

allow_weak_key: bool = False
"""Whether a key that can be guessed, of fewer than 16 characters, may be used with other machines."""

systemd: bool = False
"""Whether the process runs under systemd and tells it so: `sd_notify(3)`."""

in_background: bool = False
"""Whether the process is a daemon whose log people read later."""

no_store: bool = False
"""Whether a service keeps nothing beyond its process."""

plugin: str | None = None
"""Name of the plugin whose command runs; what its managers send carries it."""

extras: dict[str, Any] = {}
"""Every argument of the command line, by name."""

__all__ = [
    "allow_weak_key",
    "authkey",
    "extras",
    "in_background",
    "listen_address",
    "named",
    "no_store",
    "plugin",
    "port",
    "service",
    "systemd",
]
