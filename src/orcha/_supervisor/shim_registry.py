"""The shims that the service is connected to."""

from __future__ import annotations

import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from orcha._supervisor.link import ShimLink
    from orcha._supervisor.shim_connection import ShimConnection


SPARE_SHIMS = 1
"""Shims asked for beyond those that are needed now."""
IDLE_SHIMS = 2 * (os.cpu_count() or 1) + 4
"""Shims kept for later."""


class ShimRegistry:
    """All connected shims, by descriptor and by attempt, and which of them are idle. Guarded by its owner's lock."""

    def __init__(self) -> None:
        """Begin with none."""
        self.epoll = select.epoll()
        self.by_key: dict[tuple[int, int], ShimConnection] = {}
        self.idle: list[ShimConnection] = []
        self.unsettled: list[ShimConnection] = []
        """Shims that were freed, and are told so with what they are told next, or by `settle`."""
        self._by_descriptor: dict[int, ShimConnection] = {}

    def __iter__(self) -> Iterator[ShimConnection]:
        """Give all, as they are now."""
        return iter(list(self._by_descriptor.values()))

    def __bool__(self) -> bool:
        """Say whether there is any."""
        return bool(self._by_descriptor)

    def __contains__(self, shim: ShimConnection) -> bool:
        """Say whether it is connected still."""
        return self._by_descriptor.get(shim.link.descriptor) is shim

    def at(self, descriptor: int) -> ShimConnection | None:
        """Give the shim at a descriptor."""
        return self._by_descriptor.get(descriptor)

    def add(self, shim: ShimConnection) -> None:
        """Listen to a shim from now on."""
        self._by_descriptor[shim.link.descriptor] = shim
        if shim.key is not None:
            self.by_key[shim.key] = shim
        shim.link.watch = self._watch
        self.epoll.register(shim.link.descriptor, select.EPOLLIN)

    def remove(self, shim: ShimConnection) -> None:
        """Let go of a shim; its connection is closed."""
        if shim not in self:
            return
        del self._by_descriptor[shim.link.descriptor]
        self.epoll.unregister(shim.link.descriptor)
        shim.link.close()
        if shim in self.idle:
            self.idle.remove(shim)
        if shim.key is not None:
            self.by_key.pop(shim.key, None)

    def free(self, shim: ShimConnection) -> None:
        """Have a shim without an attempt; it is told with its next one, which spares it a turn."""
        assert shim.key is not None
        seq, attempt = shim.key
        shim.link.hold({"t": "forget", "s": seq, "a": attempt})
        self.unsettled.append(shim)
        del self.by_key[shim.key]
        shim.free()

    def settle(self) -> None:
        """Tell those that were freed and have got nothing else since."""
        freed, self.unsettled = self.unsettled, []
        for shim in freed:
            if shim.link.holds and shim.link.is_open:
                shim.link.release()

    def _watch(self, link: ShimLink, *, writing: bool) -> None:
        self.epoll.modify(link.descriptor, select.EPOLLIN | (select.EPOLLOUT if writing else 0))
