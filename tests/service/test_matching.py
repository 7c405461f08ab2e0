"""Patterns of clients: found where they are, and never a burden for more than a moment."""

from __future__ import annotations

import json
import queue
import threading

import pytest

from orcha._service.execution import output_patterns as matching
from orcha._service.execution.output_patterns import Matching, found
from orcha.interfaces import Retry

HOSTILE = b"(a+)+b"
LONG = b"a" * 50 + b"c"


@pytest.mark.parametrize(
    ("pattern", "texts", "answer"),
    [
        ("b(u|ü)sy", ["x\n", "büsy"], True),
        ("b[uü]sy", ["x\n", "büsy"], False),
        ("^two$", ["one\ntwo\n"], False),
        ("(?m)^two$", ["one\ntwo\n"], True),
        (r"\x00", ["a\0b"], True),
        ("a.*b", ["a" * 100, "b" * 100], False),
        ("x", [], False),
    ],
)
def test_a_pattern_is_found_where_python_finds_it(pattern, texts, answer):
    assert found(pattern.encode(), [text.encode() for text in texts]) is answer


def test_one_that_would_take_for_ever_is_given_up():
    assert found(HOSTILE, [LONG]) is None


def test_where_no_process_can_be_started_nobody_knows(monkeypatch):
    monkeypatch.setattr(matching.sys, "executable", "/nowhere/python")
    answers = queue.SimpleQueue()
    Matching().ask(b"a+", [b"a"], answers.put)
    assert answers.get(timeout=30) is None


def test_where_no_thread_can_be_started_nobody_knows(monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    answers = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        matcher = Matching()
        matcher.ask(b"a+", [b"a"], answers.append)
    assert answers == [None]
    told = queue.SimpleQueue()
    matcher.ask(b"a+", [b"a"], told.put)
    assert told.get(timeout=30) is True


def test_plain_words_need_no_process(monkeypatch):
    monkeypatch.setattr(matching.sys, "executable", "/nowhere/python")
    answers = []
    Matching().ask("büsy: no".encode(), ["it is büsy: no".encode()], answers.append)
    Matching().ask(b"busy", [b"it is not"], answers.append)
    assert answers == [True, False]


def test_many_are_answered_in_time_each_with_its_own():
    answers = queue.SimpleQueue()
    matcher = Matching()
    for number in range(20):
        matcher.ask(f"^{number}$".encode(), [b"7"], lambda answer, number=number: answers.put((number, answer)))
    assert sorted(answers.get(timeout=30) for _ in range(20)) == [(number, number == 7) for number in range(20)]


@pytest.mark.parametrize(
    "pattern",
    ["(", "a{99999999999}", "(" * 3_000 + ")" * 3_000, "[z-a]", "(?P<a>x)(?P<a>y)", "x" * 5_000, "\udcff", "*"],
)
def test_what_is_no_pattern_is_refused_where_it_comes_in(pattern):
    with pytest.raises(ValueError, match=r"^retry\.output "):
        Retry(times=1, output=pattern)


def test_a_hostile_pattern_keeps_nobody_waiting(serve):
    """Each hostile pattern costs the second of a processor that it is given."""
    service = serve(arguments=("serve", "commands"), environment={"ORCHA_COMMANDS": "4"})
    text = "a" * 60
    hostile = ("--retry", "1", "--retry-delay", "10ms", "--retry-output", HOSTILE.decode())
    assert (
        service.run("run", "--detach", "--name", "h", *hostile, "--", "sh", "-c", f"echo {text}; exit 3").returncode
        == 0
    )
    waiting = threading.Thread(target=lambda: waited.append(service.run("wait", "h").returncode))
    waited = []
    waiting.start()
    for _ in range(3):
        assert service.run("run", "--", "true").returncode == 0
    waiting.join()
    assert waited == [3]
    shown = json.loads(service.ask("show", "h", "--json").stdout)
    assert [attempt["code"] for attempt in shown["attempts"]] == [3]
    assert "took too long" in service.run("logs", "h").stderr + service.run("logs", "h").stdout


def test_a_pattern_decides_on_the_real_output(serve):
    service = serve(arguments=("serve", "commands"))
    tried = ("--retry", "2", "--retry-delay", "10ms", "--retry-output", "b[u]sy$", "--", "sh", "-c")
    assert service.run("run", "--name", "a", *tried, "printf busy >&2; exit 3").returncode == 3
    assert service.run("run", "--name", "b", *tried, "printf other; exit 3").returncode == 3
    attempts = [json.loads(service.ask("show", name, "--json").stdout)["attempts"] for name in "ab"]
    assert [len(each) for each in attempts] == [3, 1]


def test_killed_while_it_is_looked_for_the_end_is_decided_at_the_next_start(serve):
    service = serve(arguments=("serve", "commands"))
    hostile = ("--retry", "1", "--retry-delay", "10ms", "--retry-output", "(a+)+b")
    script = f"echo {'a' * 60}; exit 3"
    assert service.run("run", "--detach", "--name", "h", *hostile, "--", "sh", "-c", script).returncode == 0
    service.kill()
    service.start()
    assert service.ask("wait", "h").returncode == 3
