"""A store of each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orcha._store.contract import Store
from orcha._store.disk_reserve import Limits
from orcha._store.memory import MemoryStore
from orcha._store.sqlite import SqliteStore

SMALL = Limits(log=64 << 10, checkpoint=48 << 10, ballast=256 << 10, watermark=64 << 10)
"""Sizes with which a test sees checkpoints, and creates no large files."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "endpoint"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def open_store(folder: Path) -> Iterator[Callable[..., SqliteStore]]:
    """Give a function that opens the folder's store; all are closed after the test."""
    stores: list[SqliteStore] = []

    def open_one(vfs: str | None = None, limits: Limits = SMALL) -> SqliteStore:
        stores.append(SqliteStore(folder, limits=limits, vfs=vfs))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, open_store: Callable[..., SqliteStore]) -> Store:
    return open_store() if request.param == "sqlite" else MemoryStore()
