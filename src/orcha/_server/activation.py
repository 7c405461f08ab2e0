"""Sockets that systemd listens on for a service, and hands to it at its start: sd_listen_fds(3).

Clients that connect while the service is away wait in the queue of such a socket, and systemd starts the service for
the first of them.
"""

from __future__ import annotations

import os
import socket

from orcha.exceptions import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping

FIRST_DESCRIPTOR_NUMBER = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")


def passed_listeners(environment: MutableMapping[str, str]) -> list[socket.socket]:
    """Take the listening Unix sockets that this process was handed; none where they are another process's.

    The variables are removed from the environment: what this process starts gets neither them nor the sockets.

    Raises ConfigurationError for anything that is no listening Unix stream socket; nothing is left open then.
    """
    mine = environment.get("LISTEN_PID") == str(os.getpid())
    count = environment.get("LISTEN_FDS", "")
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    for variable in _VARIABLES:
        environment.pop(variable, None)
    if not mine or not count.isdecimal():
        return []
    descriptors = range(FIRST_DESCRIPTOR_NUMBER, FIRST_DESCRIPTOR_NUMBER + int(count))
    taken: list[socket.socket] = []
    try:
        for descriptor, name in zip(descriptors, [*names, *[""] * len(descriptors)], strict=False):
            taken.append(_listener(descriptor, name))
    except ConfigurationError:
        for descriptor in descriptors[len(taken) :]:
            _close(descriptor)
        for listener in taken:
            listener.close()
        raise
    return taken


def _listener(descriptor: int, name: str) -> socket.socket:
    what = f"descriptor {descriptor}" + (f" ({name})" if name else "") + " from systemd (LISTEN_FDS)"
    try:
        os.set_inheritable(descriptor, False)
        found = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ConfigurationError(
            f"{what} is no socket: name paths of Unix sockets alone in the .socket unit"
        ) from error
    try:
        _check(found, what)
        found.setblocking(False)
    except BaseException:
        found.detach()  # the caller closes it
        raise
    return found


def _check(found: socket.socket, what: str) -> None:
    if found.family != socket.AF_UNIX:
        raise ConfigurationError(
            f"{what} is no Unix socket: ListenStream= of the .socket unit is to be a path; a TCP port is opened by the"
            " service itself, with --port before serve"
        )
    if found.type != socket.SOCK_STREAM:
        raise ConfigurationError(
            f"{what} is no stream socket: write ListenStream= in the .socket unit, and neither ListenDatagram= nor"
            " ListenSequentialPacket="
        )
    if not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ConfigurationError(f"{what} does not listen: set Accept=no in the .socket unit")


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        return  # it was none


__all__ = ["passed_listeners"]
