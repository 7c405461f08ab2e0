"""Stories in which a test says what happens, and nothing happens by chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from support.simulation.plans import Plan
from support.simulation.service import Service
from support.simulation.story import Story

Happening = Callable[["HandMade"], object]


class _NoChance(Random):
    """Gives what makes nothing happen beside what is told."""

    def random(self) -> float:
        """Give the number above all shares."""
        return 0.999


class HandMade(Story):
    """Plays happenings one after the other, then lets everything come to its end, and looks at each step as a story."""

    def __init__(self, *happenings: Happening) -> None:
        """Have these things happen."""
        super().__init__(0, len(happenings))
        self.random = self.world.random = _NoChance(0)
        self.world.look_ahead = None
        self._interleaves, self._may_hang = 0.0, False
        self._left = list(happenings)

    def _draw(self) -> Callable[[], None]:
        happening = self._left.pop(0)

        def happens() -> None:
            happening(self)

        return happens

    def asks_for(self, identity: str, plan: Plan) -> None:
        """Have the owner whom the plan names send a message."""
        self._owners = (plan.owner,)
        self._people = _NoChance(0)
        self.submit((identity, plan))

    def while_asked(self, identity: str, happening: Callable[[], object]) -> None:
        """Have something happen as soon as the condition of a petition is asked, once."""

        def interleave(_: Service) -> None:
            if self.world.lines[-1][1:] == ("hook: {}", (f"ask {identity}",)):
                self.world.interleave = lambda _: None
                happening()

        self.world.interleave = interleave


def asks_for(identity: str, **fields: object) -> Happening:
    """Have somebody send a message."""
    return lambda story: story.asks_for(identity, Plan(**fields))  # type: ignore[arg-type]


def rests(story: HandMade) -> None:
    """Let the service do everything that it has to do."""
    story.rests()


def passes(seconds: float) -> Happening:
    """Let time pass."""
    return lambda story: story.passes(seconds)


def tell(happenings: Sequence[Happening]) -> HandMade:
    """Play a story; raise `Broken` where something does not hold."""
    story = HandMade(*happenings)
    story.play()
    return story


__all__ = ["HandMade", "Happening", "asks_for", "passes", "rests", "tell"]
