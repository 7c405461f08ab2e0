"""The plan of signals, the thread that carries it out, and what stands in where there are no tags."""

from __future__ import annotations

import logging
import math
import queue
import signal
import subprocess
import sys

import pytest

from orcha._processes.attempt_processes import SeenProcesses, TaggedProcesses, processes_for
from orcha._processes.escalation_plan import KILL_STEPS, POLITE_STEPS, EscalationPlan, EscalationStep
from orcha._processes.identity import identify, read_stat
from orcha._processes.tag import new_nonce
from orcha._processes.terminator import AttemptTerminator
from support.waiting import wait_for

INT, TERM, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL
READY = "import signal, sys\nprint(flush=True)\nsys.stdin.readline()\n"
STUBBORN = "import signal\nfor s in ({}): signal.signal(s, signal.SIG_IGN)\n" + READY


def test_a_plan_goes_from_step_to_step_as_time_passes() -> None:
    plan = EscalationPlan([EscalationStep(INT, 2), EscalationStep(TERM, 3), EscalationStep(KILL, 30)])
    assert plan.decide(10, anybody=True) == (INT, 12, False)
    assert plan.decide(11.9, anybody=True) == (INT, 12, False)
    assert plan.decide(12, anybody=True) == (TERM, 15, False)
    assert plan.decide(15, anybody=True) == (KILL, 45, False)
    assert plan.decide(45, anybody=True) == (KILL, 45, True)
    assert plan.signal == KILL


def test_a_plan_is_over_when_nobody_is_left() -> None:
    plan = EscalationPlan()
    assert plan.decide(1, anybody=False).is_over
    assert plan.signal is None
    assert not plan.decide(1, anybody=True).is_over
    assert plan.decide(2, anybody=False).is_over
    assert plan.signal == INT


def test_a_plan_in_a_hurry_skips_the_polite_steps_but_does_not_begin_again() -> None:
    plan = EscalationPlan()
    plan.decide(0, anybody=True)
    plan.hurry()
    assert plan.decide(0.1, anybody=True) == (KILL, 30.1, False)
    plan.hurry()
    assert plan.decide(30.1, anybody=True).is_over


def test_a_plan_needs_a_step() -> None:
    with pytest.raises(ValueError):
        EscalationPlan([])


@pytest.fixture(params=["tagged", "known"])
def population(request):
    return TaggedProcesses(new_nonce()) if request.param == "tagged" else SeenProcesses()


@pytest.fixture
def ended():
    return queue.SimpleQueue()


@pytest.fixture
def ending(population, ended):
    ending = AttemptTerminator(population, lambda _: None, lambda *what: ended.put(what))
    yield ending
    ending.stop()


@pytest.fixture
def start(population):
    started = []

    def start(ordinal, code=READY):
        process = subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        process.stdout.readline()
        assert population.claim(ordinal, process.pid) == [process.pid]
        return process

    yield start
    for process in started:
        process.kill()
        with process:
            pass


def test_only_the_exact_population_is_called_exact() -> None:
    assert processes_for(new_nonce()).exact
    assert not SeenProcesses().exact


@pytest.mark.parametrize(("ignored", "worked"), [((INT,), TERM), ((INT, TERM), KILL)])
def test_the_signal_that_worked_is_told(ending, ended, start, ignored, worked) -> None:
    code = STUBBORN.format("".join(f"{int(number)}," for number in ignored))
    process = start(1, code)
    patient = [EscalationStep(number, 0.05 if number in ignored else math.inf) for number in (INT, TERM, KILL)]
    ending.begin(1, patient)
    assert ended.get(timeout=30) == (1, (), worked)
    assert process.wait() == -worked


def test_an_attempt_without_processes_ends_without_a_signal(ending, ended) -> None:
    ending.begin(5)
    assert ended.get(timeout=30) == (5, (), None)


