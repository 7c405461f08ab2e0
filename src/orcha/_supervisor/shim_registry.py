"""The shims that the service is connected to."""

from __future__ import annotations

import os
import select
from itertools import takewhile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from orcha._supervisor.link import ShimLink
    from orcha._supervisor.shim_connection import ShimConnection


SPARE_SHIMS = 1
"""Shims that are asked for beyond those that are needed."""
IDLE_SHIMS = 2 * (os.cpu_count() or 1) + 4
"""Idle shims that are kept for any time."""
SURPLUS_SECONDS = 1.0
"""How long further idle shims are kept; then until the reader thread goes on. Nothing wakes that thread for them, so
they may live until its next look at the shims. Of many short commands that run at once, the ends that one transaction
keeps free more shims than that, and the commands that start in their places need these shims a moment later: without
this time three of four such commands cost a fork of the supervisor, which takes longer than the command."""


class ShimRegistry:
    """All connected shims by descriptor and by attempt, and the idle ones. Guarded by its owner's lock."""

    def __init__(self) -> None:
        """Begin without shims."""
        self.epoll = select.epoll()
        self.by_key: dict[tuple[int, int], ShimConnection] = {}
        self.idle: list[ShimConnection] = []
        self.unsettled: list[ShimConnection] = []
        """Shims that were freed, and are told so together with their next message, or by `settle`."""
        self.by_descriptor: dict[int, ShimConnection] = {}
        """All connected shims."""

    def __iter__(self) -> Iterator[ShimConnection]:
        """Iterate over a copy of all shims."""
        return iter(list(self.by_descriptor.values()))

    def __bool__(self) -> bool:
        """Return whether there is any shim."""
        return bool(self.by_descriptor)

    def __contains__(self, shim: ShimConnection) -> bool:
        """Return whether a shim is still connected."""
        return self.by_descriptor.get(shim.link.descriptor) is shim

    def add(self, shim: ShimConnection) -> None:
        """Add a shim; its messages are read from now on."""
        self.by_descriptor[shim.link.descriptor] = shim
        if shim.key is not None:
            self.by_key[shim.key] = shim
        shim.link.watch = self._watch
        self.epoll.register(shim.link.descriptor, select.EPOLLIN)

    def remove(self, shim: ShimConnection) -> None:
        """Remove a shim, and close its connection."""
        if shim not in self:
            return
        del self.by_descriptor[shim.link.descriptor]
        self.epoll.unregister(shim.link.descriptor)
        shim.link.close()
        if shim in self.idle:
            self.idle.remove(shim)
        if shim.key is not None:
            self.by_key.pop(shim.key, None)

    def free(self, shim: ShimConnection) -> None:
        """Take the attempt from a shim; the shim hears of that together with its next attempt, and wakes once."""
        assert shim.key is not None
        seq, attempt = shim.key
        shim.link.hold({"t": "forget", "s": seq, "a": attempt})
        self.unsettled.append(shim)
        del self.by_key[shim.key]
        shim.free()

    def rest(self, shim: ShimConnection, now: float) -> None:
        """Have a shim without an attempt wait for one."""
        shim.idle_since = now
        self.idle.append(shim)

    @property
    def has_surplus(self) -> bool:
        """Whether more shims are idle than are kept for any time."""
        return len(self.idle) > IDLE_SHIMS

    def surplus(self, now: float) -> list[ShimConnection]:
        """Return the idle shims that are kept no longer; the shim that was freed last gets the next attempt."""
        return list(takewhile(lambda shim: now - shim.idle_since >= SURPLUS_SECONDS, self.idle[:-IDLE_SHIMS]))

    def settle(self) -> None:
        """Tell the freed shims that have got no other message since."""
        freed, self.unsettled = self.unsettled, []
        for shim in freed:
            if shim.link.holds and shim.link.is_open:
                shim.link.release()

    def _watch(self, link: ShimLink, *, writing: bool) -> None:
        self.epoll.modify(link.descriptor, select.EPOLLIN | (select.EPOLLOUT if writing else 0))
