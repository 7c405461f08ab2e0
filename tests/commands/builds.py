"""Builds of Orcha that differ in the protocol that they speak with what watches over commands."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import orcha

_COPIED = {"_supervisor", "__pycache__"}
"""Folders of the package that a build has for itself: it links to the others, since to copy them takes seconds."""
_VERSIONS = re.compile(r"^VERSIONS = .*$", re.MULTILINE)


def install(site: Path, version: str, versions: tuple[int, int]) -> None:
    """Install a build into a folder of PYTHONPATH, in place of the one there; `versions` are those of its protocol."""
    shutil.rmtree(site, ignore_errors=True)
    package = site / "orcha"
    package.mkdir(parents=True)
    for path in Path(orcha.__file__).parent.iterdir():
        if path.name in _COPIED:
            shutil.copytree(path, package / path.name)  # with what is compiled, which spares seconds
        else:
            (package / path.name).symlink_to(path)
    protocol = package / "_supervisor" / "protocol.py"
    text, count = _VERSIONS.subn(f"VERSIONS = {versions}", protocol.read_text())
    assert count == 1
    protocol.write_text(text)
    described = site / f"orcha-{version}.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: orcha\nVersion: {version}\n")
