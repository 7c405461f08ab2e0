"""What clients of command_service.py share."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from orcha._cli.session import MANAGER, Session
from orcha._protocol import values
from orcha._protocol.endpoint import Endpoint
from orcha._protocol.identities import new_identity
from orcha._protocol.messages import Item
from peer_work import expect

if TYPE_CHECKING:
    from orcha._client.channel import ClientChannel


def connect(port: int) -> Session:
    """Give a connected client."""
    session = Session(Endpoint("127.0.0.1", port), None)
    session.connect()
    return session


def item(argv: list[str], channel: ClientChannel, **extras: Any) -> Item:
    """Make what a submit asks for."""
    identity = new_identity()
    content = {"argv": argv, "cwd": "/", "queue": channel, **extras}
    return Item(identity, identity.hex(), values.encode(content), channel.__orcha_channel__)


def echo(session: Session) -> float:
    """Run a command that prints "hi", wait for its end; give when its output came."""
    channel = session.channel()
    session.submit([item(["/bin/echo", "hi"], channel)], MANAGER)
    value = channel.get()
    came = time.perf_counter()
    expect(value, (1, b"hi\n"))
    expect(channel.get(), 0)
    return came


def true(session: Session, count: int) -> None:
    """Run so many commands that do nothing, wait for the ends of all."""
    channel = session.channel()
    session.submit([item(["/bin/true"], channel) for _ in range(count)], MANAGER)
    for _ in range(count):
        expect(channel.get(), 0)