def test_many_attempts_end_side_by_side(ending, ended, start) -> None:
    processes = [start(ordinal) for ordinal in range(1, 6)]
    for ordinal in range(1, 6):
        ending.begin(ordinal, [EscalationStep(TERM, math.inf)])
    assert {ended.get(timeout=30) for _ in range(5)} == {(ordinal, (), TERM) for ordinal in range(1, 6)}
    assert [process.wait() for process in processes] == [-TERM] * 5


def test_an_ending_can_be_hurried(ending, ended, start) -> None:
    process = start(1, STUBBORN.format(f"{int(INT)}, {int(TERM)}"))
    ending.begin(1, [EscalationStep(INT, math.inf), *KILL_STEPS])
    ending.begin(1, KILL_STEPS)
    assert ended.get(timeout=30)[:2] == (1, ())
    assert process.wait() == -KILL


def test_a_stopped_process_is_continued_to_hear_its_signal(ending, ended, start) -> None:
    process = start(1)
    process.send_signal(signal.SIGSTOP)
    wait_for(lambda: read_stat(process.pid).state == "T", what="the stop")
    ending.begin(1, [EscalationStep(TERM, math.inf), *KILL_STEPS])
    assert ended.get(timeout=30) == (1, (), TERM)
    assert process.wait() == -TERM


def test_what_outlives_the_last_grace_is_named(ending, ended, start) -> None:
    process = start(1, STUBBORN.format(f"{int(TERM)},"))
    ending.begin(1, [EscalationStep(TERM, 0.01)])
    assert ended.get(timeout=30) == (1, (process.pid,), TERM)


def test_a_report_that_fails_harms_no_other_ending(population, start, ended, caplog) -> None:
    def report(ordinal, *rest):
        if ordinal == 1:
            raise RuntimeError("no")
        ended.put(ordinal)

    ending = AttemptTerminator(population, lambda _: None, report)
    ending.begin(1)
    ending.begin(2)
    assert ended.get(timeout=30) == 2
    ending.stop()
    assert [record.levelno for record in caplog.records if record.name == "orcha"] == [logging.ERROR]


def test_what_could_not_be_looked_at_is_looked_at_again(population, start, ended, caplog, monkeypatch) -> None:
    process = start(1)
    look, failures = population.living, iter([OSError(24, "no descriptor is free")] * 3)

    def living(ordinal):
        if error := next(failures, None):
            raise error
        return look(ordinal)

    monkeypatch.setattr(population, "living", living)
    ending = AttemptTerminator(population, lambda _: None, lambda *what: ended.put(what))
    ending.begin(1, [EscalationStep(TERM, math.inf)])
    assert ended.get(timeout=30) == (1, (), TERM)
    assert process.wait() == -TERM
    assert len([record for record in caplog.records if record.name == "orcha"]) == 1
    ending.stop()


def test_nothing_is_ended_after_the_stop(population) -> None:
    ending = AttemptTerminator(population, lambda _: None, lambda *_: None)
    ending.stop()
    ending.stop()
    with pytest.raises(RuntimeError):
        ending.begin(1)


def test_a_sweep_of_one_attempt_leaves_the_others(population, start) -> None:
    first, second = start(1), start(2)
    assert population.sweep(1) == ((first.pid,), ())
    assert [one.pid for one in population.living(2)] == [second.pid]
    population.sweep(2)
    population.forget(2)


def test_known_processes_are_found_with_what_descends_from_them() -> None:
    known = SeenProcesses()
    with subprocess.Popen(["sh", "-c", "echo; read x; sleep 1000 & echo $!; wait"], stdin=-1, stdout=-1) as shell:
        shell.stdout.readline()
        known.claim(1, shell.pid)
        shell.stdin.write(b"\n")
        shell.stdin.flush()
        child = int(shell.stdout.readline())
        assert {one.pid for one in known.living(1)} == {shell.pid, child}
        assert set(known.sweep(1).killed) == {shell.pid, child}
    wait_for(lambda: identify(child) is None)
    assert known.claim(2, shell.pid) == []
    assert known.claim_children(1, 1) == []


def test_the_default_plan_is_polite_first() -> None:
    assert [step.signal for step in POLITE_STEPS] == [INT, TERM, KILL]
