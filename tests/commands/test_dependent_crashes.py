"""The service is killed where something of a chain or an appointment is kept: each runs once, in its order."""

from __future__ import annotations

import signal
import time
from threading import Thread

import pytest

from orcha.interfaces import Message
from support.commands import COMMANDS, everything

POINTS = (
    "accept.after-commit:3",
    "start.before-commit:1",
    "end.before-commit:1",
    "end.after-commit:2",
    "put.after-commit",
)
NOTED = 'echo "$1 start $(date +%s.%N)" >> "$2"; echo "$1 end -" >> "$2"; exit $3'
ORDER = (("a", "good"), ("a", "any"), ("fails", "any"), ("a", "later"), ("fails", "anyway"), ("good", "last"))
"""Pairs of petitions, of which the second waits for the first one's end."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("point", POINTS)
def test_killed_where_something_is_kept_a_chain_runs_once_and_in_order(serve, connect, tmp_path, point):
    ran = tmp_path / "ran"
    service = serve(COMMANDS, environment={"ORCHA_CRASH": point})
    client = connect(service)
    service.environment.pop("ORCHA_CRASH")
    due, queues = time.time() + 1.0, {}

    def message(name, code=0, **more):
        queues[name] = client.manager.Queue()
        argv = ["sh", "-c", NOTED, "sh", name, str(ran), str(code)]
        return Message(name, {"argv": argv, "env": {"PATH": "/usr/bin:/bin"}, "queue": queues[name]} | more)

    chain = [
        [message("a", delay=0.3), message("fails", code=3, delay=0.3)],
        [message("good", after_ok=["a"]), message("any", after=["a", "fails"]), message("never", after_ok=["fails"])],
        [message("later", at=due, after=["a"]), message("anyway", after_ok=["fails"], if_dependency_fails="run")],
        [message("last", after=["good", "never"])],
    ]
    sender = Thread(target=lambda: [client.send_many(messages) for messages in chain])
    sender.start()
    assert service.wait_for_end() == -signal.SIGKILL, point
    service.start()
    sender.join(60)
    codes = {name: everything(queue).code for name, queue in queues.items()}
    assert codes == dict.fromkeys(queues, 0) | {"fails": 3, "never": 130}
    lines = [line.split() for line in ran.read_text().splitlines()]
    places = {(name, what): place for place, (name, what, _) in enumerate(lines)}
    assert len(lines) == len(places) == 2 * (len(queues) - 1)
    assert all(places[first, "end"] < places[then, "start"] for first, then in ORDER)
    assert float(lines[places["later", "start"]][2]) >= due
