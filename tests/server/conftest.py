"""A server in this process, and clients of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orcha._client.connection import ServiceConnection
from orcha._client.dial import dial
from orcha._server.server import _make_loop
from server.answering import Answering


@pytest.fixture(scope="session", autouse=True)
def _first_loop() -> None:
    """Make a loop before anything is counted: the first one of a process leaves a pipe to all of them."""
    _make_loop(None).close()


@pytest.fixture
def answering(orcha_home: Path) -> Iterator[Callable[..., Answering]]:
    """Give a function that starts servers; they are stopped after the test, and must have had no problem."""
    started: list[Answering] = []

    def start(**settings: Any) -> Answering:
        started.append(Answering(orcha_home, **settings))
        return started[-1]

    yield start
    for server in started:
        server.server.stop(5)
    assert not [problem for server in started for problem in server.problems]


@pytest.fixture
def links() -> Iterator[Callable[..., ServiceConnection]]:
    """Give `dial`; what it connected is closed after the test."""
    made: list[ServiceConnection] = []

    def connect(*arguments: Any, **options: Any) -> ServiceConnection:
        options.setdefault("timeout", 30)
        made.append(dial(*arguments, **options))
        return made[-1]

    yield connect
    for link in made:
        link.close()
