"""The unit of work on the service's side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar, Union

from orcha.interfaces.state import BROKEN_STATES, RUNNING_STATES, STOPPED_STATES, PetitionState

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from typing import Protocol, Self

    from orcha.exceptions import ConditionFailed
    from orcha.interfaces.policy import Policy
    from orcha.interfaces.ready_made import EmptyPetition, SignalingPetition, WatchdogPetition

    class _Queue(Protocol):
        """What a petition needs of the queue it is given."""

        def put(self, item: Any, /) -> object:
            """Put a value."""

    ProcT = subprocess.Popen[Any] | int
    ActionCallbackT = Callable[[ProcT], None]
else:
    from collections.abc import Callable

    ProcT = Union["subprocess.Popen[Any]", int]
    ActionCallbackT = Callable[[ProcT], None]

P = TypeVar("P", bound="Petition")

HANDLE = "_orcha_attempt"
"""Name in a petition's ``__dict__`` of what the service attaches: an object with ``put`` and ``finish``."""
_ENDED = "_orcha_ended"
_LEFT_BEHIND = ("action", "condition", "policy")


@dataclass(eq=False)
class Petition:
    """What a manager makes of a message: its priority, the condition to start under, and what to do then.

    The service calls ``condition(petition)`` until it is true, then ``action(callback, petition)`` in a thread.
    Derive a dataclass from it and give it what the action needs. Nothing here needs this class's ``__init__`` or
    ``__post_init__`` to have run, and the service reads nothing else of a petition than these seven fields.

    Petitions are equal where ``str(id)`` is equal and ordered by `priority`; a subclass decorated with
    ``@dataclass(order=True)`` gets dataclass's operators instead, and the service minds neither.

    Example::

        @dataclass(order=True)
        class Copy(Petition):
            source: str = field(compare=False)

            def __post_init__(self):
                self.priority = 5

    """

    priority: float = field(init=False, default=0)
    """The lower starts first; any int or float except NaN. It is read once, when the petition is accepted."""
    id: int | str = field(compare=False)
    """The id of its message."""
    queue: _Queue | None = field(compare=False, repr=False)
    """Where its values go: the channel out of the message, any object with ``put``, or None."""
    action: Callable[[ActionCallbackT, Any], object] = field(compare=False, repr=False)
    """What it does. The callback takes each process it starts: a pid, or anything with a ``pid``."""
    condition: Callable[[Any], bool | ConditionFailed] = field(compare=False, repr=False)
    """Whether it may start now."""
    state: PetitionState = field(init=False, default=PetitionState.PENDING, compare=False)
    """Where it is. The service sets it; setting it moves nothing."""
    policy: Policy | None = field(default=None, kw_only=True, compare=False, repr=False)
    """What it asks of the service beside running once; None for the defaults."""

    def communicate(self, message: Any, blocking: bool = True) -> None:
        """Put a value on the channel, for the clients that follow it.

        Returns when the service has it, so nothing put or finished later overtakes it. Nothing happens where there is
        no queue, where it is closed, and after the petition was cancelled.

        Args:
            message: what `Message.extras` may hold.
            blocking: False to not wait for the service, nor for room on a bounded queue.

        Raises:
            TypeError: the value cannot be sent.
            queue.Full: not blocking, and the queue is a bounded one without room.

        """
        queue = self._queue()
        if queue is not None:
            _put(queue, message, ("put",) if blocking else ("put_nowait", "put_nw", "put"))

    def communicate_nw(self, message: Any) -> None:
        """Put a value on the channel without waiting until the service has it; the order of values stays.

        On a queue that cannot do so, such as a `queue.Queue`, it is :meth:`communicate`.

        Raises:
            TypeError: the value cannot be sent.

        """
        queue = self._queue()
        if queue is not None:
            _put(queue, message, ("put_nw", "put"))

    def finish(self, ret: int | None = None) -> None:
        """Give the final value, once: later ones are ignored, as is one after a cancel.

        Args:
            ret: the code the client exits with; None counts as 0. A bool is the int that it is, so True is 1.

        Raises:
            TypeError: `ret` is neither None nor an int.

        """
        value = _final(ret)
        queue, handle = self._queue(), self.__dict__.get(HANDLE)
        finish = getattr(queue, "finish", None)
        if callable(finish):
            finish(value)
            return
        mark = object()
        if queue is not None and self.__dict__.setdefault(_ENDED, mark) is mark:
            _put(queue, value, ("put",))
        if handle is not None:
            handle.finish(value)

    def terminate(self, pid: int | None) -> bool:  # noqa: ARG002 - for those who override it
        """Take note of a cancel. Override it to end the work in a way of your own, and call this by ``super()``.

        This method signals nobody. Whatever an override does and answers, the service then ends what still lives of
        the attempt: INT, TERM, KILL, with time between them. It is not called for a petition that never started.

        Args:
            pid: the process given to the callback last, None before the first.

        Raises:
            ValueError: nothing of the petition waits or runs.

        """
        if self.state in STOPPED_STATES:
            error = f"petition {self.id!r} is {self.state.name.lower()}: there is nothing to terminate"
            raise ValueError(error)
        self.state = PetitionState.CANCELLED
        return True

    def _queue(self) -> _Queue | None:
        """Give its queue; None also where a class without our __init__ never had one."""
        return getattr(self, "queue", None)

    def __eq__(self, other: object) -> bool:
        """Compare by the id's text."""
        return str(self.id) == str(other.id) if isinstance(other, Petition) else NotImplemented

    def __hash__(self) -> int:
        """Hash by the id's text."""
        return hash(str(self.id))

    if not TYPE_CHECKING:  # a checker refuses `@dataclass(order=True)` on a class whose base has these

        def __lt__(self, other: object) -> bool:
            """Whether it starts before the other."""
            return self.priority < other.priority if isinstance(other, Petition) else NotImplemented

        def __le__(self, other: object) -> bool:
            """Whether it does not start after the other."""
            return self.priority <= other.priority if isinstance(other, Petition) else NotImplemented

        def __gt__(self, other: object) -> bool:
            """Whether it starts after the other."""
            return self.priority > other.priority if isinstance(other, Petition) else NotImplemented

        def __ge__(self, other: object) -> bool:
            """Whether it does not start before the other."""
            return self.priority >= other.priority if isinstance(other, Petition) else NotImplemented

    def __getstate__(self) -> object:
        """Give what another process needs: everything but the callables, the policy and the service's handle."""
        state = super().__getstate__()
        attributes, slots = state if isinstance(state, tuple) else (state, None)
        attributes = _portable(attributes or {})
        return attributes if slots is None else (attributes, _portable(slots))

    def __copy__(self) -> Self:
        """Copy all of it but the service's handle: what is left out of a pickle is wanted in a copy."""
        clone = object.__new__(type(self))
        state = super().__getstate__()
        for attributes in state if isinstance(state, tuple) else (state,):
            for name, value in (attributes or {}).items():
                if name != HANDLE:
                    object.__setattr__(clone, name, value)
        return clone


