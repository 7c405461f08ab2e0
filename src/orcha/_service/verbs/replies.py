"""What a client is told where something goes wrong with its message, or with the answer: that client alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from orcha._protocol.frames import FrameError, encode
from orcha._protocol.messages import Error, Gone, Reply, Result, Rows, Stopping, Submit, Submitted, Verdict
from orcha._service.reports.explanations import cleaned, describe
from orcha.exceptions.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._server.server import Peer
    from orcha._service.engine import Engine


def obey(engine: Engine, handler: Callable[[Any, Any, Any], None], peer: Peer, message: Any) -> None:
    """Have a verb's handler called; where that raises, its client is told so, and nobody else hears of it.

    What the store raises ends the engine: nothing may be acknowledged after it.
    """
    try:
        handler(engine, peer, message)
    except StoreError:
        raise
    except Exception as error:  # noqa: BLE001 - what fails for one client must not end the service for all
        name = type(message).__name__
        engine.report(logging.ERROR, "%s of client %s failed", name, peer.identity, error=error)
        engine.reply(
            peer, _failed(message, f"the service failed at this {name}: {describe(error)}; its log says where")
        )


def encoded(engine: Engine, message: Any) -> bytes:
    """Give the frame of an answer; where it cannot be one, that of an answer that says so."""
    try:
        return encode(message)
    except FrameError as error:
        engine.report(logging.ERROR, "an answer cannot be sent: %s", error)
        try:
            return encode(_instead_of(message, error))
        except FrameError:
            return encode(Error(f"an answer cannot be sent: {describe(error)}"))


def _failed(message: Any, reason: str) -> Reply | Submitted | Error:
    """Give the answer to a message whose handler raised."""
    request = getattr(message, "request", None)
    if request is None:
        return Error(reason)
    if isinstance(message, Submit):
        refused = [Result(position, Verdict.REFUSED, None, reason) for position in range(len(message.items))]
        return Submitted(request, refused)
    return Reply(request, Verdict.RAISED, None, reason)


def _instead_of(message: Any, error: FrameError) -> Reply | Submitted | Gone | Stopping | Error:
    """Give what is sent in place of a message that is no frame: what is too long, or no text, is left out."""
    if isinstance(message, Submitted):
        return Submitted(message.request, [_cleaned(result) for result in message.results])
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
