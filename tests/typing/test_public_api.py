"""Uses of the public API that mypy must accept, or, where a `type: ignore` stands, must refuse."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass, field
from typing import assert_type

from orcha.exceptions import ConditionFailed, RejectedError
from orcha.interfaces import (
    ActionCallbackT,
    CommandPetition,
    Message,
    Petition,
    PetitionState,
    Policy,
    Retry,
    ServiceWrapper,
)
from orcha.lib import ClientManager, CommandManager, Manager
from orcha.plugins import BasePlugin, query_plugins
from orcha.utils import version


@dataclass(order=True)
class Flash(Petition):
    """As plugins write it: decorated with order, fields without defaults after the base's."""

    board: str = field(compare=False)

    def __post_init__(self) -> None:
        self.priority = 5


def work(petition: Flash) -> None:
    petition.communicate(petition.board)


def run(callback: ActionCallbackT, petition: Flash) -> None:
    process = multiprocessing.Process(target=work, args=(petition,))
    process.start()
    callback(process.pid or 0)
    process.join()
    petition.finish(process.exitcode)


class FlashManager(Manager):
    """A manager with annotations."""

    def convert_to_petition(self, m: Message) -> Petition | None:
        if "board" not in m.extras:
            return None
        policy = Policy(on_interrupt="rerun", timeout=60)
        return Flash(
            id=m.id,
            queue=m.extras["queue"],
            action=run,
            condition=self.may_start,
            board=m.extras["board"],
            policy=policy,
        )

    def may_start(self, _: Petition) -> bool | ConditionFailed:
        return self.running_processes < 2 or ConditionFailed("two boards at once")

    def on_start(self, petition: Petition) -> bool | None:
        return super().on_start(petition)

    def on_finish(self, petition: Petition) -> bool | None:
        return super().on_finish(petition)


def send() -> int:
    manager = ClientManager(listen_address="127.0.0.1", port=50000)
    assert_type(manager.connect(), bool)
    queue = manager.manager.Queue()
    message = Message(id="m1", extras={"queue": queue, "board": "b1"})
    manager.send(message)
    try:
        manager.send_many([message])
    except RejectedError as error:
        assert_type(error.rejected, tuple[tuple[Message, str], ...])
    manager.finish(message)
    value = queue.get()
    return value if isinstance(value, int) else 0


def build(manager: CommandManager, m: Message) -> CommandPetition:
    retry = Retry(times=3, codes=(75,), output="busy")
    policy = Policy(timeout=60)
    petition = CommandPetition(
        m.id, m.extras["queue"], manager.may_run, argv=["make", b"all"], env={"A": "b"}, retry=retry, policy=policy
    )
    assert_type(petition.tty, tuple[int, int] | None)
    return petition


def refused(petition: Petition) -> None:
    petition.finish("done")  # type: ignore[arg-type]
    Policy(on_interrupt="retry")  # type: ignore[arg-type]
    Message(1.5, {})  # type: ignore[arg-type]


def the_rest(manager: FlashManager, petition: Petition) -> None:
    ServiceWrapper(manager, context=None)
    assert_type(query_plugins(), list[type[BasePlugin]])
    assert_type(petition.state, PetitionState)
    assert_type(version("orcha"), str)
