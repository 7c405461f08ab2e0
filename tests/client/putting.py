"""What processes of an attempt do with its channel."""

from __future__ import annotations

import os
import resource
import sys
import threading
from typing import TYPE_CHECKING

from orcha._client import attempt_channel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orcha._client.attempt_channel import AttemptChannel


def put_lines(channel: AttemptChannel, lines: Iterable[str]) -> None:
    """Put lines, each when the service has the one before."""
    for line in lines:
        channel.put(line)


def put_lines_later(channel: AttemptChannel, lines: Iterable[str]) -> None:
    """Put lines without waiting, and end."""
    for line in lines:
        channel.put_nw(line)


def put_tag(channel: AttemptChannel) -> None:
    """Put the soft limit that marks this process."""
    channel.put(resource.getrlimit(attempt_channel.TAG_LIMIT_NUMBER)[0])


def put_and_fork(channel: AttemptChannel, lines: list[str]) -> None:
    """Put lines, those in the middle from a fork of this process whose connection is open."""
    channel.put(lines[0])
    channel.put_nw(lines[1])
    channel.flush()
    pid = os.fork()
    if not pid:
        try:
            put_lines(channel, lines[2:-1])
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    channel.put(lines[-1])


def put_while_forking(channel: AttemptChannel, count: int) -> None:
    """Fork again and again while another thread puts, so that locks are held; each fork puts one line."""
    attempt_channel.preload()  # a fork cannot import what another thread is importing
    stop = threading.Event()

    def keep_putting() -> None:
        while not stop.is_set():
            channel.put("thread")

    thread = threading.Thread(target=keep_putting)
    thread.start()
    for number in range(count):
        pid = os.fork()
        if not pid:
            try:
                channel.put(f"fork {number}")
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
    stop.set()
    thread.join()


def put_what_is_imported(channel: AttemptChannel) -> None:
    """Put the names of the modules that are imported by a put, beyond those that were prepared."""
    attempt_channel.preload()
    before = set(sys.modules)
    channel.put("a line")
    channel.put(sorted(set(sys.modules) - before))


def finish(channel: AttemptChannel, value: int | None) -> None:
    """Put without waiting, then give the final value."""
    channel.put_nw("last words")
    channel.finish(value)
