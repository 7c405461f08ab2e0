"""API.md, orcha.lib: `send`, `send_many`, `finish`, `running_processes` and `is_running` in the service itself."""

from __future__ import annotations

import pytest

from orcha.interfaces import Message
from support.waiting import wait_for

SOURCE = """
import os
from orcha.exceptions import ManagerShutdownError, RejectedError
from orcha.interfaces import Message, Petition
from orcha.lib import Manager

def note(*words):
    descriptor = os.open(os.environ["TEST_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, (" ".join(map(str, words)) + "\\n").encode())
    os.close(descriptor)

class Inside(Manager):
    def setup(self):
        super().setup()
        self.register("send_from_function", lambda name: self.send(Message(name, {"do": "note"})))
        self.register("finish_from_function", lambda name: self.finish(name))
        self.register("running", lambda name: [self.running_processes, self.is_running(name)])

    def convert_to_petition(self, m):
        if m.extras["do"] == "refuse":
            return None
        if m.extras["do"] == "send in convert":
            self.send(Message(f"{m.id}-more", {"do": "note"}))
        if m.extras["do"] == "finish in convert":
            note("finish in convert:", self.finish(m.extras["whom"]))
        petition = Petition(m.id, m.extras.get("queue"), self.act, self.condition)
        petition.do, petition.extras = m.extras["do"], m.extras
        return petition

    def condition(self, petition):
        if petition.do == "wait":
            return False
        if petition.do == "send in condition":
            self.send_many([Message(f"{petition.id}-{n}", {"do": "note"}) for n in range(3)])
        return True

    def on_start(self, petition):
        if petition.do == "send in on_start":
            self.send(Message(f"{petition.id}-more", {"do": "note", "queue": petition.queue}))
        if petition.do == "refused in on_start":
            self.send(Message(f"{petition.id}-more", {"do": "refuse"}))
        if petition.do == "say in on_start":
            petition.communicate("hello from on_start")
        return True

    def on_finish(self, petition):
        if petition.do == "send in on_finish":
            self.send(Message(f"{petition.id}-more", {"do": "note"}))
        note("finished", petition.id)

    def act(self, callback, petition):
        note("ran", petition.id)
        if petition.do == "send in action":
            self.send(Message(f"{petition.id}-more", {"do": "note", "queue": petition.queue}))
            try:
                self.send(Message(f"{petition.id}-bad", {"do": "refuse"}))
            except RejectedError as error:
                note("rejected", error.rejected[0][0].id)
        if petition.do == "read in action":
            queue = self.manager.Queue()
            self.send(Message(f"{petition.id}-more", {"do": "tell", "queue": queue}))
            petition.communicate(queue.get())
            petition.communicate(queue.get())
        if petition.do == "tell":
            petition.communicate("told")
        if petition.do == "finish in action":
            note("finish in action:", self.finish(petition.extras["whom"]), self.finish("nobody"))
            note("finish itself:", self.finish(petition.id))
            petition.communicate("never seen")
            petition.finish(0)
"""


@pytest.fixture
def inside(serve, connect, tmp_path):
    ledger = tmp_path / "ledger"
    service = serve("inside:Inside", source=SOURCE, environment={"TEST_LEDGER": str(ledger)})
    client = connect(service)

    def noted(*lines):
        wait_for(lambda: set(lines) <= set(ledger.read_text().splitlines() if ledger.exists() else ()), what=lines)

    return service, client, noted


def send(client, identity, do, **extras):
    queue = client.manager.Queue()
    client.send(Message(identity, {"queue": queue, "do": do, **extras}))
    return queue


@pytest.mark.parametrize("hook", ["convert", "on_start", "on_finish"])
def test_send_in_a_hook_returns_at_once_and_its_petition_runs(inside, hook):
    _, client, noted = inside
    assert send(client, "a", f"send in {hook}").get() is None
    noted("ran a", "ran a-more", "finished a-more")


def test_send_many_in_a_condition_keeps_the_order(inside, tmp_path):
    _, client, noted = inside
    assert send(client, "a", "send in condition").get() is None
    noted("ran a", "finished a-0", "finished a-1", "finished a-2")


def test_a_refusal_of_what_a_hook_sent_is_logged(inside):
    service, client, _ = inside
    assert send(client, "a", "refused in on_start").get() is None
    wait_for(lambda: "message a-more, sent by a hook, was refused: " in service.stderr())


def test_communicate_in_on_start_reaches_the_client(inside):
    queue = send(inside[1], "a", "say in on_start")
    assert [queue.get(), queue.get()] == ["hello from on_start", None]


def test_send_in_an_action_returns_when_accepted_or_raises_the_refusal(inside):
    _, client, noted = inside
    queue = send(client, "a", "send in action")
    assert queue.get() is None
    noted("ran a-more", "rejected a-bad", "finished a")


def test_an_action_may_read_what_it_asked_its_own_service_for(inside):
    queue = send(inside[1], "a", "read in action")
    assert [queue.get(), queue.get(), queue.get()] == ["told", None, None]


def test_finish_in_a_hook_and_in_an_action_ends_others_and_itself(inside):
    _, client, noted = inside
    first, second = send(client, "w1", "wait"), send(client, "w2", "wait")
    assert send(client, "a", "finish in convert", whom="w1").get() is None
    assert first.get() == 130
    assert send(client, "b", "finish in action", whom="w2").get() == 130
    assert second.get() == 130
    noted("finish in convert: True", "finish in action: True False", "finish itself: True", "finished b")


def test_registered_functions_may_send_finish_and_ask_what_runs(inside):
    """API.md: `register` runs on the hook thread."""
    _, client, noted = inside
    for name in ("send_from_function", "finish_from_function", "running"):
        client.register(name)
    client.send_from_function("f")
    noted("ran f", "finished f")
    waiting = send(client, "w", "wait")
    assert client.running("w") == [0, False]
    assert client.finish_from_function("w") is True
    assert waiting.get() == 130
    assert client.finish_from_function("w") is False
