"""Ctrl+C in the document's client, in every state of its petition."""

from __future__ import annotations

import os
import signal

import pytest

from support.document import CAUGHT, lines, states, wait_for_state
from support.waiting import wait_for

INTERRUPTED = (b"", CAUGHT)
"""What is printed: nothing where the client is in ``send`` still, else what the document prints."""


def assert_serves(document):
    """The service is unharmed, and the slot is free."""
    assert document.service.process.poll() is None
    assert document.send("after").ended() == (lines(1), "", 0)


def test_while_the_message_is_converted(variant, observer, gate):
    document = variant()
    client = document.send("convertgate-1")
    gate.wait_until_reached()
    watching = observer(document)
    assert states(watching) == {}
    client.interrupt()
    out, err, code = client.ended()  # it waits for the cancel's answer, but not for ever
    assert (out, code) == (b"", 130)
    assert err == "orcha: interrupted\n"
    gate.open()
    wait_for_state(watching, "convertgate-1", "cancelled")
    assert_serves(document)


def test_while_it_is_queued(variant, observer, tmp_path):
    (tmp_path / "hold").touch()
    document = variant()
    watching = observer(document)
    client = document.send("m1")
    wait_for_state(watching, "m1", "queued")
    client.interrupt()
    out, _, code = client.ended()
    assert code == 130
    assert out in INTERRUPTED
    wait_for_state(watching, "m1", "cancelled")
    (tmp_path / "hold").unlink()
    assert_serves(document)


def test_while_it_is_starting(variant, observer, tmp_path, ledger):
    held = tmp_path / "held-in-starting"
    held.touch()
    document = variant(ORCHA_HOLD_STARTING=str(held))
    watching = observer(document)
    client = document.send("m1")
    wait_for_state(watching, "m1", "starting")
    client.interrupt()
    out, _, code = client.ended()
    assert code == 130
    assert out in INTERRUPTED
    wait_for_state(watching, "m1", "cancelled")
    held.unlink()
    assert ledger() == []  # neither on_start nor the action was called, hence no on_finish
    assert_serves(document)


def test_while_its_on_start_runs(variant, observer, gate, ledger):
    document = variant()
    watching = observer(document)
    client = document.send("starthang-1")
    gate.wait_until_reached()
    client.interrupt()
    wait_for_state(watching, "starthang-1", "cancelling")
    gate.open()
    out, _, code = client.ended()
    assert code == 130
    assert out in INTERRUPTED
    wait_for(lambda: ledger() == ["on_start starthang-1", "on_finish starthang-1"], what="on_finish, and no action")
    assert_serves(document)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_while_it_runs(variant, observer, method):
    document = variant(TEST_START_METHOD=method)
    client = document.send("m1", counter=1000, sleep_time=1000)
    assert client.line() == b"Hello world! 0\n"
    client.interrupt()
    assert client.ended() == (b"\r" + CAUGHT, "", 130)  # the document's action calls finish() now: ignored
    assert states(observer(document)) == {"m1": "cancelled"}
    document.wait_until_idle()
    assert_serves(document)
    said = document.service.stdout() + document.service.stderr()
    assert [line for line in said.splitlines() if not line.startswith(("orcha: ", "INFO: "))] == []


@pytest.mark.slow
def test_while_its_action_does_not_end_by_itself(variant, observer, gate):
    document = variant(ORCHA_ABANDON_AFTER="0.2", TEST_LIMIT="1")
    watching = observer(document)
    client = document.send("stubborn-1")
    assert client.line() == b"ready\n"
    client.interrupt()
    assert client.ended() == (CAUGHT, "", 130)  # the processes are gone, the thread is abandoned
    document.wait_until_idle()
    waiting = document.send("next")
    wait_for_state(watching, "next", "queued")  # slot and id stay taken until the thread returns
    again = document.send("stubborn-1").ended()
    assert again[0].startswith(b"the id 'stubborn-1' is taken by a petition that is ended")
    assert again[2] == 1
    gate.open()
    assert waiting.ended() == (lines(1), "", 0)
    assert states(watching)["stubborn-1"] == "cancelled"


def test_while_it_is_finishing(variant, observer, gate):
    document = variant()
    watching = observer(document)
    client = document.send("finished-1")
    assert client.ended() == (lines(1), "", 0)  # finish() decided; the action has not returned
    gate.wait_until_reached()
    assert states(watching) == {"finished-1": "succeeded"}
    assert watching.finish("finished-1") is True
    assert states(watching) == {"finished-1": "succeeded"}
    gate.open()
    wait_for(lambda: watching.finish("finished-1") is False, what="the id is free")
    assert_serves(document)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_of_two_at_once_the_other_goes_on_and_so_do_the_helpers(variant, observer, method):
    document = variant(TEST_START_METHOD=method, TEST_LIMIT="2")
    first = document.send("m1", counter=1000, sleep_time=1000)
    assert first.line() == b"Hello world! 0\n"
    with_one = document.processes()
    second = document.send("m2", counter=3, sleep_time=1)
    assert second.line() == b"Hello world! 0\n"
    first.interrupt()
    assert first.ended() == (b"\r" + CAUGHT, "", 130)
    assert second.ended() == (b"\r" + lines(3, 1), "", 0)
    assert with_one - document.processes(), "the first's process is gone"
    assert document.idle <= document.processes(), "fork server and resource tracker live"
    assert_serves(document)
    document.wait_until_idle()


def test_sigterm_to_a_forked_child_does_not_reach_the_service(variant, observer):
    document = variant(TEST_START_METHOD="fork")
    client = document.send("m1", counter=1000, sleep_time=1000)
    assert client.line() == b"Hello world! 0\n"
    (child,) = document.processes() - document.idle
    os.kill(child, signal.SIGTERM)
    assert client.ended() == (b"\r", "", 0)  # the document's action joins it and finishes
    document.wait_until_idle()
    assert "stopping" not in document.service.stderr()
    assert_serves(document)


@pytest.mark.slow
def test_twice_in_a_row_leaves_the_service_unharmed(variant, observer, gate):
    document = variant()
    watching = observer(document)
    client = document.send("stubborn-1")
    assert client.line() == b"ready\n"
    client.interrupt()
    assert client.line() == CAUGHT
    wait_for_state(watching, "stubborn-1", "cancelling")  # before that the second one would keep finish() from its work
    client.interrupt()
    out, err, _ = client.ended()
    assert (out, err) == (b"", "")
    gate.open()
    wait_for_state(watching, "stubborn-1", "cancelled")
    document.wait_until_idle()
    assert_serves(document)
