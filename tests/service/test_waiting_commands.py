"""Commands that wait know why, though they are not asked one by one."""

from __future__ import annotations

from orcha._core.asking_round import MAX_REFUSALS_PER_ROUND
from orcha._core.state import State
from orcha.interfaces import Message
from support.commands import COMMANDS, run
from support.waiting import wait_for

FULL = "1 of 1 slots of the machine is in use"


def test_each_of_the_first_that_wait_says_why(serve, connect, tmp_path):
    service = serve(COMMANDS, environment={"ORCHA_COMMANDS": "1"})
    client = connect(service)
    opens = tmp_path / "opens"
    opens.touch()
    running = run(client, "runs", "sh", "-c", f"while [ -e {opens} ]; do sleep 0.01; done")
    queue = client.manager.Queue()
    names = [f"m{number}" for number in range(MAX_REFUSALS_PER_ROUND + 10)]
    client.send_many([Message(name, {"argv": ["true"], "queue": queue}) for name in names])
    opened = run(client, "last", "true")

    def reasons():
        rows = client.manager.client.rows(1 << State.QUEUED, 1_000)
        return {row["id"]: row["why"] for row in rows}

    assert reasons() == dict.fromkeys([*names, "last"], FULL)
    service.kill()
    service.start()  # where nobody has been asked yet
    wait_for(lambda: {name for name, why in reasons().items() if why == FULL} >= set(names[:MAX_REFUSALS_PER_ROUND]))
    opens.unlink()
    assert running.get() == 0
    assert [queue.get() for _ in names] == [0] * len(names)
    assert opened.get() == 0
    wait_for(lambda: not reasons())
