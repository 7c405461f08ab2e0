"""Entries for systemd's journal: its native protocol, a datagram for each entry (systemd.io/JOURNAL_NATIVE_PROTOCOL).

A text field is ``NAME=value`` and a newline. A value that holds a newline stands behind its length instead: the name, a
newline, 8 bytes of the length (little endian), the value, a newline. An entry that is too large for a datagram goes as
a sealed file in memory, whose descriptor is sent.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET_PATH = "/run/systemd/journal/socket"
SEND_SECONDS = 5.0
"""Seconds that the journal has to take an entry."""
_TOO_LARGE = frozenset((errno.EMSGSIZE, errno.ENOBUFS))


def entry(fields: Mapping[str, object]) -> bytes:
    r"""Give an entry as it is sent; the names are upper-case letters, digits and underscores.

    >>> entry({"PRIORITY": 6, "MESSAGE": "a"}), entry({"A": "b\nc"})
    (b'PRIORITY=6\nMESSAGE=a\n', b'A\n\x03\x00\x00\x00\x00\x00\x00\x00b\nc\n')
    """
    parts = []
    for name, value in fields.items():
        data = str(value).encode(errors="replace")
        key = name.encode("ascii")
        parts.append(
            key + b"\n" + len(data).to_bytes(8, "little") + data + b"\n" if b"\n" in data else key + b"=" + data + b"\n"
        )
    return b"".join(parts)


def send(data: bytes) -> bool:
    """Send an entry; False where nobody takes it, or where the journal does not keep up for a while."""
    import socket  # noqa: TID251 - one datagram to the journal, no wire of ours

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.settimeout(SEND_SECONDS)
            sender.connect(SOCKET_PATH)
            try:
                sender.sendall(data)
            except OSError as error:
                if error.errno not in _TOO_LARGE:
                    raise
                _send_file(sender, data)
        except OSError:
            return False
    return True


def _send_file(sender: object, data: bytes) -> None:
    """Send an entry as a file in memory, which nobody can change any more: memfd_create(2), fcntl(2)."""
    import fcntl
    import socket  # noqa: TID251 - as above

    assert isinstance(sender, socket.socket)
    descriptor = os.memfd_create("orcha-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        socket.send_fds(sender, [b""], [descriptor])
    finally:
        os.close(descriptor)


__all__ = ["SOCKET_PATH", "entry", "send"]
