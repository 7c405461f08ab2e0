"""Which ended petitions are forgotten so that their output has room."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def beyond(sizes: Mapping[bytes, int], ended: Iterable[tuple[int, bytes]], most: int) -> list[int]:
    """Give the sequence numbers of petitions to forget until all output has `most` bytes.

    Args:
        sizes: bytes of the output of each channel, of living petitions too.
        ended: sequence number and channel of petitions that may be forgotten, in the order in which they ended.
        most: bytes.

    A petition without output stays: nothing is won without it.

    >>> beyond({b"a": 5, b"b": 5}, [(1, b"a"), (2, b"c"), (3, b"b")], 7)
    [1]
    """
    excess = sum(sizes.values()) - most
    forgotten: list[int] = []
    freed: set[bytes] = set()
    for seq, channel in ended:
        if excess <= 0:
            break
        size = sizes.get(channel, 0)
        if size:
            forgotten.append(seq)
            if channel not in freed:
                freed.add(channel)
                excess -= size
    return forgotten


__all__ = ["beyond"]
