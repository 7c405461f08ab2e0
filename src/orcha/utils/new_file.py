"""A file in the place of another one: whole and on the disk, or not at all."""

from __future__ import annotations

import contextlib
import os


def replace_file(path: str, data: bytes, mode: int = 0o600) -> None:
    """Have a file with this content and this mode in the place of what is there, whatever ends the process meanwhile.

    A reader of the path sees the old content or the new content. The content is first written to a file beside the
    path, which is removed where this fails; kill -9 may leave that file (``.new``). Source: rename(2), fsync(2).

    Raises OSError: the folder is not there, is full, or may not be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     replace_file(f"{folder}/a", b"one")
    ...     replace_file(f"{folder}/a", b"two", 0o644)
    ...     os.listdir(folder), oct(os.stat(f"{folder}/a").st_mode & 0o777)
    (['a'], '0o644')
    """
    new = f"{path}.{os.getpid()}.{os.urandom(4).hex()}.new"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            os.fchmod(descriptor, mode)
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(new, path)  # noqa: PTH105 - pathlib costs a client 5 ms
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)  # noqa: PTH108 - as above
        raise


__all__ = ["replace_file"]
