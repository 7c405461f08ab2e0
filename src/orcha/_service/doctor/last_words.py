"""What `orcha doctor` says about an endpoint whose service could not start, or had to end: the end of its last line."""

from __future__ import annotations

from orcha._service.doctor.checks import examine
from orcha._service.doctor.looks import look
from orcha.exceptions import OrchaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._protocol.endpoint import Endpoint

_ENDING = frozenset(
    (
        *("owner", "nobody's", "permissions", "network disk", "full disk", "read-only disk", "clock", "lost state"),
        *("newer schema", "damaged database", "key file", "settings", "limits"),
    )
)
"""Checks whose faults end a service; the others are about its clients and its commands."""
_HINDERING = _ENDING | {"taken port", "two services"}
"""Checks whose faults keep a service from its start."""


def add_last_words(error: OrchaError, endpoint: Endpoint, key: str | None, *, has_served: bool) -> None:
    """Put behind the text of an error what `orcha doctor` finds here, where the text does not say so already.

    The caller holds no lock of the endpoint: a look at the lock's file would release it (fcntl(2)). Whatever goes wrong
    with the looks: the error stays what it was.
    """
    telling = _ENDING if has_served else _HINDERING
    text = str(error)
    try:
        found = [each for each in examine(look(endpoint, key=key, plugins=())) if each.check in telling]
    except Exception:  # noqa: BLE001 - the disk, or the memory, may be what is wrong
        return
    if found and not any(each.text in text for each in found):
        error.args = (f"{text}; orcha doctor: {found[0].check}: {found[0].text}",)


__all__ = ["add_last_words"]
