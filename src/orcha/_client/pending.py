"""What a client waits for: answers to its requests and to its submits."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from orcha._client.turns import Turns
    from orcha._protocol.messages import ClientMessage, Item, Reply, Result, Rows

MAX_ITEMS = 512
"""Items of a Submit."""
MAX_SUBMIT = 1024 * 1024
"""Bytes of a Submit, unless one item alone is larger."""
_ITEM_OVERHEAD = 64


class Ticket:
    """Something that one thread waits for and others bring about."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._gate.acquire()
        self.finished = False
        self.error: Exception | None = None

    def finish(self, error: Exception | None = None) -> None:
        """End the waiting; of two ends the first counts. Between the last two lines nothing can interrupt."""
        if not self.finished:
            self.error = error
            self.finished = True
            self._gate.release()

    def wait(self, timeout: float = -1, turns: Turns | None = None) -> bool:
        """Wait, `timeout` seconds at most unless negative; tell whether it is finished. For one thread.

        With `turns` this thread reads meanwhile, where it may.
        """
        if self.finished:
            return True
        if turns is None:
            return self._gate.acquire(timeout=timeout)
        return turns.wait(self._gate, timeout, is_answer=True)


class Request(Ticket):
    """A message with one answer."""

    def __init__(self, build: Callable[[int], ClientMessage], *, repeatable: bool = True) -> None:
        super().__init__()
        self.build = build
        """Makes the message, given the request's number."""
        self.repeatable = repeatable
        """Doing it twice is as good as once."""
        self.abandoned = False
        """Nobody waits for the answer any more."""
        self.sent = False
        """The service may have it."""
        self.answer: Reply | Rows | None = None


class Withdrawal(Ticket):
    """The cancel of everything a submit asked for."""

    def __init__(self, submission: Submission) -> None:
        super().__init__()
        self.submission = submission
        self.left = 0


class CancelOne(Request):
    """One token's part in a withdrawal."""

    def __init__(self, token: bytes, withdrawal: Withdrawal) -> None:
        from orcha._protocol.messages import Cancel

        super().__init__(lambda number: Cancel(number, token, None))
        self._withdrawal = withdrawal
        withdrawal.left += 1

    def finish(self, error: Exception | None = None) -> None:
        """Count it; the last one ends the withdrawal."""
        if not self.finished:
            super().finish(error)
            self._withdrawal.left -= 1
            if not self._withdrawal.left:
                self._withdrawal.finish()


class Submission(Ticket):
    """Petitions asked for together: finished when each has its answer."""

    def __init__(self, items: Sequence[Item], manager: str | None) -> None:
        super().__init__()
        self.items = items
        self.manager = manager
        self.results: list[Result | None] = [None] * len(items)
        self.left = len(items)
        self.taken = False
        """The sending thread has it."""

    def note(self, result: Result) -> None:
        """Note what became of an item, unless it is known already."""
        if self.results[result.position] is None:
            self.results[result.position] = result
            self.left -= 1

    def unanswered(self) -> list[int]:
        """Give the positions without an answer."""
        return [position for position, result in enumerate(self.results) if result is None]


class Part:
    """The items of a submission that went in one frame."""

    __slots__ = ("follows", "positions", "submission")

    def __init__(self, submission: Submission, positions: list[int], *, follows: bool) -> None:
        self.submission = submission
        self.positions = positions
        self.follows = follows
        """The frame asks to follow its channels, which it does where its items are accepted."""


class Pending:
    """What was asked for and has no answer yet, by number; shared by who sends and who reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[int, Part | Request] = {}
        self._number = 0

    def __bool__(self) -> bool:
        """Whether anything is unanswered."""
        return bool(self._entries)

    def add(self, entry: Part | Request) -> int:
        """Keep what is to be answered; give its number."""
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
        """Give those of a submission's answers that are not noted, and whether their frame asked to follow."""
        with self._lock:
            part = self._entries.get(number)
            if not isinstance(part, Part):
                return []
            submission, positions = part.submission, part.positions
            return [
                (submission.items[positions[result.position]], result, part.follows)
                for result in results
                if submission.results[positions[result.position]] is None
            ]

    def note(self, number: int, results: Iterable[Result]) -> None:
        """Note a submission's answers, and tell who waits for the last of them; once more changes nothing."""
        with self._lock:
            part = self._entries.get(number)
            if not isinstance(part, Part):
                return
            submission = part.submission
            for result in results:
                submission.note(result._replace(position=part.positions[result.position]))
            if not submission.left:
                submission.finish()
            if all(submission.results[position] is not None for position in part.positions):
                del self._entries[number]

    def take_all(self) -> list[Part | Request]:
        """Give everything, in the order asked, and forget it."""
        with self._lock:
            entries, self._entries = self._entries, {}
        return list(entries.values())

    def fail(self, number: int, error: Exception) -> None:
        """End the waiting for what cannot be sent."""
        with self._lock:
            entry = self._entries.pop(number, None)
            if entry is not None:
                (entry.submission if isinstance(entry, Part) else entry).finish(error)

    def fail_all(self, error: Exception) -> None:
        """End all waiting."""
        for entry in self.take_all():
            with self._lock:
                (entry.submission if isinstance(entry, Part) else entry).finish(error)

    def fail_unrepeatable(self, error: Exception) -> None:
        """End the waiting for what must not be done twice and was sent to a service that went away."""
        with self._lock:
            for number, entry in list(self._entries.items()):
                if isinstance(entry, Request) and entry.sent and not entry.repeatable:
                    del self._entries[number]
                    entry.finish(error)


def split(
    items: Sequence[Item], positions: Sequence[int], follow: Callable[[Item], bool]
) -> Iterator[tuple[list[int], bool]]:
    """Cut positions, in order, into what fits a frame; a frame is followed or not as a whole."""
    part: list[int] = []
    size, followed = 0, False
    for position in positions:
        item = items[position]
        cost = len(item.extras) + len(str(item.id)) + _ITEM_OVERHEAD
        wanted = follow(item)
        if part and (len(part) >= MAX_ITEMS or size + cost > MAX_SUBMIT or wanted != followed):
            yield part, followed
            part, size = [], 0
        part.append(position)
        size += cost
        followed = wanted
    if part:
        yield part, followed
