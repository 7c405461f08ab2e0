"""What a service tells systemd: `sd_notify(3)`, without its library."""

from __future__ import annotations

import contextlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

READY, STOPPING, KEEP_ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"
"""The states of a service: it serves, it ends, it goes on."""


class Wish:
    """Whether systemd is to hear of the states of this process; the watchdog is fed in any case."""

    def __init__(self) -> None:
        """Begin with nothing to tell: :func:`orcha.interfaces.start_service` decides."""
        self.tells = False


wish = Wish()
"""What this process tells."""


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
            sender.sendall(state.encode(errors="replace"))
        except OSError:
            return False
    return True


def status(text: str) -> str:
    """Give the assignment of a status line, as `systemctl status` shows it: one line, whatever the text is.

    >>> status("2 running")
    'STATUS=2 running'
    """
    return f"STATUS={' '.join(text.split())}"


@contextlib.contextmanager
def reloading(now: float) -> Iterator[None]:
    """Tell systemd that the configuration is read again, and at the end that the service serves with the new one.

    ``Type=notify-reload`` of `systemd.service(5)` waits for both. Where the new configuration cannot be used, the old
    one stays in force, and the service still serves: systemd hears the same, and the error goes on to the caller.

    Args:
        now: the time on the monotonic clock, in seconds.

    Example::

        with reloading(time.monotonic()):
            read_configuration()

    """
    notify(f"RELOADING=1\nMONOTONIC_USEC={int(now * 1_000_000)}")
    try:
        yield
    finally:
        notify(READY)


__all__ = ["KEEP_ALIVE", "READY", "STOPPING", "Wish", "notify", "reloading", "status", "wish"]
