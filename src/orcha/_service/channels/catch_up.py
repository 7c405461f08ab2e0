"""How fast followers that are behind catch up: no faster than their clients take what they are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._server.server import Peer
    from orcha._service.channels.channel_book import Channel, Follower

MAX_AHEAD_BYTES = 8 << 20
"""Bytes of kept records that may wait for one client; new records are sent beside them."""
MIN_DELAY_SECONDS, MAX_DELAY_SECONDS = 0.01, 0.5
"""Seconds after which a client that had to wait is looked at again; longer where it takes nothing."""


class CatchUpPace:
    """Which followers may be sent kept records, and which have to wait; the engine thread's."""

    def __init__(
        self, later: Callable[[float, Callable[[], None]], None], again: Callable[[Channel, Follower], None]
    ) -> None:
        """Have calls made `later`, after a number of seconds, and followers be caught up `again`."""
        self._later = later
        self._again = again
        self.sent: dict[int, int] = {}
        """The bytes of kept records that each client was sent in this batch."""
        """Bytes of what is kept that each client, by number, is sent in this batch."""
        self._behind: dict[tuple[int, bytes], tuple[Channel, Follower]] = {}
        self._delay = MIN_DELAY_SECONDS
        self._waits = False

    def may_go_on(self, peer: Peer) -> bool:
        """Tell whether a client may be sent more of what is kept now."""
        return self.sent.get(peer.id, 0) + peer.backlog < MAX_AHEAD_BYTES

    def note(self, peer: Peer, size: int) -> None:
        """Note what a client is sent in this batch."""
        self.sent[peer.id] = self.sent.get(peer.id, 0) + size

    def batch_is_sent(self) -> None:
        """Note that what clients were sent in this batch is in their connections' backlogs."""
        self.sent = {}

    def put_off(self, channel: Channel, follower: Follower) -> None:
        """Have a follower go on later."""
        self._behind[follower.peer.id, channel.id] = (channel, follower)
        if not self._waits:
            self._waits = True
            self._later(self._delay, self._look)

    def forget(self, peer: Peer) -> None:
        """Drop a client that is gone."""
        self._behind = {key: those for key, those in self._behind.items() if key[0] != peer.id}

    def _look(self) -> None:
        """Let followers go on whose clients have taken enough."""
        self._waits = False
        behind, self._behind = self._behind, {}
        for channel, follower in behind.values():
            if channel.followers.get(follower.peer.id) is follower:
                self._again(channel, follower)
        stuck = len(self._behind) >= len(behind)
        self._delay = min(self._delay * 2, MAX_DELAY_SECONDS) if stuck else MIN_DELAY_SECONDS
