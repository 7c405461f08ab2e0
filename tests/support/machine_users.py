"""The machine's service and its users, in a mount namespace with a passwd and a group file of its own; needs root.

Where FOLDER/pam.d is there, it stands for /etc/pam.d.

``python machine_users.py FOLDER serve WORD...`` is the service, ``python machine_users.py FOLDER UID HOME WORD...`` an
orcha command of a user.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from orcha.bin import main as command
from support import as_user

CLONE_NEWNS = 0x20000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_MS_NOSUID = 2


def enter_namespace(folder: str) -> None:
    """Have FOLDER/passwd and FOLDER/group in place of the machine's, and FOLDER/nosuid mounted nosuid."""
    libc = ctypes.CDLL(None, use_errno=True)

    def checked(result: int) -> None:
        if result:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    checked(libc.unshare(CLONE_NEWNS))
    checked(libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None))
    for name in ("passwd", "group"):
        checked(libc.mount(f"{folder}/{name}".encode(), f"/etc/{name}".encode(), None, _MS_BIND, None))
    if Path(folder, "pam.d").is_dir() and Path("/etc/pam.d").is_dir():
        checked(libc.mount(f"{folder}/pam.d".encode(), b"/etc/pam.d", None, _MS_BIND, None))
    checked(libc.mount(b"tmpfs", f"{folder}/nosuid".encode(), b"tmpfs", _MS_NOSUID, None))


def main(folder: str, words: list[str]) -> int:
    """Be the service, or a user's command."""
    if words[0] == "serve":
        enter_namespace(folder)
    else:
        where = Path.cwd()
        enter_namespace(folder)
        as_user.become(int(words[0]), words[1])
        os.chdir(where)
        words = words[2:]
    sys.argv[1:] = words
    return command.main()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
