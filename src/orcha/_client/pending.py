"""What a client waits for: answers to its requests and to its submits."""

from __future__ import annotations

import threading
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from orcha._protocol.messages import ClientMessage, Item, Reply, Result, Rows


class Ticket:
    """An outcome that one thread waits for and another thread brings about."""

    def __init__(self) -> None:
        self.gate = threading.Lock()
        """Locked until the outcome is there: what the thread that waits acquires."""
        self.gate.acquire()
        self.finished = False
        self.error: Exception | None = None

    def finish(self, error: Exception | None = None) -> None:
        """End the waiting; of two ends the first counts. Between the last two lines nothing can interrupt."""
        if not self.finished:
            self.error = error
            self.finished = True
            self.gate.release()

    def wait(self, timeout: float = -1) -> bool:
        """Wait, `timeout` seconds at most unless negative, without reading meanwhile; tell whether it is finished."""
        return self.finished or self.gate.acquire(timeout=timeout)

    def raise_error(self) -> None:
        """Raise a copy of the error that ended the waiting, if one did: each thread gets a traceback of its own."""
        if self.error is not None:
            raise type(self.error)(*self.error.args)


class Request(Ticket):
    """A message with one answer."""

    def __init__(self, build: Callable[[int], ClientMessage], *, repeatable: bool = True) -> None:
        super().__init__()
        self.build = build
        """Makes the message, given the request's number."""
        self.repeatable = repeatable
        """The message may be sent again where the connection was lost: the effect is the same."""
        self.abandoned = False
        """Nobody waits for the answer any more."""
        self.sent = False
        """The service may have the message."""
        self.answer: Reply | Rows | None = None


class Withdrawal(Ticket):
    """The cancel of all petitions of a submit."""

    def __init__(self, submission: PendingSubmit) -> None:
        super().__init__()
        self.submission = submission
        self.left = 0


class WithdrawOne(Request):
    """The cancel of one petition of a withdrawal."""

    def __init__(self, token: bytes, withdrawal: Withdrawal) -> None:
        from orcha._protocol.messages import Cancel

        super().__init__(partial(Cancel, token=token, id=None))
        self._withdrawal = withdrawal
        withdrawal.left += 1

    def finish(self, error: Exception | None = None) -> None:
        """Count the petition; the last one ends the withdrawal."""
        if not self.finished:
            super().finish(error)
            self._withdrawal.left -= 1
            if not self._withdrawal.left:
                self._withdrawal.finish()


class PendingSubmit(Ticket):
    """Petitions asked for together: finished when each has its answer."""

    def __init__(self, items: Sequence[Item], manager: str | None, secrets: dict[str, bytes] | None = None) -> None:
        super().__init__()
        self.items = items
        self.manager = manager
        self.secrets = secrets
        """Of the one item."""
        self.results: list[Result | None] = [None] * len(items)
        self.left = len(items)
        self.taken = False
        """The sender has begun to send it."""

    def unanswered(self) -> list[int]:
        """Give the positions without an answer."""
        return [position for position, result in enumerate(self.results) if result is None]


class SubmitFrame:
    """The items of a submit that went in one frame."""

    __slots__ = ("follows", "left", "positions", "submission")

    def __init__(self, submission: PendingSubmit, positions: list[int], *, follows: bool) -> None:
        self.submission = submission
        self.positions = positions
        self.left = len(positions)
        """How many of them have no answer."""
        self.follows = follows
        """The frame asks the service to follow the channels of the items that are accepted."""


class Pending:
    """Messages without an answer, by request number; the sender adds them, and the reader brings the answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[int, SubmitFrame | Request] = {}
        self._number = 0

    def __bool__(self) -> bool:
        """Whether anything is unanswered."""
        return bool(self._entries)

    def add(self, entry: SubmitFrame | Request) -> int:
        """Keep a message that is about to be sent; give its request number."""
        with self._lock:
            self._number += 1
            self._entries[self._number] = entry
            return self._number

    def answer(self, number: int, answer: Reply | Rows) -> None:
        """Bring a request its answer."""
        with self._lock:
            request = self._entries.get(number)
            if isinstance(request, Request):
                del self._entries[number]
                request.answer = answer
                request.finish()

    def news(self, number: int, results: Iterable[Result]) -> list[tuple[Item, Result, bool]]:
        """Give the results of a submit that are not noted, each with its item and whether its frame asked to follow."""
        with self._lock:
            frame = self._entries.get(number)
            if not isinstance(frame, SubmitFrame):
                return []
            submission, positions = frame.submission, frame.positions
            return [
                (submission.items[positions[result.position]], result, frame.follows)
                for result in results
                if submission.results[positions[result.position]] is None
            ]

    def note(self, number: int, results: Iterable[Result]) -> None:
        """Note results of a submit, and wake the thread that waits for the last of them; twice changes nothing.

        Of two answers the first counts.
        """
        with self._lock:
            frame = self._entries.get(number)
            if not isinstance(frame, SubmitFrame):
                return
            submission, positions = frame.submission, frame.positions
            noted = submission.results
            for result in results:
                position = positions[result.position]
                if noted[position] is None:
                    noted[position] = result if position == result.position else result._replace(position=position)
                    submission.left -= 1  # from the line before to the next one nothing can interrupt
                    frame.left -= 1
            if not submission.left:
                submission.finish()
            if not frame.left:
                self._entries.pop(number, None)

    def take_all(self) -> list[SubmitFrame | Request]:
        """Give everything, in the order asked, and forget it."""
        with self._lock:
            entries, self._entries = self._entries, {}
        return list(entries.values())

    def fail(self, number: int, error: Exception) -> None:
        """End the waiting for an answer to a message that cannot be sent."""
        with self._lock:
            entry = self._entries.pop(number, None)
            if entry is not None:
                _ticket(entry).finish(error)

    def fail_all(self, error: Exception) -> None:
        """End all waiting."""
        for entry in self.take_all():
            with self._lock:
                _ticket(entry).finish(error)

    def fail_unrepeatable(self, error: Exception) -> None:
        """End the waiting for answers to messages that must not be sent twice, and that a lost service may have."""
        with self._lock:
            for number, entry in list(self._entries.items()):
                if isinstance(entry, Request) and entry.sent and not entry.repeatable:
                    del self._entries[number]
                    entry.finish(error)


def _ticket(entry: SubmitFrame | Request) -> Ticket:
    """Give what a thread waits for."""
    return entry.submission if isinstance(entry, SubmitFrame) else entry
