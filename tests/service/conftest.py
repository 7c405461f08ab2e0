"""Fixtures for tests with the real service and the real command of the document's plugin."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orcha.lib import ClientManager
from support.document import Document
from support.gates import Gate
from support.service import Serve


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Let clients be interrupted also where the tests run in the background of a shell: there SIGINT is ignored."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def variant(serve: Serve, gate: Gate, tmp_path: Path) -> Callable[..., Document]:
    """Give a function that starts a service of the variant, with a gate and a ledger."""

    def start(**environment: str) -> Document:
        own = {"TEST_GATE": gate.path, "TEST_LEDGER": str(tmp_path / "ledger"), "TEST_HOLD": str(tmp_path / "hold")}
        return Document(serve, **own | environment)

    return start


@pytest.fixture
def observer(connect: Callable[..., ClientManager]) -> Callable[[Document], Any]:
    """Give a function that connects a client, to look at and cancel petitions."""
    return lambda document: connect(document.service)


@pytest.fixture
def ledger(tmp_path: Path) -> Callable[[], list[str]]:
    """Give a function that reads what hooks and actions noted."""

    def read() -> list[str]:
        path = tmp_path / "ledger"
        return path.read_text().splitlines() if path.exists() else []

    return read
