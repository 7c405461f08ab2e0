"""Fixtures: a scripted service, and clients that are closed after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from client.scripted import ScriptedService
from orcha._client.client import Client
from orcha._protocol import values
from orcha._protocol.endpoint import Endpoint
from orcha._protocol.identities import new_identity
from orcha._protocol.messages import Item


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedService]]:
    """Give a function that starts scripted services."""
    services: list[ScriptedService] = []

    def start(*args: Any, **kwargs: Any) -> ScriptedService:
        services.append(ScriptedService(*args, **kwargs))
        return services[-1]

    yield start
    for service in services:
        service.close()


@pytest.fixture
def client_of(scripted: Any) -> Iterator[Callable[..., Client]]:
    """Give a function that connects a client to a scripted service; its notices go to `client.notices`."""
    clients: list[Client] = []

    def make(service: Any, *, connect: bool = True, reconnect: float = 30.0) -> Client:
        notices: list[str] = []
        client = Client(Endpoint("127.0.0.1", 1), None, reconnect=reconnect, notify=notices.append, dial=service.dial)
        client.notices = notices
        clients.append(client)
        if connect:
            client.connect()
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def item() -> Callable[..., Item]:
    """Give a function that makes what a submit asks for."""

    def make(name: str = "a", channel: Any = None, extras: Any = None) -> Item:
        identity = channel.__orcha_channel__ if channel is not None else None
        return Item(new_identity(), name, values.encode(extras or {}), identity)

    return make


@pytest.fixture
def read() -> Callable[..., list[Any]]:
    """Give a function that reads a channel up to its next final value."""

    def until_final(channel: Any) -> list[Any]:
        got = [channel.get(timeout=30)]
        while not (got[-1] is None or isinstance(got[-1], int)):
            got.append(channel.get(timeout=30))
        return got

    return until_final
