"""Answers for clients: an answer leaves once its content is kept; a client is told where its answer fits no frame."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from orcha._protocol.frames import FrameError, encode
from orcha._protocol.messages import Error, Gone, Reply, Result, Rows, Stopping, Submit, Submitted, Verdict
from orcha._service import faults
from orcha._service.reports.explanations import cleaned, describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._server.server import Peer

    Send = Callable[[list[tuple[Peer, bytes]]], None]
    """Takes frames, each for a client."""


def send_nothing(_: list[tuple[Peer, bytes]]) -> None:
    """Drop frames: there is no server yet, and so no client."""


class Outbox:
    """The replies that the next batch sends; the engine's."""

    def __init__(self, send: Send, report: Callable[..., None]) -> None:
        """Hand frames to `send`, and say to `report` where an answer is no frame."""
        self._send = send
        self._report = report
        self.frames: list[tuple[Peer, bytes]] = []
        """The replies that have gathered."""
        self.waiting: list[Callable[[], object]] = []
        """Calls that are made once this batch is kept."""
        self.told: Callable[[Peer, Any], None] | None = None
        """Is told of each answer, while an answer is waited for by who keeps what clients do."""
        self.peers: dict[int, Peer] = {}
        """The connected clients, by number."""

    def send_by(self, send: Send) -> None:
        """Hand frames to `send` from now on."""
        self._send = send

    def reply(self, peer: Peer, message: Any) -> None:
        """Send a message once its content is kept."""
        if self.told is not None:
            self.told(peer, message)
        self.frames.append((peer, _encoded(message, self._report)))

    def reply_frame(self, peer: Peer, frame: bytes) -> None:
        """Send an encoded message once its content is kept."""
        self.frames.append((peer, frame))

    def after(self, call: Callable[[], object]) -> None:
        """Have `call` made once this batch is kept, before its replies leave."""
        self.waiting.append(call)

    def send(self) -> None:
        """Send the gathered replies."""
        frames, self.frames = self.frames, []
        self._send(frames)
        if faults.CRASHES:
            faults.reach("reply.after-send")

    def send_to_all(self, frame: bytes) -> None:
        """Send a frame to every client at once, whatever is kept."""
        self._send([(peer, frame) for peer in self.peers.values()])


def _encoded(message: Any, report: Callable[..., None]) -> bytes:
    """Give the frame of an answer; where the answer fits no frame, the frame of an answer that says so."""
    try:
        return encode(message)
    except FrameError as error:
        report(logging.ERROR, "an answer cannot be sent: %s", error)
        try:
            return encode(_instead_of(message, error))
        except FrameError:
            return encode(Error(f"an answer cannot be sent: {describe(error)}"))


def failed(message: Any, reason: str) -> Reply | Submitted | Error:
    """Give the answer to a message whose verb raised."""
    request = getattr(message, "request", None)
    if request is None:
        return Error(reason)
    if isinstance(message, Submit):
        refused = [Result(position, Verdict.REFUSED, None, reason) for position in range(len(message.items))]
        return Submitted(request, refused)
    return Reply(request, Verdict.RAISED, None, reason)


def _instead_of(message: Any, error: FrameError) -> Reply | Submitted | Gone | Stopping | Error:
    """Give the message in place of a message that fits no frame: fields that are too long, or no text, are left out."""
    if isinstance(message, Submitted):
        return Submitted(message.request, [_cleaned(result) for result in message.results], message.notes)
    if isinstance(message, Reply) and message.value is None:
        return Reply(message.request, message.verdict, None, _short(message.reason))
    if isinstance(message, Reply | Rows):
        return Reply(message.request, Verdict.RAISED, None, f"the answer cannot be sent: {describe(error)}")
    if isinstance(message, Gone):
        return Gone(message.channel, cleaned(message.reason))
    if isinstance(message, Stopping):
        return Stopping(cleaned(message.reason))
    return Error(f"an answer cannot be sent: {describe(error)}")


def _cleaned(result: Result) -> Result:
    return result._replace(reason=_short(result.reason))


def _short(reason: str | None) -> str | None:
    return None if reason is None else cleaned(reason)
