"""Doing the same to several petitions: what fails for one is said, and the others are done all the same."""

from __future__ import annotations

from contextlib import contextmanager

from orcha._cli import render
from orcha._cli.connection import connected
from orcha._cli.session import NoSuchPetitionError, RefusedError, Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orcha.exceptions import OrchaError


OF_ONE = (NoSuchPetitionError, RefusedError)
"""What is wrong with one petition, and says nothing of the others."""


def of(identities: Sequence[str], do: Callable[[Session, str], object]) -> int:
    """Do it to each; give 0, or 1 where it could not be done to one.

    Raises:
        OrchaConnectionError: there is no service.

    """
    code = 0
    with connected() as service:
        for identity in identities:
            with saying() as failed:
                do(service, identity)
            code = code or int(bool(failed))
    return code


@contextmanager
def saying() -> Iterator[list[OrchaError]]:
    """Say on stderr what cannot be done for one petition, and go on; the list then holds why.

    Raises:
        OrchaConnectionError: there is no service, and so nothing can be done for the others either.

    """
    failed: list[OrchaError] = []
    try:
        yield failed
    except OF_ONE as error:
        say(error)
        failed.append(error)


def say(error: Exception) -> None:
    """Say in a line on stderr why something was not done."""
    render.note(render.plain(" ".join(str(error).split())))


__all__ = ["OF_ONE", "Session", "of", "say", "saying"]
