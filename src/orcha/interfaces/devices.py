"""Which devices an attempt has, for the code of its action."""

from __future__ import annotations

from orcha.interfaces.petition import HANDLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from orcha.interfaces.petition import Petition


def devices_of(petition: Petition) -> Mapping[str, tuple[str, ...]]:
    """Give the names of the devices that the running attempt of a petition has, by resource.

    They are the attempt's own from the call of `action` until nothing of the attempt is left. Commands find them in
    variables, as ``ORCHA_GPU``. Call this in the service's process, and hand the names to the processes that the action
    starts: in another process, and before the attempt runs, there are none.

    Args:
        petition: what the manager made, as the action gets it.

    Returns:
        The names by resource, for each resource that has devices and that the petition's policy needs.

    Example::

        def action(callback, petition):
            (gpu,) = devices_of(petition)["gpu"]  # Policy(needs={"gpu": 1})

    """
    handle = getattr(petition, HANDLE, None)
    devices = getattr(handle, "devices", None)
    return {} if devices is None else dict(devices)


__all__ = ["devices_of"]
