"""Reads the output of a petition from its channel."""

from __future__ import annotations

from typing import NamedTuple

from orcha._cli.connection import connected
from orcha.exceptions import OrchaConnectionError, OrchaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from orcha._cli.session import Session
    from orcha._client.channel import ClientChannel

_FIRST_LOOK_BACK_RECORDS = 64
_LOOK_BACK_FACTOR = 8


class ShownOutput(NamedTuple):
    """A piece of output, or a line of the service."""

    stream: int
    """1 or 2; 0 for a line of the service."""
    data: bytes


def pieces(
    identity: str,
    stream: int | None,
    *,
    tail: int | None,
    follow: bool,
    on_anothers: Callable[[str], None] | None = None,
) -> Iterator[ShownOutput]:
    """Give the output of a petition, in its order.

    Args:
        identity: its id.
        stream: 1 or 2 for one stream alone, None for both and the service's lines.
        tail: how many lines to begin with, None for all.
        follow: go on until the petition's end; else end with the output that there is now.
        on_anothers: called with the id first where the petition is another user's; None where nobody wants to know.

    Raises:
        OrchaError: there is no such petition, or no service.

    """
    back = _FIRST_LOOK_BACK_RECORDS
    with connected() as service:
        channel, details = service.from_its_end(identity)
        end, is_command = channel.position + 1, bool(details.get("command"))
        if on_anothers is not None and service.is_anothers(details):
            on_anothers(identity)
    while True:
        with connected() as service:  # one for each look: none gets what another asked for
            start = 0 if tail is None else max(0, end - back)
            channel = service.output(details, index=start)
            there = _chosen(_values(channel, end), stream, is_command=is_command)
            if tail is not None:
                last, complete = last_lines(there, tail)
                if not complete and start > 0:
                    back *= _LOOK_BACK_FACTOR
                    continue
                there = iter(last)
            yield from there
            if follow:
                yield from _chosen(_values(channel, None), stream, is_command=is_command)
                if stream is None and details["state"] != "ended":
                    yield from _who_cancelled(service, identity, channel)
            return


def _who_cancelled(service: Session, identity: str, channel: ClientChannel) -> Iterator[ShownOutput]:
    """Give a line that says who has cancelled the petition meanwhile, where somebody has."""
    from orcha._cli import descriptions

    try:
        details = service.details(identity)
    except OrchaError:
        return  # it was forgotten since
    line = descriptions.cancelled(details) if bytes(details["channel"]) == channel.__orcha_channel__ else None
    if line is not None:
        yield ShownOutput(0, f"orcha: {line}\n".encode("utf-8", "replace"))


def of_channel(channel: ClientChannel) -> Iterator[ShownOutput]:
    """Give the values of a command's channel until its end."""
    return _chosen(_values(channel, None), None, is_command=True)


def _chosen(values: Iterator[Any], stream: int | None, *, is_command: bool) -> Iterator[ShownOutput]:
    """Give values as pieces, of one stream or all."""
    for value in values:
        piece = _piece(value, is_command=is_command)
        if piece.data and stream in {None, piece.stream}:  # what is lost in a row is told once: the rest is empty
            yield piece


def last_lines(there: Iterator[ShownOutput], count: int) -> tuple[list[ShownOutput], bool]:
    r"""Give the pieces of the last lines, and whether there are as many.

    >>> last_lines(iter([ShownOutput(1, b"a\nb\n"), ShownOutput(2, b"c\nd")]), 3)
    ([ShownOutput(stream=1, data=b'b\n'), ShownOutput(stream=2, data=b'c\nd')], True)
    """
    from collections import deque

    kept: deque[tuple[ShownOutput, int]] = deque()
    newlines = 0
    for piece in there:
        found = piece.data.count(b"\n")
        kept.append((piece, found))
        newlines += found
        while kept and newlines - kept[0][1] > count:
            newlines -= kept.popleft()[1]
    if not count or not kept:
        return [], not count
    within = count if kept[-1][0].data.endswith(b"\n") else count - 1
    if newlines <= within:
        return [piece for piece, _ in kept], False
    return _cut([piece for piece, _ in kept], newlines - within), True


def _cut(kept: list[ShownOutput], surplus: int) -> list[ShownOutput]:
    """Leave out `surplus` lines at the beginning."""
    while surplus:
        piece = kept[0]
        _, newline, data = piece.data.partition(b"\n")
        surplus -= bool(newline)
        kept[0] = piece._replace(data=data)
        if not data:
            del kept[0]
    return kept


def _values(channel: ClientChannel, end: int | None) -> Iterator[Any]:
    """Give the values of a channel before an index, or all values until its end."""
    while end is None or channel.position < end - 1:
        value = channel.get()
        if channel.ended_here:
            raise OrchaConnectionError(str(value).strip().removeprefix("orcha: "))
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return
        yield value


def _piece(value: Any, *, is_command: bool) -> ShownOutput:
    """Give the output that a value of a petition stands for."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], bytes):
        return ShownOutput(value[0], value[1])
    if isinstance(value, bytes):
        return ShownOutput(1, value)
    return ShownOutput(0 if is_command and isinstance(value, str) else 1, str(value).encode("utf-8", "replace"))
