"""The errors that Orcha raises by itself, each with the exit code a command ends with when nobody catches it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from orcha.interfaces.message import Message


class OrchaError(Exception):
    """Orcha could not do what was asked."""

    exit_code: int = 1
    """What a command exits with where this error ends it (sysexits.h where it has a number for it)."""

    def __str__(self) -> str:
        """Give the message it was raised with, else the first paragraph of the class's documentation."""
        if self.args:
            return str(self.args[-1])
        paragraph = (type(self).__doc__ or type(self).__name__).strip().partition("\n\n")[0]
        return " ".join(paragraph.split())


class OrchaConnectionError(OrchaError, ConnectionRefusedError):
    """No service answers there: start it (orcha serve --background), or give its --listen-address and --port.

    Also a :class:`ConnectionRefusedError`, hence an :class:`OSError`.
    """

    exit_code = 69


class EndpointInUseError(OrchaError):
    """Another service serves this address and port already: stop it, or choose another --port before the command."""

    exit_code = 69


class AuthenticationError(OrchaError):
    """The service does not accept this key: give both sides the same --key, or run both as one user without any."""

    exit_code = 77


class ConfigurationError(OrchaError, ValueError):
    """A setting does not hold together with the others, or with what Orcha finds on this machine.

    Also a :class:`ValueError`: that is what a wrong value is.
    """

    exit_code = 78


class RejectedError(OrchaError):
    """The service refused messages that have no channel to say it on.

    Example::

        try:
            manager.send_many(messages)
        except RejectedError as error:
            for message, reason in error.rejected:
                print(message.id, reason)
    """

    accepted: tuple[Message, ...]
    """The messages that were accepted, in the order they were given."""
    rejected: tuple[tuple[Message, str], ...]
    """Each refused message with the service's reason, in the order they were given."""

    def __init__(self, accepted: Iterable[Message], rejected: Iterable[tuple[Message, str]]) -> None:
        """Keep what became of each message."""
        self.accepted = tuple(accepted)
        self.rejected = tuple(rejected)
        super().__init__(self.accepted, self.rejected)

    def __str__(self) -> str:
        """Name the refused messages, the first three of them with their reasons."""
        shown = "; ".join(f"{message.id}: {reason}" for message, reason in self.rejected[:3])
        more = len(self.rejected) - 3
        total = len(self.accepted) + len(self.rejected)
        return f"{len(self.rejected)} of {total} refused: {shown}" + (f"; and {more} more" if more > 0 else "")


class ConditionFailed(OrchaError):  # noqa: N818 - an answer as much as an error, and plugins know it by this name
    """The condition does not hold yet.

    A condition may return it or raise it. It is false, so that ``if condition(petition)`` reads as it should, and its
    reason is what ``orcha ps`` shows for the petition that waits.

    Example::

        def condition(self, petition):
            return self.rig_is_free(3) or ConditionFailed("waiting for rig 3")
    """

    reason: str
    """Why the petition has to wait, for people."""
    for_all: bool
    """No petition of this manager may start now: the others that wait need not be asked at this moment."""

    def __init__(self, reason: str = "its condition does not hold yet", *, for_all: bool = False) -> None:
        """Keep the reason."""
        self.reason = reason
        self.for_all = for_all
        super().__init__(reason)

    def __bool__(self) -> bool:
        """Be false: a condition that returns it said no."""
        return False

    def __eq__(self, other: object) -> bool:
        """Compare by reason."""
        return isinstance(other, ConditionFailed) and other.reason == self.reason

    def __hash__(self) -> int:
        """Hash by reason."""
        return hash(self.reason)


class StaleCall(BaseException):
    """This hook outlived its deadline and was given up: what it still asks of Orcha is not done.

    Not an :class:`Exception`, so that a plugin's ``except Exception`` lets it end the call.
    """

    def __str__(self) -> str:
        """Give the message it was raised with, else what it means."""
        return str(self.args[0]) if self.args else "this hook outlived its deadline and was given up"
