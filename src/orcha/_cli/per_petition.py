"""One verb for several petitions: an error of one petition is printed, and the verb goes on with the others."""

from __future__ import annotations

from contextlib import contextmanager

from orcha._cli import render
from orcha._cli.connection import connected
from orcha._cli.session import NoSuchPetitionError, Session, VerbRefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orcha.exceptions import OrchaError


ONE_PETITIONS_ERRORS = (NoSuchPetitionError, VerbRefusedError)
"""After an error of one petition the verb goes on with the others."""


def do_for_each(identities: Sequence[str], do: Callable[[Session, str], object]) -> int:
    """Call `do` for each petition; give 0, or 1 where a call failed.

    Raises:
        OrchaConnectionError: there is no service.

    """
    code = 0
    with connected() as service:
        for identity in identities:
            with errors_said() as failed:
                do(service, identity)
            code = code or int(bool(failed))
    return code


@contextmanager
def errors_said() -> Iterator[list[OrchaError]]:
    """Print the error of one petition on stderr, and go on; the list then holds the error.

    Raises:
        OrchaConnectionError: there is no service, so that the other petitions cannot be done either.

    """
    failed: list[OrchaError] = []
    try:
        yield failed
    except ONE_PETITIONS_ERRORS as error:
        say_error(error)
        failed.append(error)


def say_error(error: Exception) -> None:
    """Print an error as one line on stderr."""
    render.note(render.plain(" ".join(str(error).split())))


__all__ = ["ONE_PETITIONS_ERRORS", "Session", "do_for_each", "errors_said", "say_error"]
