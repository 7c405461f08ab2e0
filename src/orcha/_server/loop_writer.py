"""The way of frames through the loop: what another thread could not write by itself, in order, with one wake-up."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from orcha._server.peer import Peer


class LoopWriter:
    """Frames that the loop thread is to write."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop_thread: int | None = None
        """Identifier of the loop thread, once that runs."""
        self._loop = loop
        self._queue: deque[tuple[Peer, bytes | None]] = deque()
        self._is_woken = False

    def write(self, peer: Peer, data: bytes) -> None:
        """Have the loop thread write frames."""
        self._put(peer, data)

    def close(self, peer: Peer) -> None:
        """Have the loop thread close a connection, after the frames before; later frames are dropped."""
        self._put(peer, None)

    def _put(self, peer: Peer, data: bytes | None) -> None:
        self._queue.append((peer, data))
        if self._is_woken:
            return
        self._is_woken = True
        if threading.get_ident() == self.loop_thread:
            self._loop.call_soon(self.flush)
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to send to
            self._loop.call_soon_threadsafe(self.flush)

    def flush(self) -> None:
        """Write everything that waits; on the loop thread."""
        self._is_woken = False
        waiting: dict[Peer, list[bytes]] = {}
        leaving: set[Peer] = set()
        while self._queue:
            peer, data = self._queue.popleft()
            if data is None:
                leaving.add(peer)
            elif peer not in leaving:
                waiting.setdefault(peer, []).append(data)
        for peer, frames in waiting.items():
            data = frames[0] if len(frames) == 1 else b"".join(frames)
            peer.connection.write(data)
            peer.connection.direct.taken_over(len(frames), len(data))
        for peer in leaving:
            peer.connection.close()
