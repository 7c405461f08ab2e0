"""Attempts under shims that this service cannot talk to, such as shims of a build with another protocol.

These attempts go on. Their black boxes, which are the same in every build, tell how the attempts end, and
which processes to kill.
"""

from __future__ import annotations

import logging
import threading

from orcha._processes.identity import Identity, boot_id, is_alive
from orcha._supervisor import black_box as boxes
from orcha._supervisor.contract import FOREIGN, CommandLost
from orcha._supervisor.dead_shims import clean_up, end, forget
from orcha.utils.threads import NoThreadError, guarded, ignore_death, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orcha._supervisor.contract import FoundAttempt
    from orcha._supervisor.dead_shims import DeadShim
    from orcha.utils.threads import OnDeath

LOOK_INTERVAL_SECONDS = 0.5
"""Time between two looks at the black boxes."""
_OVER = frozenset({boxes.DONE, boxes.NOT_STARTED})


class ForeignShims:
    """Watches foreign attempts on a thread of its own, which runs while there are any."""

    def __init__(
        self,
        folder: Path,
        dead_by_key: dict[tuple[int, int], str],
        post: Callable[[CommandLost], None],
        outlast: Callable[[DeadShim], None],
        report: Callable[[int, str], None],
        on_death: OnDeath = ignore_death,
    ) -> None:
        """Watch none yet.

        Once an attempt has ended, its shim's name is put into `dead_by_key`, and its end is posted; then `outlast` is
        to wait for processes that cannot be killed. `on_death` is told where the thread dies.
        """
        self._folder = folder
        self._dead_by_key = dead_by_key
        self._post = post
        self._outlast = outlast
        self._report = report
        self._on_death = on_death
        self.shims: dict[tuple[int, int], str] = {}
        self._unwanted: dict[tuple[int, int], bool] = {}
        """Attempts to be killed, and whether their end is to be reported."""
        self._changed = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def add(self, found: list[FoundAttempt]) -> list[FoundAttempt]:
        """Watch the foreign ones among these attempts; return all of them."""
        self.shims |= {(one.seq, one.attempt): one.shim for one in found if one.phase == FOREIGN}
        self._changed.set()
        self.go_on()
        return found

    @property
    def lacks_thread(self) -> bool:
        """Whether foreign attempts are there that no thread watches."""
        return bool(self.shims) and self._thread is None

    def go_on(self) -> None:
        """Start the thread where it is needed; where it cannot be started now, the next call tries again."""
        if not self.lacks_thread:
            return
        thread = guarded("orcha-commands-apart", self._watch, self._on_death)
        try:
            start(thread)
        except NoThreadError as error:
            self._report(logging.ERROR, f"commands of another build are not watched yet: {error}")
        else:
            self._thread = thread

    def kill(self, seq: int, attempt: int, *, told: bool = True) -> None:
        """Kill an attempt, if it is foreign, without a grace: its shim takes no orders from this service."""
        if (seq, attempt) in self.shims:
            self._unwanted.setdefault((seq, attempt), told)
            self._changed.set()

    def close(self, *, keep: bool) -> None:
        """Stop watching; without `keep` the attempts are killed."""
        thread = self._thread
        if thread is None:
            return
        if not keep:
            for seq, attempt in list(self.shims):
                self.kill(seq, attempt)
        self._closed = True
        self._changed.set()
        thread.join()

    def _watch(self) -> None:
        while True:
            self._changed.wait(LOOK_INTERVAL_SECONDS if self.shims else None)
            self._changed.clear()
            last = self._closed
            for key in list(self.shims):
                self._look(key)
            if last:
                return

    def _look(self, key: tuple[int, int]) -> None:
        """Look whether an attempt has ended; end it where that is wanted."""
        shim = self.shims[key]
        word = boxes.read(str(self._folder / "shims" / f"{shim}.box"))
        if word is not None and (word.seq, word.attempt) == key and word.boot_id == boot_id():
            its_own = Identity(word.pid, int(word.start_ticks))
            if key not in self._unwanted and word.phase not in _OVER and is_alive(its_own):
                return
            end(its_own)
        dead = clean_up(self._folder, shim, self._report, logging.ERROR)
        found = dead.found
        del self.shims[key]
        if not self._unwanted.pop(key, True):  # asked for last: it may have become unwanted since it was looked at
            forget(self._folder, shim)
        else:
            self._dead_by_key[key] = shim
            lost = CommandLost(*key, executed=True, survivors=dead.survivors)
            if found is not None:
                lost = CommandLost(*key, found.executed, found.ended, found.failure, dead.survivors)
            self._post(lost)
            self._outlast(dead)
