"""Which version of a distribution is installed, without the 50 ms that `importlib.metadata` takes to be imported."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def version(package: str = "orcha") -> str:
    """Give the installed version of a distribution.

    Args:
        package: name of the distribution; ``-``, ``_`` and ``.`` are the same in it, as is case: PEP 503.

    Raises:
        importlib.metadata.PackageNotFoundError: no such distribution is installed; a ModuleNotFoundError.

    Example::

        >>> version("orcha_hello_world")
        '0.1.0'

    """
    wanted = normalised(package)
    for folder in sys.path:
        for metadata in _metadata(folder, wanted):
            found = _version_in(metadata)
            if found:
                return found
    from importlib.metadata import version as search

    return search(package)


def own_version() -> str:
    """Give Orcha's version; ``unknown`` where it runs from a source tree that is nowhere installed."""
    try:
        return version()
    except ModuleNotFoundError:
        return "unknown"


def normalised(name: str) -> str:
    """Give a distribution's name as PEP 503 compares it."""
    return "-".join(part for part in name.lower().replace("_", "-").replace(".", "-").split("-") if part)


def _metadata(folder: str, wanted: str) -> Iterator[str]:
    """Give the files in which this folder of ``sys.path`` may describe a distribution."""
    if folder.endswith(".egg") and _named(os.path.basename(folder), wanted):  # noqa: PTH119 - pathlib is heavy
        yield f"{folder}/EGG-INFO/PKG-INFO"
    try:
        names = os.listdir(folder or ".")  # noqa: PTH208 - pathlib is heavy
    except OSError:
        return
    for name in names:
        if name.endswith(".dist-info") and _named(name, wanted):
            yield f"{folder}/{name}/METADATA"
        elif name.endswith(".egg-info") and _named(name, wanted):
            yield f"{folder}/{name}/PKG-INFO"
            yield f"{folder}/{name}"


def _named(entry: str, wanted: str) -> bool:
    """Whether ``name-version.kind`` or ``name.kind`` bears this name."""
    return normalised(entry.rpartition(".")[0].partition("-")[0]) == wanted


def _version_in(metadata: str) -> str | None:
    """Give the version that a metadata file states in its header."""
    try:
        with open(metadata, encoding="utf-8", errors="replace") as lines:  # noqa: PTH123 - pathlib is heavy
            for line in lines:
                if line.startswith("Version:"):
                    return line.partition(":")[2].strip()
                if not line.strip():
                    break
    except OSError:
        return None
    return None


__all__ = ["version"]
