"""Nobody waits for ever: whatever happens, the document's client ends by itself with a line and a code."""

from __future__ import annotations

import subprocess

import pytest

from support.document import Document, lines, wait_for_state
from support.waiting import wait_for


def assert_one_line(stderr):
    """One line for people, and no traceback."""
    assert stderr.startswith("orcha: ")
    assert len(stderr.splitlines()) == 1


REFUSALS = [
    ("none-1", b"the message 'none-1' is refused: its plugin takes no such message\n"),
    ("lacks-1", b"the message 'lacks-1' is refused: its plugin takes no such message\n"),
    ("convertraise-1", b"the message is refused: no such rig (RuntimeError)\n"),
    ("keyerror-1", b"the message is refused: 'rig' (KeyError)\n"),
    ("nonsense-1", b"the message is refused: its plugin made 42 of it, which is no petition\n"),
    ("otherid-1", b"the message is refused: its plugin gave its petition the id 'another', not 'otherid-1'\n"),
    ("conditionraise-1", b"its condition failed: the rig list is empty (RuntimeError)\n"),
    ("conditionexit-1", b"its condition failed: 3 (SystemExit)\n"),
    ("startfalse-1", b"its plugin does not let it start\n"),
    ("startraise-1", b"its start failed: the rig is taken (RuntimeError)\n"),
    ("raise-1", b"RuntimeError: the rig is on fire\n"),
    ("exit-1", b"SystemExit: 7\n"),
]


@pytest.mark.slow
def test_what_cannot_run_ends_with_its_reason_and_one(variant):
    document = variant()
    clients = {identity: document.send(identity) for identity, _ in REFUSALS}
    ended = {identity: client.ended() for identity, client in clients.items()}
    assert ended == {identity: (line, "", 1) for identity, line in REFUSALS}
    assert document.send("m1").ended() == (lines(1), "", 0)


def test_an_action_that_returns_without_finish_ends_with_zero(variant):
    assert variant().send("silent-1").ended() == (lines(1), "", 0)


def test_the_code_given_to_finish_is_the_clients(variant):
    assert variant().send("three-1").ended() == (b"", "", 3)


def test_an_id_that_is_queued_or_running_already_is_refused(variant, observer, tmp_path, gate):
    document = variant(TEST_LIMIT="1")
    running = document.send("gated-1")
    assert running.line() == b"Hello world! 0\n"
    queued = document.send("gated-2")
    watching = observer(document)
    wait_for_state(watching, "gated-2", "queued")
    for identity, state in [("gated-1", b"running"), ("gated-2", b"queued")]:
        out, err, code = document.send(identity).ended()
        assert out.startswith(b"the id '%s' is taken by a petition that is %s" % (identity.encode(), state))
        assert out.count(b"\n") == 1
        assert (err, code) == ("", 1)
    gate.open()
    assert running.ended() == (b"\r", "", 0)
    gate.open()
    assert queued.ended() == (lines(1), "", 0)


# --- the service stops, is killed, comes back, does not ---------------------------------------------------------------


def test_an_orderly_stop_ends_what_runs_as_interrupted(variant, observer):
    document = variant(ORCHA_STOP_GRACE="0.2")
    client = document.send("m1", counter=1000, sleep_time=1000)
    assert client.line() == b"Hello world! 0\n"
    assert document.service.stop() == 0
    assert client.ended() == (b"\rinterrupted: the service was stopped while it ran\n", "", 75)


def test_an_orderly_stop_lets_what_runs_come_to_its_end(variant):
    document = variant()
    client = document.send("m1", counter=3, sleep_time=0.5)
    assert client.line() == b"Hello world! 0\n"
    assert document.service.stop() == 0
    assert client.ended() == (b"\r" + lines(3, 1), "", 0)


def test_a_stopping_service_takes_nothing_new(variant, observer, gate):
    document = variant(ORCHA_STOP_GRACE="60")
    running = document.send("gated-1")
    assert running.line() == b"Hello world! 0\n"
    document.service.process.terminate()
    wait_for(lambda: refused_for_stopping(document), what="a refusal")
    gate.open()
    assert running.ended() == (b"\r", "", 0)
    assert document.service.wait_for_end() == 0


