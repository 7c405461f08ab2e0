"""Ports for services under test."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from collections import deque
from pathlib import Path

_PROCESSES = 8
_SHARE = 12_000 // _PROCESSES
_FIRST = 20_000
"""Below Linux's ephemeral range, so that no outgoing connection takes a port between the probe and its use; each
process of a test run has a share of its own."""
NUMBER = "TEST_PROCESS"
"""The variable with the number of a process of a test run, from 0: `support.side_by_side` sets it."""
_RESERVATIONS = os.open(
    Path(tempfile.gettempdir(), f"orcha-test-ports-{os.getuid()}"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
)
"""Test runs of other checkouts choose from the same range: byte N of this file is locked by whoever was given port N.
It is opened once, since closing any descriptor of the file would give up the locks of this process."""
_given: deque[int] = deque(maxlen=100)
"""What this process was given last: its own locks do not keep it from a port that it has not used yet."""


def free_port(address: str = "127.0.0.1") -> int:
    """Give a TCP port on which nobody listens, and which no other test process is given while this one lives."""
    chooser = random.SystemRandom()  # not the generator that the test run seeds: concurrent runs would choose alike
    first = _FIRST + int(os.environ.get(NUMBER, "0")) % _PROCESSES * _SHARE
    for _ in range(100):
        port = chooser.randrange(first, first + _SHARE)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                fcntl.lockf(_RESERVATIONS, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
                probe.bind((address, port))
            except OSError:
                continue
            _given.append(port)
            return port
    message = f"no free port on {address} between {first} and {first + _SHARE}"
    raise AssertionError(message)
