"""A client of command_service.py, for the comparison with the peers: see peer_commands.py."""

from __future__ import annotations

import os
from functools import partial

from command_client import connect, echo, true

session = connect(int(os.environ["BENCH_ORCHA"]))
one = partial(echo, session)
many = partial(true, session)
