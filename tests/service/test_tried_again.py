"""Petitions whose action failed are tried again as their policy says: real services, real processes, real kills."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest

from orcha.interfaces import Message
from orcha.interfaces.policy import MAX_DURATION_SECONDS
from support import Gate, wait_for

MANAGER = "support.retry_managers:RetryManager"
LONG = {"times": 1, "delay": 3600.0}
ONE = ["on_start 1", "action 1", "on_finish -"]
"""What is noted of the first attempt."""
TWO = [*ONE, "on_start 2", "action 2", "on_finish -"]


class Tried:
    """A service, a client of it, and the ledger of its only petition."""

    def __init__(self, service, client, folder: Path) -> None:
        self.service, self.client, self.path = service, client, folder / "ledger"

    def send(self, *attempts, retry=None, **extras):
        """Ask for a petition with these attempts; give the channel of its values."""
        queue = self.client.manager.Queue()
        known = {"attempts": list(attempts), "ledger": str(self.path), "retry": retry or {"times": 3}, **extras}
        self.client.send(Message("m1", {"queue": queue, **known}))
        return queue

    def ledger(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    def show(self):
        return json.loads(self.service.ask("show", "m1", "--json").stdout)

    def wait_until_it_rests(self):
        wait_for(lambda: self.show()["state"] == "queued" and self.ledger() == ONE, what="a petition that rests")


@pytest.fixture
def tried(serve, connect, tmp_path):
    service = serve(MANAGER)
    return Tried(service, connect(service), tmp_path)


def all_values(queue):
    """Give what comes until the final value, and that."""
    values = [queue.get()]
    while isinstance(values[-1], str):
        values.append(queue.get())
    return values


def test_one_that_fails_is_tried_again_on_the_same_channel_and_each_attempt_is_known(tried):
    queue = tried.send({"lines": ["a\n"], "code": 3}, {"lines": ["b\n"], "raises": "no"}, {"lines": ["c\n"]})
    assert all_values(queue) == ["a\n", "b\n", "c\n", None]
    wait_for(lambda: len(tried.ledger()) == 9, what="the last on_finish")
    assert tried.ledger() == [*TWO, "on_start 3", "action 3", "on_finish -"]
    known = [(each["attempt"], each["outcome"], each["code"], each["reason"]) for each in tried.show()["attempts"]]
    assert known == [(1, "failed", 3, None), (2, "failed", 1, "RuntimeError: no"), (3, "succeeded", None, None)]


def test_the_last_end_is_the_petitions(tried):
    assert all_values(tried.send({"raises": "no"}, retry={"times": 1})) == ["RuntimeError: no\n", 1]
    wait_for(lambda: tried.ledger() == TWO, what="the last on_finish")


def test_an_end_that_is_not_named_is_the_petitions(tried):
    assert all_values(tried.send({"code": 3}, {"code": 4}, retry={"times": 5, "codes": [3]})) == [4]


def test_one_that_takes_too_long_is_tried_again(tried):
    slow = {"runs": ["sleep", "1000"]}
    queue = tried.send(slow, {"lines": ["b\n"]}, retry={"times": 20, "timeout": True}, limit=0.5)
    assert all_values(queue) == ["b\n", None]
    first, _ = tried.show()["attempts"]
    assert (first["outcome"], first["code"], first["reason"]) == ("timed_out", 124, "ran longer than 0.5 s")


def test_one_that_finished_and_takes_too_long_to_return_is_tried_again_when_it_does(tried, gate):
    late = {"code": 3, "gate_after": gate.path}
    queue = tried.send(late, {"lines": ["b\n"]}, retry={"times": 20}, limit=0.5)
    gate.wait_until_reached()
    wait_for(lambda: tried.show()["state"] == "cancelling", what="its time limit")
    gate.open()
    assert all_values(queue) == ["b\n", None]


def test_what_an_attempt_left_behind_is_gone_before_the_next_one_begins(tried, tmp_path):
    queue = tried.send({"code": 3, "leaves": str(tmp_path / "pid")}, {})
    assert all_values(queue) == [None]
    assert "on_start 2 gone" in tried.ledger()


def test_no_attempt_begins_before_the_action_of_the_last_one_has_returned(tried, gate):
    queue = tried.send({"code": 3, "gate_after": gate.path}, {})
    gate.wait_until_reached()
    assert "it is tried again" in wait_for(lambda: tried.show()["why"], what="the decision")
    assert tried.ledger() == ["on_start 1", "action 1"]
    gate.open()
    assert all_values(queue) == [None]


def test_what_a_thread_of_an_ended_attempt_writes_is_ignored(tried, tmp_path):
    late, second = Gate(tmp_path), Gate(tmp_path)
    queue = tried.send({"code": 3, "writes_late": late.path}, {"gate": second.path, "lines": ["b\n"]})
    second.wait_until_reached()
    late.open()
    wait_for(lambda: "late 1" in tried.ledger(), what="what comes too late")
    assert tried.show()["state"] == "running"
    second.open()
    assert all_values(queue) == ["b\n", None]


def test_one_that_rests_tells_when_it_is_tried_again_and_a_cancel_ends_it(tried):
    queue = tried.send({"code": 3}, retry=LONG)
    tried.wait_until_it_rests()
    known = tried.show()
    assert known["why"].startswith("attempt 1 ended with 3: it is tried again at 2")
    assert [(each["attempt"], each["code"]) for each in known["attempts"]] == [(1, 3)]
    assert tried.client.finish("m1")
    assert all_values(queue) == [130]
    assert tried.ledger() == ONE


def test_a_cancel_before_its_action_has_returned_ends_it(tried, gate):
    queue = tried.send({"code": 3, "gate_after": gate.path}, {})
    gate.wait_until_reached()
    wait_for(lambda: tried.show()["state"] == "queued", what="the decision")
    cancels = threading.Thread(target=tried.client.finish, args=("m1",))
    cancels.start()
    wait_for(lambda: tried.show()["state"] == "cancelling", what="its cancel")
    gate.open()
    assert all_values(queue) == [130]
    cancels.join()
    wait_for(lambda: tried.ledger() == ONE, what="its on_finish")


def test_a_signal_and_output_are_refused_for_an_action(tried):
    for retry, name in (({"signals": [9]}, "signals"), ({"output": "x"}, "output")):
        line, code = all_values(tried.send({}, retry={"times": 1} | retry))
        assert f"retry.{name} is about commands" in line
        assert code == 1


def test_an_action_cannot_be_preempted_and_hears_what_can_be(tried):
    line, code = all_values(tried.send({}, policy={"preemptible": "pause"}))
    assert "preemptible is for commands alone, and this petition has an action in Python" in line
    assert code == 1


def test_one_whose_time_comes_after_all_who_read_this_rests_and_hinders_nobody(tried):
    queue = tried.send(
        {"code": 3}, retry={"times": 1, "delay": MAX_DURATION_SECONDS, "longest": MAX_DURATION_SECONDS, "codes": [3, 4]}
    )
    tried.wait_until_it_rests()
    assert re.fullmatch(r"attempt 1 ended with 3: it is tried again at 21\d\d-.* UTC", tried.show()["why"])
    assert tried.show()["retry"]["codes"] == [3, 4]
    assert tried.client.finish("m1")
    assert all_values(queue) == [130]


# --- kill -9 ----------------------------------------------------------------------------------------------------------


def test_killed_while_it_rests_it_rests_on_and_can_be_cancelled(tried):
    queue = tried.send({"lines": ["a\n"], "code": 3}, retry=LONG)
    tried.wait_until_it_rests()
    tried.service.kill()
    tried.service.start()
    assert tried.show()["why"].startswith("attempt 1 ended with 3: it is tried again at 2")
    assert [ledger for ledger in tried.ledger() if ledger.startswith("action")] == ["action 1"]
    assert tried.client.finish("m1")
    assert all_values(queue) == ["a\n", 130]


def test_killed_while_it_rests_it_is_tried_again_when_its_time_has_come(tried, tmp_path):
    file = tmp_path / "file"
    file.touch()
    retry = {"times": 1, "delay": 0.5}
    queue = tried.send({"lines": ["a\n"], "code": 3}, {"lines": ["b\n"], "code": 4}, retry=retry, condition=str(file))
    wait_for(lambda: "action 1" in tried.ledger(), what="the first attempt")
    file.unlink()
    wait_for(lambda: tried.show()["state"] == "queued", what="a petition that waits again")
    tried.service.kill()
    tried.service.start()
    wait_for(lambda: tried.show()["why"] == "the file is not there", what="its condition, asked again")
    assert [line for line in tried.ledger() if line.startswith("action")] == ["action 1"]
    tried.service.kill()
    file.touch()
    tried.service.start()
    assert all_values(queue) == ["a\n", "b\n", 4]
    assert [each["code"] for each in tried.show()["attempts"]] == [3, 4]


def test_killed_while_one_that_took_too_long_is_ended_it_is_tried_again(tried):
    stubborn = {"runs": ["sh", "-c", "trap '' INT TERM; sleep 1000 & wait; sleep 1000"]}
    queue = tried.send(stubborn, {"lines": ["b\n"]}, retry={"times": 20, "timeout": True}, limit=0.5)
    wait_for(lambda: tried.show()["state"] == "cancelling", what="its time limit")
    tried.service.kill()
    tried.service.start()
    assert all_values(queue) == ["b\n", None]
    first, _ = tried.show()["attempts"]
    assert (first["outcome"], first["code"]) == ("timed_out", 124)


@pytest.mark.parametrize("policy", ["fail", "rerun"])
def test_killed_while_the_second_attempt_runs_it_goes_by_its_policy_and_is_not_tried_more_often(tried, gate, policy):
    attempts = {"code": 3}, {"gate": gate.path, "code": 4}, {"code": 5}
    queue = tried.send(*attempts, retry={"times": 1}, policy={"on_interrupt": policy})
    gate.wait_until_reached()
    tried.service.kill()
    gate.close()
    tried.service.start()
    if policy == "fail":
        line, code = all_values(queue)
        assert ("interrupted" in line, code) == (True, 75)
    else:
        assert all_values(queue) == [5]
        assert [line for line in tried.ledger() if line.startswith("action")] == ["action 1", "action 2", "action 3"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_where_the_decision_is_kept_it_is_in_a_known_place(serve, connect, tmp_path, when):
    service = serve(MANAGER, environment={"ORCHA_CRASH": f"again.{when}-commit"})
    tried = Tried(service, connect(service), tmp_path)
    queue = tried.send({"lines": ["a\n"], "code": 3}, {"lines": ["b\n"]}, policy={"on_interrupt": "rerun"})
    service.wait_for_end()
    service.start(environment={"ORCHA_CRASH": ""})
    assert all_values(queue) == ["a\n", "b\n", None]
    actions = [line for line in tried.ledger() if line.startswith("action")]
    assert actions == ["action 1", "action 2"]
    retries = [each for each in tried.show()["attempts"] if each["attempt"] == 1]
    assert len(retries) == (when == "after"), "what was not kept is not known"
