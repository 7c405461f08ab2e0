"""A file that names the process of a daemon, for as long as that lives.

The number alone may name a stranger a moment later. So the file is locked, by a record lock (fcntl(2)): the kernel
drops that lock with the process, a forked child does not have it, and it says which process holds it. A file that
nobody holds is a left-over, whatever number it has. Such a lock ends when its process closes *any* descriptor of the
file: nothing else in the daemon opens it.
"""

from __future__ import annotations

import contextlib
import os
import stat

from orcha.exceptions import ConfigurationError, EndpointInUseError
from orcha.utils.lock_holders import described, lasting_holder, take

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


def holder_of(path: str) -> int | None:
    """Give the process that holds the lock of a file; None where nobody does, 0 for one of another pid namespace.

    One that is about to end is waited for, some seconds at most.

    Raises OSError where that cannot be known: not for a file that is missing.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        return lasting_holder(descriptor)
    finally:
        os.close(descriptor)


def hold(path: str) -> None:
    """Lock a pidfile that something else has written, until this process ends; nothing where that cannot be.

    Then :func:`holder_of` knows that its daemon lives, whatever the clocks say.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        if take(descriptor, patience=0.0) is not None:
            os.close(descriptor)


class Pidfile:
    """The pidfile of a daemon, which python-daemon enters once the daemon is what it will be.

    Entering writes this process's id, in place of a left-over, and raises EndpointInUseError where another process
    holds the file, ConfigurationError where it cannot be written or something else has that name.

    Example::

        with Pidfile("/run/hello.pid"):
            serve()
    """

    def __init__(self, path: str) -> None:
        """Know the place, whatever the working directory becomes; nothing is opened."""
        self.path = os.path.abspath(path)  # noqa: PTH100
        self._descriptor = -1
        self._process = 0

    def __enter__(self) -> Self:
        """Write it."""
        try:
            while not self._take():
                pass  # who held it has just removed it
        except ConfigurationError:
            self._drop()
            raise
        except OSError as error:
            self.__exit__()
            raise ConfigurationError(
                f"the pidfile {self.path} cannot be written: {error.strerror}: give another --pidfile"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        """Remove it; a forked child that comes here leaves it alone."""
        if self._descriptor >= 0 and self._process == os.getpid():
            try:
                os.unlink(self.path)  # noqa: PTH108 - while it is held, so that it is nobody else's
            except OSError:
                return  # somebody has removed it, or its folder cannot be changed any more: it is a left-over
            finally:
                self._drop()

    def check(self) -> None:
        """Raise what entering would raise, before the forks of a daemon whose words nobody hears."""
        with self:
            pass

    def _take(self) -> bool:
        """Open, lock and write it; False where it was removed meanwhile."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
        self._descriptor = os.open(self.path, flags, 0o644)
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            raise ConfigurationError(
                f"{self.path} is in the way: it is no pidfile. Give another --pidfile, or move it away"
            )
        process = take(self._descriptor)
        if process is not None:
            self._drop()
            raise EndpointInUseError(
                f"{self.path} is held by a process that serves ({described(process)}): stop it first"
            )
        if not self._is_there():
            self._drop()
            return False
        if os.pread(self._descriptor, 64, 0).strip(b"0123456789 \n"):
            self._drop()
            raise ConfigurationError(
                f"{self.path} is in the way: it is no pidfile. Give another --pidfile, or move it away"
            )
        self._process = os.getpid()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, b"%d\n" % self._process, 0)
        return True

    def _is_there(self) -> bool:
        """Whether the file that is locked is still the one of that name."""
        try:
            found = os.stat(self.path)  # noqa: PTH116
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(self._descriptor))

    def _drop(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
