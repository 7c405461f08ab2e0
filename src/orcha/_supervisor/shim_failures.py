"""The error by which a shim fails: it is sent to the service, and written into a small file beside the black box."""

from __future__ import annotations

import contextlib
import os

MAX_TEXT_CHARACTERS = 200
"""The most characters of an error that are told."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def described(error: BaseException) -> str:
    """Return the kind and the text of an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:MAX_TEXT_CHARACTERS]


def note(folder: str, shim: str, error: BaseException) -> None:
    """Write down, in the shim, why it ends; where that fails, the reason is lost."""
    with contextlib.suppress(OSError):
        descriptor = os.open(_path(folder, shim), _NEW, 0o600)
        try:
            os.write(descriptor, described(error).encode("utf-8", "backslashreplace"))
        finally:
            os.close(descriptor)


def take(folder: str, shim: str) -> str:
    """Return what a shim wrote, and remove the file; "" where the shim was killed or wrote nothing."""
    path = _path(folder, shim)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        text = os.read(descriptor, 4 * MAX_TEXT_CHARACTERS).decode("utf-8", "replace")
    except OSError:
        text = ""
    finally:
        os.close(descriptor)
    with contextlib.suppress(OSError):
        os.unlink(path)
    return text


def _path(folder: str, shim: str) -> str:
    return f"{folder}/shims/{shim}.error"
