"""Whether /proc hides processes of this user from it (proc(5), hidepid)."""

from __future__ import annotations

import functools
import os

_SHOWS = frozenset(("0", "off", "1", "noaccess"))


def hidden(mounts: str = "/proc/self/mounts", uid: int | None = None) -> str | None:
    """Tell people how /proc hides processes, and the cure; None where it hides none.

    With hidepid=2 a user does not see its own processes that cannot be traced, such as programs that guard secrets.
    """
    if (os.geteuid() if uid is None else uid) == 0:
        return None
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 - pathlib starts slowly
            fields = [line.split(" ") for line in file]
    except OSError:
        return None
    options = [each[3].split(",") for each in fields if len(each) > 3 and each[1] == "/proc" and each[2] == "proc"]
    for option in options[-1] if options else ():
        name, _, value = option.partition("=")
        if name == "hidepid" and value not in _SHOWS:
            return (
                f"/proc is mounted with {option}: an attempt's end takes longer, since hidden processes are looked for "
                "by number, and set-user-ID programs may outlive their petition unseen: mount /proc without it, or "
                "give the service its gid"
            )
    return None


@functools.cache
def hides_processes() -> bool:
    """Tell whether /proc hides processes of this process's user from it, as it was at the first call."""
    return hidden() is not None
