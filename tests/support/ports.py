"""Ports for services under test."""

from __future__ import annotations

import os
import random
import socket

_WORKERS = 8
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
_SHARE = 12_000 // _WORKERS
_FIRST = 20_000 + _WORKER * _SHARE
"""Below Linux's ephemeral range, so that no outgoing connection takes a port between the probe and its use; each
process of a test run has a share of its own."""
_LAST = _FIRST + _SHARE


def free_port(address: str = "127.0.0.1") -> int:
    """Give a TCP port on which nobody listens."""
    chooser = random.SystemRandom()  # not the generator that the test run seeds: concurrent runs would choose alike
    for _ in range(100):
        port = chooser.randrange(_FIRST, _LAST)
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port
    message = f"no free port on {address} between {_FIRST} and {_LAST}"
    raise AssertionError(message)
