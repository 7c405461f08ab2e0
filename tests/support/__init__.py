"""What all tests share: waiting for facts, services of their own, gates, leak checks.

Test modules are loaded by path (``--import-mode=importlib``) and cannot be imported by a child process; what a child
needs (a manager, a function for ``multiprocessing``) lives here or is given to `serve` as source.
"""

from __future__ import annotations

from support.gates import Gate
from support.ports import free_port
from support.service import RunningService, Serve
from support.waiting import wait_for

__all__ = ["Gate", "RunningService", "Serve", "free_port", "wait_for"]
