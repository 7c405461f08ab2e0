"""Doing the same to several petitions: what fails for one is said, and the others are done all the same."""

from __future__ import annotations

from orcha._cli import render
from orcha._cli.connection import connected
from orcha._cli.session import NoSuchPetitionError, RefusedError, Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def of(identities: Sequence[str], do: Callable[[Session, str], object]) -> int:
    """Do it to each; give 0, or 1 where it could not be done to one.

    Raises:
        OrchaConnectionError: there is no service.

    """
    code = 0
    with connected() as service:
        for identity in identities:
            try:
                do(service, identity)
            except (NoSuchPetitionError, RefusedError) as error:
                render.note(render.plain(" ".join(str(error).split())))
                code = 1
    return code


__all__ = ["Session", "of"]
