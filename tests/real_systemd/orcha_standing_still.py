"""A plugin of tests: has a thread of its service stand still, or a hook hang, when a file says so; and long actions."""

from __future__ import annotations

import ctypes
import signal
from pathlib import Path
from threading import Event, Thread
from typing import Any

from orcha._core.asking_round import Round
from orcha._service.hooks.visit import Visit
from orcha._service.lifecycle.compose import Service
from orcha.interfaces import Message, Petition
from orcha.lib import Manager
from orcha.plugins import BasePlugin

ORDER = Path("/run/orcha/stand-still")
"""Holds `engine`, `hooks` or `loop`; or `deaf`: the engine stands still, and the service ignores SIGABRT."""
HANGS = Path("/run/orcha/hangs")
"""A hook hangs as long as this is there, once it has been called."""
_SOON = Event()


def stand_still() -> None:
    """Return never."""
    Event().wait()


class StandingStill(Visit):
    """A visit with which the hook thread gets no further, and is in no call of a plugin."""

    def __init__(self) -> None:
        """Have a call that never comes."""
        super().__init__([], Round([]))
        self.calls = self._never()

    def _never(self) -> Any:
        stand_still()
        yield from ()


def obey(parts: Any) -> None:
    """Wait for the order, and have a thread of the service stand still."""
    while not ORDER.exists() or not (order := ORDER.read_text().strip()):
        _SOON.wait(0.1)
    ORDER.unlink()
    ways = {
        "engine": lambda: parts.engine.post(stand_still),
        "hooks": lambda: parts.engine.visits.hooks.perform(StandingStill()),
        "loop": lambda: parts.server.call_soon(stand_still),
    }
    if order == "deaf":
        ctypes.CDLL(None).signal(signal.SIGABRT, 1)  # SIG_IGN; Python's own function is for the main thread alone
        order = "engine"
    ways[order]()


def start(service: Service, original: Any = Service.start) -> None:
    """Start a service, and watch for the order: a manager beside others is not told when its service starts."""
    original(service)
    Thread(target=obey, args=(service._parts,), daemon=True).start()


Service.start = start


class Still(Manager):
    """Has hooks that hang, and actions that do not return."""

    def convert_to_petition(self, m: Message) -> Petition:
        """Hang while the file is there; give a petition with an action that does not return by itself."""
        while HANGS.exists():
            _SOON.wait(0.1)
        return Petition(m.id, None, lambda *_: stand_still(), lambda _: True)

    def on_start(self, petition: Petition) -> None:
        """Do nothing."""

    def on_finish(self, petition: Petition) -> None:
        """Do nothing."""


class StillPlugin(BasePlugin):
    """Offers that manager."""

    name = "still"
    manager = Still


plugin = StillPlugin
