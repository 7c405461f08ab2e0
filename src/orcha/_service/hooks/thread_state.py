"""What other threads know of the hook thread: which ones were given up, and whether it looks into the mailbox soon."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from orcha.exceptions import StaleCall

if TYPE_CHECKING:
    from collections.abc import Callable


class HookThreadState:
    """Written by the hook threads and the engine; read by any thread, without a lock."""

    def __init__(self, look: Callable[[], None]) -> None:
        """Know of no thread; `look` has the engine look at what it was not woken for."""
        self.look = look
        self.given_up: set[int] = set()
        """Identities of given-up threads whose call has not returned."""
        self.looks_again = False
        """Whether the hook thread has the engine look in a moment: then whoever brings a value need not wake it."""

    def check(self) -> None:
        """Raise StaleCall on a thread whose hook was given up."""
        if self.given_up and threading.get_ident() in self.given_up:
            raise StaleCall


__all__ = ["HookThreadState"]
