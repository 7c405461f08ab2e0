"""Properties of the core are looked at without coverage."""

from __future__ import annotations

from collections.abc import Iterator

import coverage
import pytest


@pytest.fixture(autouse=True)
def _untraced(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let examples alone count for the coverage: which branches chance reaches differs from run to run.

    A property under coverage takes four times as long, too.
    """
    running = coverage.Coverage.current() if getattr(request.node.obj, "is_hypothesis_test", False) else None
    if running is not None:
        running.stop()
    yield
    if running is not None:
        running.start()