def _final(value: object) -> int | None:
    """Give a plain int or None; TypeError for anything else."""
    if value is None or type(value) is int:
        return value
    if isinstance(value, int):
        return int(value)
    raise TypeError(f"finish() takes an int, or None for success, not {type(value).__name__}")


def _portable(attributes: dict[str, Any]) -> dict[str, Any]:
    """Give a copy without the service's handle, with None for what does not leave the process."""
    return {name: None if name in _LEFT_BEHIND else value for name, value in attributes.items() if name != HANDLE}


def _put(queue: Any, value: Any, methods: tuple[str, ...]) -> None:
    """Put `value` by the first of these methods that the queue has; quiet where it is closed."""
    put = next((method for name in methods if (method := getattr(queue, name, None)) is not None), queue.put)
    try:
        put(value)
    except (OSError, EOFError) as error:
        _closed(error)
    except ValueError as error:
        if not getattr(queue, "_closed", False):  # what a closed multiprocessing.Queue raises
            raise
        _closed(error)
    except Exception as error:
        if type(error).__name__ != "ShutDown":  # what a queue.Queue raises after its shutdown(), from 3.13
            raise
        _closed(error)


def _closed(error: Exception) -> None:
    """Leave a trace of a value that nobody can receive any more."""
    from orcha.utils.logging_utils import get_logger

    get_logger().debug("a value was dropped, its queue is closed: %s", error)


def __getattr__(name: str) -> object:
    """Import the ready-made petitions when they are asked for: a client and most plugins have no use for them."""
    if name not in {"EmptyPetition", "SignalingPetition", "WatchdogPetition"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from orcha.interfaces import ready_made

    return getattr(ready_made, name)


__all__ = [
    "BROKEN_STATES",
    "RUNNING_STATES",
    "STOPPED_STATES",
    "ActionCallbackT",
    "EmptyPetition",
    "P",
    "Petition",
    "PetitionState",
    "ProcT",
    "SignalingPetition",
    "WatchdogPetition",
]
