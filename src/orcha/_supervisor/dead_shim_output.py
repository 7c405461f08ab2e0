"""Output that a dead shim left in files; the index tells which chunks are there."""

from __future__ import annotations

import os

from orcha._supervisor.contract import FileSpan, OutputChunk
from orcha._supervisor.output_index import checked
from orcha.utils.private import open_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


def unreported_chunks(folder: Path, stem: str, *, after: int) -> list[OutputChunk]:
    """Return the chunks above this number that lie in files, in order; `folder` is that of the output.

    The first entry of the index that was changed, or is without its bytes, ends the list: the shim died before it wrote
    the bytes, or the disk lost them.
    """
    try:
        content = _read(folder / f"{stem}.index")
        sizes = [0, *((folder / f"{stem}.{stream}").lstat().st_size for stream in (1, 2))]
    except OSError:
        return []
    entries = checked(content)
    if not entries or entries[0] is None:
        return []
    first = entries[0][1]
    found = []
    for number, entry in enumerate(entries[1:], first):
        if entry is None:
            break
        stream, offset, length = entry
        if stream not in (1, 2) or offset + length > sizes[stream]:
            break
        if number > after:
            found.append(OutputChunk(number, stream, FileSpan(offset, length)))
    return found


def _read(path: Path) -> bytes:
    with os.fdopen(open_file(str(path), os.O_RDONLY), "rb") as file:
        return file.read()
