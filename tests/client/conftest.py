"""Fixtures: a scripted service, and clients that are closed after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.scripted import ScriptedService

from orcha._wire.client import Client


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedService]]:
    """Give a function that starts scripted services."""
    services: list[ScriptedService] = []

    def start(*args: Any, **kwargs: Any) -> ScriptedService:
        services.append(ScriptedService(*args, **kwargs))
        return services[-1]

    yield start
    for service in services:
        service.stop()


@pytest.fixture
def client_of(scripted: Any) -> Iterator[Callable[..., Client]]:
    """Give a function that connects a client to a scripted service; its notices go to `client.notices`."""
    clients: list[Client] = []

    def make(service: ScriptedService, *, connect: bool = True, reconnect: float = 30.0) -> Client:
        notices: list[str] = []
        client = Client(None, None, reconnect=reconnect, notify=notices.append, dial=service.dial)
        client.notices = notices
        clients.append(client)
        if connect:
            client.connect()
        return client

    yield make
    for client in clients:
        client.close()
