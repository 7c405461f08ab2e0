"""The threads of a service: a dead thread is told, and a thread that cannot start is told with the cure."""

from __future__ import annotations

import threading

from orcha.exceptions import OrchaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    OnDeath = Callable[["DeadThreadError"], object]
    """Called on a thread that dies, with the reason."""


class DeadThreadError(OrchaError):
    """A thread of the service ended because of an exception."""

    exit_code = 75

    def __init__(self, name: str, error: BaseException) -> None:
        """Name the thread, and what ended it."""
        text = str(error)
        super().__init__(f"its thread {name} died: {type(error).__name__}{text and ': '}{text}")


class NoThreadError(OrchaError):
    """A thread could not be started."""

    exit_code = 75


def guarded(name: str, target: Callable[[], object], on_death: OnDeath) -> threading.Thread:
    """Give a daemon thread that calls `target`, and then `on_death` where `target` raised anything.

    >>> deaths = []
    >>> thread = guarded("orcha-example", lambda: 1 / 0, deaths.append)
    >>> start(thread)
    >>> thread.join()
    >>> print(*deaths)
    its thread orcha-example died: ZeroDivisionError: division by zero
    """

    def run() -> None:
        try:
            target()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the thread is over
            died = DeadThreadError(name, error)
            died.__cause__ = error
            on_death(died)

    return threading.Thread(target=run, name=name, daemon=True)


def start(thread: threading.Thread) -> None:
    """Start a thread; raise NoThreadError, with the cure, where the system has no room for one."""
    try:
        thread.start()
    except RuntimeError as error:
        raise NoThreadError(
            f"the thread {thread.name} cannot be started: {error}: end some processes of this user, or raise ulimit -u"
        ) from error


def ignore_death(_: DeadThreadError) -> None:
    """Do nothing: for a part that is used without a service."""
