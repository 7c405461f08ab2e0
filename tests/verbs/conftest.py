"""Fixtures for the tests of the verbs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from support.plugins_served import install
from support.service import TESTS, Serve
from verbs.users import Users, users_with


@pytest.fixture(scope="session")
def with_plugins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give the variable by which programs find the plugins alpha and beta, for which only the first program searches.

    A search costs 0.1 s, and each folder of a test's own begins one.
    """
    folder = tmp_path_factory.mktemp("plugins")
    install(folder, "alpha", "beta")
    os.utime(folder, (1_000_000_000, 1_000_000_000))  # nothing is kept of a folder that was written a moment ago
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(TESTS)])}


@pytest.fixture
def users(serve: Serve) -> Iterator[Users]:
    """Give the users of a machine; needs root."""
    with users_with(serve.environment(modules=True)) as users:
        yield users
