"""Which of two services a verb means that works with files: root has one of root's own, and the machine has one."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._protocol.endpoint import Endpoint


def is_open(place: Endpoint) -> bool:
    """Tell whether nothing says which is meant: a client of root's would look for root's own, then for the machine's.

    Nobody else can use the files of both.
    """
    from orcha.utils.system_paths import system_socket

    return not os.geteuid() and not place.is_system and system_socket() in place.socket_paths()


def has_machines_service() -> bool:
    """Tell whether there is a state, or a configuration, of a service of the whole machine."""
    from orcha.utils.system_paths import system_configuration, system_state

    return any(os.path.lexists(path) for path in (system_state(), system_configuration()))


def question(verb: str, file: str, what: str) -> str:
    """Give the line that says what is not clear, and what to write.

    >>> print(question("restore", "a.tar", "this machine has a service"))
    this machine has a service, and root may have another one: say which (orcha --service system restore a.tar, or\
 orcha --service user restore a.tar)
    """
    ways = (f"orcha --service {each} {verb} {file}" for each in ("system", "user"))
    return f"{what}, and root may have another one: say which ({', or '.join(ways)})"


__all__ = ["has_machines_service", "is_open", "question"]
