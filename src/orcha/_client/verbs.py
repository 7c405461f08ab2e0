"""What a client asks about petitions that are there, beside submit, cancel, follow and list."""

from __future__ import annotations

from abc import ABC, abstractmethod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._protocol.messages import ClientMessage, Reply


class Verbs(ABC):
    """One method a verb; each gives the service's Reply, whose `verdict` says whether it was done.

    A petition is named by its id, or by its sequence number where `seq` is given. Verdicts: OK; UNKNOWN, there is no
    such petition; DENIED, it is somebody else's; REFUSED, it is in a state in which that cannot be, as the reason
    says. Each method raises OrchaConnectionError where there is no service.
    """

    @abstractmethod
    def _ask(self, build: Callable[[int], ClientMessage], *, repeatable: bool = True) -> Reply:
        """Send a request and give its answer."""

    def show(self, id: str | None = None, *, seq: int | None = None) -> Reply:  # noqa: A002
        """Ask for everything about a petition: `client.decode(reply.value)` is a dict, its keys are in docs/wire.md."""
        from orcha._protocol.messages import Show

        return self._ask(lambda number: Show(number, id, seq))

    def set_priority(self, priority: float, id: str | None = None, *, seq: int | None = None) -> Reply:  # noqa: A002
        """Give a waiting petition another priority; REFUSED for one that does not wait."""
        from orcha._protocol.messages import Priority

        return self._ask(lambda number: Priority(number, id, seq, priority))

    def pause(self, id: str | None = None, *, seq: int | None = None, group: str | None = None) -> Reply:  # noqa: A002
        """Stop a running petition's processes (SIGSTOP) or hold back a waiting one; start no more of a group; or, with
        nothing named, start nothing at all.
        """  # noqa: D205
        from orcha._protocol.messages import Pause

        return self._ask(lambda number: Pause(number, id, seq, group))

    def resume(self, id: str | None = None, *, seq: int | None = None, group: str | None = None) -> Reply:  # noqa: A002
        """Undo the `pause` with the same arguments."""
        from orcha._protocol.messages import Resume

        return self._ask(lambda number: Resume(number, id, seq, group))

    def remove(self, id: str | None = None, *, seq: int | None = None) -> Reply:  # noqa: A002
        """Forget an ended petition and its output now; REFUSED for one that has not ended."""
        from orcha._protocol.messages import Remove

        return self._ask(lambda number: Remove(number, id, seq))

    def retry(self, id: str | None = None, *, seq: int | None = None, token: bytes | None = None) -> Reply:  # noqa: A002
        """Ask for an ended petition once more, as a new one; `client.decode(reply.value)` has its seq, id and channel.

        The same token is the same new petition; None for a new token.
        """
        from orcha._client.channel import new_identity
        from orcha._protocol.messages import Retry

        chosen = token or new_identity()
        return self._ask(lambda number: Retry(number, chosen, id, seq))

    def stats(self) -> Reply:
        """Ask for counts, rates and waiting times: `client.decode(reply.value)` is a dict, as docs/wire.md says."""
        from orcha._protocol.messages import Stats

        return self._ask(Stats)

    def stop(self, *, keep_commands: bool = False, now: bool = False, end_commands: bool = False) -> Reply:
        """Have the service stop in good order; the answer comes when it has begun to."""
        from orcha._protocol.messages import Stop

        return self._ask(lambda number: Stop(number, keep_commands, now, end_commands))

    def stdin(self, seq: int, attempt: int, offset: int, data: bytes, *, end: bool = False) -> Reply:
        """Bring bytes for a running command's standard input; returns when there is room for more.

        Args:
            seq: the petition.
            attempt: its attempt; GONE where that is over.
            offset: how many bytes came before.
            data: the bytes, 1 MiB at most.
            end: nothing comes after these.

        Returns:
            The reply; its decoded value is how many bytes the command got so far: go on from there.

        """
        from orcha._protocol.messages import Stdin

        return self._ask(lambda number: Stdin(number, seq, attempt, offset, data, end))

    def resize(self, seq: int, attempt: int, rows: int, columns: int) -> Reply:
        """Tell a running command's terminal its size; GONE where the attempt is over or has no terminal."""
        from orcha._protocol.messages import Resize

        return self._ask(lambda number: Resize(number, seq, attempt, rows, columns))
