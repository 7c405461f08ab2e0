"""Hooks that hang, raise, fork or answer nonsense end their petition only, and others go on meanwhile."""

from __future__ import annotations

import subprocess

import pytest

from orcha.interfaces import Message
from support.document import lines, states
from support.waiting import wait_for

QUICK = {"ORCHA_HOOK_DEADLINE": "1"}


@pytest.mark.parametrize(
    ("identity", "line"),
    [
        ("conditionhang-1", b"the plugin took longer than 1 s to tell whether it may start\n"),
        ("convertgate-1", b"the plugin took longer than 1 s to read the message\n"),
        ("starthang-1", b"the plugin took longer than 1 s to prepare its start\n"),
    ],
)
def test_a_hook_that_hangs_ends_its_petition_and_nobody_elses(variant, gate, ledger, identity, line):
    document = variant(**QUICK)
    client = document.send(identity)
    gate.wait_until_reached()
    other = document.send("m1", counter=3)
    assert client.ended() == (line, "", 1)
    assert other.ended() == (lines(3), "", 0)
    assert "gates.py" in document.service.stderr()  # where it hangs
    gate.open()
    assert document.send("m2").ended() == (lines(1), "", 0)
    assert f"action {identity}" not in ledger()


def test_on_finish_waits_for_an_on_start_that_was_given_up(variant, gate, ledger):
    document = variant(**QUICK)
    client = document.send("starthang-1")
    assert client.ended()[2] == 1
    assert document.send("noted-1").ended() == (b"", "", 0)
    assert "on_finish starthang-1" not in ledger()
    gate.open()
    wait_for(lambda: ledger().count("on_finish starthang-1") == 1)
    assert "action starthang-1" not in ledger()


def test_an_on_finish_that_hangs_changes_no_outcome_and_is_not_repeated(variant, observer, gate, ledger):
    document = variant(**QUICK)
    assert document.send("finishhang-1").ended() == (b"", "", 0)
    gate.wait_until_reached()
    assert document.send("m1").ended() == (lines(1), "", 0)
    wait_for(lambda: "on_finish did not return" in document.service.stderr())
    assert states(observer(document))["finishhang-1"] == "succeeded"
    gate.open()
    assert document.service.stop() == 0
    document.restart()
    assert document.send("m2").ended() == (lines(1), "", 0)
    assert ledger().count("on_finish finishhang-1") == 1


def test_an_on_finish_that_raises_is_logged_and_changes_nothing(variant, observer, ledger):
    document = variant()
    assert document.send("finishraise-1").ended() == (b"", "", 0)
    wait_for(lambda: "on_finish: RuntimeError: the rig is gone" in document.service.stderr())
    assert states(observer(document)) == {"finishraise-1": "succeeded"}
    assert ledger().count("on_finish finishraise-1") == 1


@pytest.mark.parametrize("word", ["startfalse", "startraise"])
def test_on_finish_is_called_once_for_an_on_start_that_said_no(variant, ledger, word):
    document = variant()
    assert document.send(f"{word}-1").ended()[2] == 1
    wait_for(lambda: ledger() == [f"on_start {word}-1", f"on_finish {word}-1"])


@pytest.mark.parametrize("word", ["convertfork", "conditionfork", "startfork", "finishfork", "forkaction"])
def test_a_plugin_that_forks_and_returns_leaves_one_service(variant, observer, ledger, word):
    document = variant()
    out, err, code = document.send(f"{word}-1").ended()
    assert (out, err, code) == (lines(1) if word != "forkaction" else b"", "", 0)
    assert document.send("m1").ended() == (lines(1), "", 0)
    document.wait_until_idle()
    wait_for(lambda: f"on_finish {word}-1" in ledger())
    assert ledger().count(f"on_start {word}-1") == 1
    assert ledger().count(f"on_finish {word}-1") == 1


@pytest.mark.slow
def test_stop_refuses_new_ones_and_lets_what_runs_go_on(variant, observer, gate, tmp_path):
    document = variant(**QUICK, TEST_ON_HOOK_TIMEOUT="stop")
    running = document.send("slow-1", counter=30, sleep_time=0.1)
    assert running.line() == b"Hello world! 0\n"
    hung = document.send("convertgate-1")
    gate.wait_until_reached()
    meanwhile = document.send("m1")
    assert hung.ended() == (b"the plugin took longer than 1 s to read the message\n", "", 1)
    busy = b"the plugin does not answer: try again later\n"
    assert meanwhile.ended() == (busy, "", 75)
    assert document.send("m2").ended() == (busy, "", 75)
    assert running.ended() == (b"\r" + lines(30, 1), "", 0)
    gate.open()
    wait_for(lambda: document.send("m3").ended() == (lines(1), "", 0), what="it takes messages again")


@pytest.mark.slow
def test_the_fourth_hang_stops_the_service_with_75(variant, observer, gate):
    document = variant(**QUICK)
    running = document.send("slow-1", counter=30, sleep_time=0.1)
    assert running.line() == b"Hello world! 0\n"
    for number in range(4):
        assert document.send(f"convertgate-{number}").ended()[2] == 1
    assert running.ended() == (b"\r" + lines(30, 1), "", 0)
    assert document.service.wait_for_end() == 75
    assert "too many hooks that do not return" in document.service.stderr()


@pytest.mark.slow
def test_three_hangs_are_lived_with(variant, gate):
    document = variant(**QUICK)
    for number in range(3):
        assert document.send(f"convertgate-{number}").ended()[2] == 1
    assert document.send("m1", counter=2).ended() == (lines(2), "", 0)
    with_the_hung = document.service.threads()
    gate.open()  # for all that wait there
    wait_for(lambda: document.service.threads() <= with_the_hung - 3, what="the return of the hooks that hung")
    for number in range(3, 5):  # those came back, so that others may hang
        assert document.send(f"convertgate-{number}").ended()[2] == 1
    assert document.send("m2", counter=2).ended() == (lines(2), "", 0)


def test_a_log_that_nobody_reads_stops_nobody(serve, connect, tmp_path):
    source = """
import os
from orcha.exceptions import ConditionFailed
from support.managers import ScriptManager
class Wordy(ScriptManager):
    def below_limit(self, petition):
        if petition.script.get("blocked"):
            return ConditionFailed(f"{petition.id} waits for rig " + "3" * 2_000)
        return True
"""
    service = serve("wordy:Wordy", source=source, start=False)
    process = service.spawn(*service.command, stderr=subprocess.PIPE, bufsize=0)
    assert process.stderr.readline().startswith(b"orcha: serving")  # and from now on nobody reads
    client = connect(service)
    client.send_many([Message(number, {"blocked": True}) for number in range(200)])  # far more than a pipe holds
    queue = client.manager.Queue()
    client.send(Message("m1", {"queue": queue, "lines": ["a"]}))
    assert [queue.get(timeout=30), queue.get(timeout=30)] == ["a", None]
    process.terminate()
    assert process.wait(30) == 0
