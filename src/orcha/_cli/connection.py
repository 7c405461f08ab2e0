"""The connection of a verb to the service that the options before the command name."""

from __future__ import annotations

from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orcha._cli.session import Session


@contextmanager
def connected(notify: Callable[[str], None] | None = None, *, runs: bool = False) -> Iterator[Session]:
    """Give a connected client, and close it.

    Args:
        notify: takes a line for people when the service went away or is back; None for stderr.
        runs: a command is to run there, as :func:`orcha._cli.session.session` says.

    Raises:
        OrchaConnectionError: nobody listens there.
        AuthenticationError: the service does not accept the key.

    """
    from orcha._cli.session import session

    client = session(notify, runs=runs)
    try:
        client.connect()
        yield client
    finally:
        client.close()
