"""A service whose petitions print from a process of their own, as in the document for plugin authors.

python bench/hello_service.py PORT fork|spawn|forkserver
"""

from __future__ import annotations

import multiprocessing
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orcha.interfaces import Message, Petition, ServiceWrapper, start_service
from orcha.lib import Manager

if TYPE_CHECKING:
    from orcha.interfaces import ActionCallbackT


@dataclass(order=True)
class Hello(Petition):
    """Prints so many lines."""

    counter: int = field(compare=False)


def _print(petition: Hello) -> None:
    for number in range(petition.counter):
        petition.communicate(f"Hello world! {number}\n\r")


def _action(callback: ActionCallbackT, petition: Hello) -> None:
    process = multiprocessing.Process(target=_print, args=(petition,))
    process.start()
    if process.pid is not None:
        callback(process.pid)
    process.join()
    petition.finish()


class HelloManager(Manager):
    """Runs as many as there are processors."""

    def convert_to_petition(self, m: Message) -> Petition:
        """Make the petition."""
        condition = self._never if m.extras.get("blocked") else self._has_room
        return Hello(m.id, m.extras["queue"], _action, condition, counter=m.extras["counter"])

    def _never(self, _: Petition) -> bool:
        return False

    def _has_room(self, _: Petition) -> bool:
        return self.running_processes < multiprocessing.cpu_count()

    def on_start(self, petition: Petition) -> Any:
        """Do nothing."""

    def on_finish(self, petition: Petition) -> Any:
        """Do nothing."""


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[2])
    start_service(ServiceWrapper(HelloManager("127.0.0.1", int(sys.argv[1]))))
