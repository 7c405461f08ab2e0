"""A whole service on one thread and in virtual time, in which a seed decides what happens and when.

What decides is the real thing: the engine with its mailbox, batches and transactions, admission and selection, the hook
side, recovery, and the verbs of clients. What a clock, a disk, a thread, a process or a shim does is played.

`play(seed)` plays one story and looks at every step whether what a service promises still holds. What a story tells is
printed by ``PYTHONPATH=tests python -m support.simulation SEED``.
"""

from __future__ import annotations

from support.simulation.story import Broken, Story, play

__all__ = ["Broken", "Story", "play"]
