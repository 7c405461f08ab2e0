"""Writing to a standard output that may be a terminal, a file, an ASCII pipe, closed, or gone."""

from __future__ import annotations

import errno
import os
import sys

_PLAIN = str.maketrans({"├": "|", "└": "`", "│": "|", "─": "-", "…": "~", "✓": "+", "✗": "x"})


def write_out(text: str) -> bool:
    """Write text to stdout in what its encoding can show, at once.

    Returns:
        False where nobody can read it: stdout is closed, or its reader has gone.

    Raises:
        OSError: it cannot be written for another reason, such as a full disk.

    """
    out = sys.stdout
    if out is None:
        return False
    encoding = getattr(out, "encoding", None) or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_PLAIN).encode(encoding, "backslashreplace").decode(encoding)
    try:
        out.write(text)
        out.flush()
    except OSError as error:
        if error.errno not in {errno.EPIPE, errno.EBADF}:
            raise
        silence_stdout()
        return False
    return True


def silence_stdout() -> None:
    """Send what stdout still holds, and all that follows, nowhere: so that the flush at exit does not fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
    finally:
        os.close(nowhere)


__all__ = ["silence_stdout", "write_out"]
