"""Fixtures for the tests of the verbs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.service import Serve
from verbs.users import Users, users_with


@pytest.fixture
def users(serve: Serve) -> Iterator[Users]:
    """Give the users of a machine; needs root."""
    with users_with(serve.environment(modules=True)) as users:
        yield users
