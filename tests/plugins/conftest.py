"""Fixtures for the tests of plugins."""

from __future__ import annotations

import pytest

from support.command import Command


@pytest.fixture
def orcha(tmp_path):
    """Give the command, in a world of its own."""
    return Command(tmp_path)
