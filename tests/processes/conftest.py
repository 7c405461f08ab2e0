"""Fixtures for the tests of processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orcha._processes import attempt_processes, attempt_tracking, tag
from processes.fake_services import FakeService


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeService]:
    """Give a fake service that is not started yet; what it leaves is ended."""
    service = FakeService(tmp_path)
    yield service
    service.close()


@pytest.fixture
def tagged() -> Iterator[attempt_processes.TaggedProcesses]:
    """Have this process follow its attempts, as a service does."""
    followed = attempt_processes.TaggedProcesses(tag.new_nonce())
    attempt_tracking.install(attempt_tracking.ServiceState(followed))
    yield followed
    attempt_tracking.uninstall()
