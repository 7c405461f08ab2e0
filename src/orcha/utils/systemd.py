"""What a service tells systemd: `sd_notify(3)`, without its library."""

from __future__ import annotations

import os


def notify(state: str, *, wait: bool = True) -> bool:
    """Send a state to the service manager, where there is one.

    Args:
        state: assignments, one a line, such as ``READY=1`` or ``STATUS=...``.
        wait: whether to wait for room in its queue.

    Returns:
        Whether it was sent: False without ``NOTIFY_SOCKET`` in the environment, and where nobody listens there.

    Example::

        notify("STATUS=3 petitions running")

    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    import socket  # noqa: TID251 - one datagram to systemd, no wire of ours

    if address.startswith("@"):  # an abstract socket: unix(7)
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.setblocking(wait)
            sender.connect(address)
            sender.sendall(state.encode())
        except OSError:
            return False
    return True


__all__ = ["notify"]
