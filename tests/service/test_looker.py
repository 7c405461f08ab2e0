"""What conditions name is looked up on a thread of its own, and a look that does not come back hides no other."""

from __future__ import annotations

import threading
import time

import pytest

from orcha._core.conditions.kinds import Unknown
from orcha._core.conditions.terms import BUILT_IN, Reading
from orcha._service.conditions import machine
from orcha._service.conditions.looker import MAX_GIVEN_UP_THREADS, SECONDS_OF_A_LOOK, Looker
from orcha.utils.threads import ignore_death
from support.waiting import wait_for

LOAD = Reading("load", (1,))


def path(name):
    return Reading("exists", (f"/{name}",))


class Looks:
    """A looker whose looks at some paths hang until they are let go."""

    def __init__(self):
        self.let_go = {}
        self.entered = []
        self.found = {}
        self.deliveries = 0
        self.looker = Looker(self.look, lambda reading: reading.name == "load", self.deliver, ignore_death)

    def hang(self, reading):
        self.let_go[reading] = threading.Event()

    def look(self, reading):
        self.entered.append((reading, threading.current_thread()))
        if reading in self.let_go:
            self.let_go[reading].wait()
        return True

    def deliver(self, values):
        self.deliveries += 1
        self.found.update(values)

    def ask(self, *readings, later=0.0):
        self.looker.ask(readings, time.monotonic() + later)

    def get(self, reading):
        return wait_for(lambda: self.found.get(reading))


@pytest.fixture
def looks():
    looks = Looks()
    yield looks
    for event in looks.let_go.values():
        event.set()
    looks.looker.stop(10)
    for thread in {thread for _, thread in looks.entered}:
        thread.join(10)


def test_all_are_looked_at_on_one_thread(looks):
    looks.ask(path("a"), LOAD, path("b"))
    assert [looks.get(each) for each in (LOAD, path("a"), path("b"))] == [True] * 3
    assert [reading for reading, _ in looks.entered] == [LOAD, path("a"), path("b")]
    assert {thread for _, thread in looks.entered} != {threading.current_thread()}
    assert looks.deliveries == 2


def test_a_look_that_hangs_is_told_and_the_others_go_on(looks):
    looks.hang(path("dead"))
    looks.ask(LOAD, path("a"), path("dead"), path("z"))
    assert looks.get(LOAD) is True
    wait_for(lambda: len(looks.entered) == 3)
    assert path("a") not in looks.found
    looks.ask(LOAD, path("a"), path("dead"), path("z"), later=SECONDS_OF_A_LOOK + 1)
    assert looks.get(path("dead")) == Unknown("no answer for 3 s")
    assert looks.get(path("z")) is True
    assert looks.get(path("a")) is True
    looks.ask(path("dead"), later=60)
    assert looks.found[path("dead")] == Unknown("no answer for 60 s")
    assert len({thread for _, thread in looks.entered}) == 2


def test_what_hung_is_looked_at_again_when_it_has_come_back(looks):
    looks.hang(path("dead"))
    looks.ask(path("dead"))
    wait_for(lambda: looks.entered)
    looks.ask(path("dead"), later=SECONDS_OF_A_LOOK)
    looks.let_go.pop(path("dead")).set()
    looks.entered[0][1].join(10)
    looks.found.clear()
    looks.ask(path("dead"))
    assert looks.get(path("dead")) is True


def test_a_look_that_is_slow_is_not_asked_for_twice(looks):
    looks.hang(path("slow"))
    looks.ask(path("slow"))
    wait_for(lambda: looks.entered)
    looks.ask(path("slow"), path("b"), later=SECONDS_OF_A_LOOK / 2)
    looks.let_go[path("slow")].set()
    assert looks.get(path("slow")) is True
    assert [reading for reading, _ in looks.entered] == [path("slow")]


def test_where_many_hang_only_what_never_blocks_is_looked_at(looks):
    for number in range(MAX_GIVEN_UP_THREADS):
        looks.hang(path(number))
        looks.ask(path(number))
        wait_for(lambda number=number: len(looks.entered) == number + 1)
        looks.ask(later=SECONDS_OF_A_LOOK)
    looks.ask(LOAD, path("a"), path(3), later=10)
    assert looks.get(LOAD) is True
    assert looks.get(path("a")) == Unknown(f"{MAX_GIVEN_UP_THREADS} other looks have not come back")
    assert "no answer" in looks.get(path(3)).reason


def test_without_a_thread_nothing_is_known_and_nothing_breaks(looks, monkeypatch):
    def refuses(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuses)
    looks.ask(LOAD)
    assert "cannot be started" in looks.found[LOAD].reason
    monkeypatch.undo()
    looks.found.clear()
    looks.ask(LOAD)
    assert looks.get(LOAD) is True


def looked(name, *arguments):
    return machine.look(Reading(name, arguments), BUILT_IN, machine.FUNCTIONS)


def test_the_machine_is_looked_at(tmp_path):
    there, gone = tmp_path / "there", tmp_path / "gone"
    there.touch()
    assert looked("exists", str(there)) is True
    assert looked("exists", str(gone)) is False
    assert looked("exists", str(there / "below")) is False
    assert 0 <= looked("age", str(there)) < 3600
    assert looked("age", str(gone)) == Unknown("no such file or directory")
    assert looked("disk.free", str(gone)) == Unknown("no such file or directory")
    assert looked("disk.free", str(tmp_path)) > 0
    assert all(looked("load", minutes) >= 0 for minutes in (1, 5, 15))
    assert looked("cpus") >= 1
    assert 0 < looked("memory.free") <= looked("memory.total")
    assert 0 < looked("memory.available") <= looked("memory.total")
    assert looked("swap.used") >= 0
    assert looked("swap.free") >= 0
    assert looked("users") >= 0


def test_a_path_that_cannot_be_looked_at_is_not_taken_for_absent():
    assert looked("exists", "/" + "x" * 5000) == Unknown("file name too long")


def test_a_function_that_raises_or_gives_what_it_should_not_is_told():
    def breaks():
        raise SystemExit("no rig")

    functions = {"users": breaks, "cpus": lambda: "four"}
    assert machine.look(Reading("users"), BUILT_IN, functions) == Unknown("SystemExit: no rig")
    assert machine.look(Reading("cpus"), BUILT_IN, functions) == Unknown("what was found is no number but 'str'")


def test_each_name_that_is_to_be_looked_at_has_its_function():
    origins = {term.name: term.origin.name for term in BUILT_IN}
    assert {name for name, origin in origins.items() if origin in {"MACHINE", "FILES"}} == set(machine.FUNCTIONS)