def refused_for_stopping(document):
    """Tell whether a new client is refused as it should be; it may come before the signal was seen."""
    client = document.send("late", environment={"ORCHA_RECONNECT": "0.1"})
    out, err, code = client.ended()
    if (out, err, code) == (lines(1), "", 0):
        return False
    assert (out, code) == (b"", 75)
    assert_one_line(err)
    return True


def test_queued_ones_wait_for_the_service_to_come_back(variant, observer, tmp_path):
    (tmp_path / "hold").touch()
    document = variant()
    client = document.send("m1", counter=3)
    wait_for_state(observer(document), "m1", "queued")
    assert document.service.stop() == 0
    (tmp_path / "hold").unlink()
    assert client.notice().startswith("orcha: ")
    document.restart()
    out, err, code = client.ended()
    assert (out, code) == (lines(3), 0)
    assert_told_of_the_return_at_most(err)


def assert_told_of_the_return_at_most(err):
    """The client said no more than that the service is back."""
    assert err in {"", "orcha: the service is back\n"}


def test_queued_ones_survive_a_kill(variant, observer, tmp_path):
    (tmp_path / "hold").touch()
    document = variant()
    client = document.send("m1", counter=3)
    wait_for_state(observer(document), "m1", "queued")
    document.service.kill()
    (tmp_path / "hold").unlink()
    assert client.notice().startswith("orcha: ")
    document.restart()
    out, err, code = client.ended()
    assert (out, code) == (lines(3), 0)
    assert_told_of_the_return_at_most(err)


def test_running_ones_end_interrupted_when_the_service_was_killed_and_is_back(variant):
    document = variant()
    client = document.send("m1", counter=1000, sleep_time=1000)
    assert client.line() == b"Hello world! 0\n"
    document.service.kill()
    assert client.notice().startswith("orcha: ")
    document.restart()
    out, err, code = client.ended()
    assert (out, code) == (b"\rinterrupted: the service ended while it ran\n", 75)
    assert_told_of_the_return_at_most(err)


@pytest.mark.slow
def test_no_line_is_lost_or_doubled_when_the_service_comes_back(variant, observer):
    document = variant()
    count = 22_000  # more than the test reads, the client takes ahead and the pipe holds: 440 KB
    client = document.send("fast-1", counter=count)
    wait_for_state(observer(document), "fast-1", "succeeded")
    seen = client.read(10_000)
    document.service.kill()
    document.restart()
    seen += client.read(20_000)
    assert document.service.stop() == 0
    document.restart()
    out, _, code = client.ended()
    assert seen + out == lines(count)
    assert code == 0


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_service_that_does_not_come_back_ends_its_clients_with_69(variant, observer, tmp_path, end):
    (tmp_path / "hold").touch()
    document = variant()
    client = document.send("m1", environment={"ORCHA_RECONNECT": "0.5"})
    wait_for_state(observer(document), "m1", "queued")
    getattr(document.service, end)()
    assert client.notice().startswith("orcha: ")
    out, err, code = client.ended()
    assert code == 69
    assert out.startswith(b"orcha: ")
    assert out.count(b"\n") == 1
    assert_told_of_the_return_at_most(err)


def test_no_service_ends_with_69(serve):
    document = Document(serve, start=False)
    out, err, code = document.send("m1").ended()
    assert (out, code) == (b"", 69)
    assert_one_line(err)
    assert "no service answers" in err


def test_a_wrong_key_ends_with_77(serve, free_port):
    document = Document(serve, start=False)
    where = ["--port", str(document.service.port), "--key", "the one that is right, and long enough"]
    service = document.service.spawn(
        *document.service.orcha()[:3], *where, "hello-variant", "serve", stderr=subprocess.PIPE
    )
    assert service.stderr.readline().startswith(b"orcha: serving")
    wrong = [*document.service.orcha()[:3], *where[:2], "--key", "another one, which is wrong", "hello-variant"]
    out, err, code = document.send("m1", command=wrong).ended()
    assert (out, code) == (b"", 77), err
    assert_one_line(err)
    service.terminate()
    assert service.wait(30) == 0
