"""Attempts that a process outlives which nothing can kill: they keep id, slot and needs until it has ended."""

from __future__ import annotations

import json
import threading

import pytest

from commands.fake_commands import FakeCommands, ended, output, started
from orcha._core.state import Outcome, State
from orcha._protocol.shown_reasons import SILENT
from orcha._service.execution.command_reports import CommandReports
from orcha._service.verbs.list import explain
from orcha._service.verbs.sights import Sights
from orcha._supervisor.contract import CommandLost, FoundAttempt, SurvivorsGone
from support.waiting import wait_for

HERE = (1,)
"""A process that lives and that no test kills."""


def why(engine, asked):
    return explain(engine.engine, engine.row(asked), None, Sights(engine.engine, engine.peer))[0]


def running(engine, **fields):
    asked = engine.run(**fields)
    spec = engine.wait_for_spec()
    engine.commands.tell(started(spec))
    wait_for(lambda: engine.row(asked).state is State.RUNNING, what="RUNNING")
    return asked, spec


def is_held(engine, asked):
    return engine.engine.petitions.granted.has(engine.row(asked).seq) and engine.row(asked).slot_held


def outlive(engine, asked):
    """Have what lives end, and see that all is let go then."""
    assert "(pid 1)" in why(engine, asked)
    assert "a" in engine.engine.petitions.live
    engine.commands.tell(SurvivorsGone(1, 1))
    wait_for(lambda: not engine.row(asked).slot_held, what="its slot")
    engine.settle_engine()
    assert "a" not in engine.engine.petitions.live
    assert "a" not in engine.engine.petitions.granted


def test_after_an_exit_its_end_is_told_and_its_place_is_kept(engine):
    asked, spec = running(engine)
    engine.commands.tell(ended(spec, 0, survivors=list(HERE)))
    wait_for(lambda: engine.values(asked) == [0], what="its end")
    assert engine.row(asked).outcome is Outcome.SUCCEEDED
    assert is_held(engine, asked)
    outlive(engine, asked)
    engine.wait_for_call("forget", 1, 1)


def test_one_that_was_to_be_tried_again_ends_as_it_is(engine):
    asked, spec = running(engine, retry={"times": 3, "delay": 0.0})
    engine.commands.tell(ended(spec, 7, survivors=list(HERE)))
    wait_for(lambda: engine.values(asked) == [7], what="its end")
    assert is_held(engine, asked)
    outlive(engine, asked)
    assert len(engine.commands.specs) == 1


def test_after_a_cancel_it_is_broken_and_its_place_is_kept(engine):
    asked, spec = running(engine)
    engine.cancel(asked)
    engine.wait_for_call("cancel", 1, 1, "cancelled")
    engine.commands.tell(ended(spec, None, signal=9, why="cancelled", survivors=list(HERE)))
    wait_for(lambda: engine.row(asked).state is State.ENDED, what="its end")
    assert engine.row(asked).outcome is Outcome.BROKEN
    assert engine.row(asked).reason == "cannot be killed: process 1"
    assert is_held(engine, asked)
    outlive(engine, asked)


def test_one_that_is_lost_is_interrupted_and_its_place_is_kept(engine):
    asked, _ = running(engine)
    engine.commands.tell(CommandLost(1, 1, executed=True, survivors=HERE))
    wait_for(lambda: engine.row(asked).state is State.ENDED, what="its end")
    assert engine.values(asked)[-1] == 75
    assert is_held(engine, asked)
    outlive(engine, asked)


@pytest.mark.parametrize("policy", ["rerun", "ask"])
def test_one_that_is_lost_waits_with_its_next_attempt(engine, policy):
    asked, _ = running(engine, policy={"on_interrupt": policy})
    engine.commands.tell(CommandLost(1, 1, executed=True, survivors=HERE))
    wait_for(lambda: "(pid 1)" in (why(engine, asked) or ""), what="why it waits")
    engine.settle_engine()
    assert engine.row(asked).state is State.RUNNING
    assert is_held(engine, asked) or engine.engine.petitions.granted.has(1)
    assert len(engine.commands.specs) == 1
    engine.commands.tell(SurvivorsGone(1, 1))
    if policy == "rerun":
        engine.commands.tell(ended(engine.wait_for_spec(2), 3))
        wait_for(lambda: engine.values(asked) == [3], what="the end of the second attempt")
    else:
        wait_for(lambda: engine.row(asked).state is State.HELD, what="HELD")
    assert json.loads(engine.engine.store.attempts([1])[1].history)[0]["why"] == "lost"


def test_a_cancel_of_one_that_waits_so_is_answered(engine):
    asked, _ = running(engine, policy={"on_interrupt": "rerun"})
    engine.commands.tell(CommandLost(1, 1, executed=True, survivors=HERE))
    wait_for(lambda: "(pid 1)" in (why(engine, asked) or ""), what="why it waits")
    engine.cancel(asked)
    wait_for(lambda: engine.row(asked).state is State.ENDED, what="its end")
    assert engine.row(asked).outcome is Outcome.BROKEN
    assert is_held(engine, asked)
    outlive(engine, asked)
    assert len(engine.commands.specs) == 1


def test_the_end_that_a_dead_shim_saw_is_told_and_its_place_is_kept(engine):
    asked, spec = running(engine, policy={"on_interrupt": "rerun"})
    engine.commands.tell(CommandLost(1, 1, True, ended(spec, 3), survivors=HERE))
    wait_for(lambda: engine.values(asked) == [3], what="its end")
    assert is_held(engine, asked)
    outlive(engine, asked)


def test_found_so_at_a_start_it_waits_as_well(engine):
    asked, spec = running(engine, policy={"on_interrupt": "rerun"})
    there = FoundAttempt(spec.seq, spec.attempt, spec.channel, "lost", "shim", 99, 0.0, "", survivors=HERE)
    later = engine.again(there)
    wait_for(lambda: "(pid 1)" in (why(later, asked) or ""), what="why it waits")
    assert not later.commands.specs
    later.commands.tell(SurvivorsGone(1, 1))
    later.commands.tell(ended(later.wait_for_spec(2), 0))
    later.follow(asked)
    wait_for(lambda: later.row(asked).outcome is Outcome.SUCCEEDED, what="the end of the second attempt")


def found_outlived(spec):
    """Give what the next start finds of a command that ended with survivors."""
    return FoundAttempt(spec.seq, spec.attempt, spec.channel, "ended", "shim", 99, 0.0, "", 7, survivors=HERE)


def outlived_over_a_restart(engine, asked, spec):
    """Have the command end with survivors, and give the service of the next start, which finds them."""
    engine.commands.tell(ended(spec, 0, survivors=list(HERE)))
    wait_for(lambda: engine.values(asked) == [0], what="its end")
    return engine.again(found_outlived(spec))


def test_one_that_had_ended_keeps_its_place_over_a_restart(engine):
    asked, spec = running(engine)
    later = outlived_over_a_restart(engine, asked, spec)
    assert later.engine.petitions.granted.has(1)
    outlive(later, asked)


def test_the_shim_of_one_that_had_ended_is_asked_to_tell_its_end_again_and_is_not_told_to_discard_it(engine):
    """A shim tells a later service nothing that the service does not ask for, also not that nothing lives any more."""
    asked, spec = running(engine)
    later = outlived_over_a_restart(engine, asked, spec)
    later.wait_for_call("resume", 1, 1, 7)
    later.commands.tell(ended(spec, 0, survivors=list(HERE)))
    later.settle_engine()
    assert not later.commands.made("discard")
    outlive(later, asked)


def test_what_a_dead_shim_left_may_have_ended_before_the_petition_is_made_again(engine):
    asked, spec = running(engine)
    there = FoundAttempt(spec.seq, spec.attempt, spec.channel, "lost", "shim", 99, 0.0, "", survivors=HERE)
    later = engine.again(there, early=(SurvivorsGone(1, 1),))
    later.follow(asked)
    wait_for(lambda: later.row(asked).outcome is Outcome.INTERRUPTED, what="its end")
    assert not later.row(asked).slot_held
    later.wait_for_call("forget", 1, 1)
    assert "a" not in later.engine.petitions.granted


@pytest.mark.parametrize(("text", "attempts"), [(b"other", 1), (b"busy", 2)])
def test_what_outlived_an_end_may_have_ended_before_the_pattern_is_looked_for(engine, text, attempts):
    asked, spec = running(engine, retry={"times": 1, "delay": 0.0, "output": "busy"})
    engine.commands.tell(
        output(spec, text), ended(spec, 1, last_chunk=1, survivors=list(HERE)), SurvivorsGone(spec.seq, 1)
    )
    if attempts > 1:
        engine.commands.tell(ended(engine.wait_for_spec(2), 0))
    wait_for(lambda: engine.row(asked).state is State.ENDED, what="its end")
    assert not engine.row(asked).slot_held
    assert engine.row(asked).outcome is (Outcome.SUCCEEDED if attempts > 1 else Outcome.FAILED)
    assert len(engine.commands.specs) == attempts


def test_a_stop_does_not_wait_for_one_that_has_ended(engine):
    engine.engine.commands.keep = False
    asked, spec = running(engine)
    assert not engine.engine.is_quiet()
    engine.commands.tell(ended(spec, 0, survivors=list(HERE)))
    wait_for(lambda: engine.row(asked).state is State.ENDED, what="its end")
    wait_for(engine.engine.is_quiet, what="nothing to wait for")


def test_an_on_finish_that_is_owed_over_a_restart_waits_for_what_lives_on(engine):
    asked, spec = running(engine)
    later = outlived_over_a_restart(engine, asked, spec)
    after = later.run("b")
    wait_for(lambda: ("start", "b") in later.manager.hooks, what="a hook of another petition")
    assert ("finish", "a") not in engine.manager.hooks + later.manager.hooks
    assert later.row(asked).hook_pending
    outlive(later, asked)
    wait_for(lambda: ("finish", "a") in later.manager.hooks, what="its on_finish")
    wait_for(lambda: not later.row(asked).hook_pending, what="that it is kept")
    assert later.manager.hooks.count(("finish", "a")) == 1
    assert later.row(after)


def test_an_on_finish_that_was_called_is_not_called_again_after_what_lives_on(engine):
    asked, spec = running(engine)
    later = outlived_over_a_restart(engine, asked, spec)
    outlive(later, asked)
    wait_for(lambda: ("finish", "a") in later.manager.hooks, what="its on_finish")
    last = later.again(found_outlived(spec))
    last.settle_engine()
    assert last.manager.hooks == []


class TellsWhileTheRestIsLoaded(FakeCommands):
    """Shims whose reader thread delivers an event as soon as events may come."""

    def recovered(self):
        reader = threading.Thread(target=self.tell, args=(SurvivorsGone(1, 1),))
        reader.start()
        reader.join()


def test_what_shims_say_while_the_service_still_loads_is_handled_by_the_engine_afterwards(engine, monkeypatch):
    asked, spec = running(engine)
    engine.commands.tell(ended(spec, 0, survivors=list(HERE)))
    wait_for(lambda: engine.values(asked) == [0], what="its end")
    handlers = []
    take = CommandReports.take

    def noting(self, event, begun):
        handlers.append(threading.current_thread().name)
        take(self, event, begun)

    monkeypatch.setattr(CommandReports, "take", noting)
    later = engine.again(found_outlived(spec), make=TellsWhileTheRestIsLoaded)
    wait_for(lambda: not later.row(asked).slot_held, what="its slot")
    assert handlers == ["orcha-engine"]
    assert "a" not in later.engine.petitions.granted


@pytest.fixture(params=["ended", "foreign"])
def unasked(engine, request):
    """Give a later start whose shim is silent or of another build, the petition that had ended, and its command."""
    asked, spec = running(engine)
    engine.commands.tell(ended(spec, 0, survivors=list(HERE)))
    wait_for(lambda: engine.values(asked) == [0], what="its end")
    found = FoundAttempt(
        spec.seq, spec.attempt, spec.channel, request.param, "shim", 99, is_silent=request.param == "ended"
    )
    later = engine.again(found)
    later.settle_engine()
    assert why(later, asked) == SILENT
    assert later.engine.is_quiet()
    assert "a" in later.engine.petitions.live
    assert is_held(later, asked)
    assert not later.commands.made("discard")
    assert not later.commands.made("forget")
    return later, asked, spec


def test_what_a_shim_that_could_not_be_asked_names_at_last_holds_the_place_until_it_has_ended(unasked):
    later, asked, spec = unasked
    later.commands.tell(ended(spec, 0, survivors=list(HERE)))
    wait_for(lambda: why(later, asked) != SILENT, what="the process by name")
    later.settle_engine()
    assert not later.commands.made("discard")
    outlive(later, asked)
    later.wait_for_call("forget", 1, 1)


def test_what_a_shim_that_could_not_be_asked_leaves_at_its_death_holds_the_place_as_well(unasked):
    later, asked, spec = unasked
    later.commands.tell(CommandLost(1, 1, True, ended(spec, 0), survivors=HERE))
    wait_for(lambda: why(later, asked) != SILENT, what="the process by name")
    outlive(later, asked)


@pytest.mark.parametrize("loses", [False, True])
def test_where_nothing_lives_under_a_shim_that_could_not_be_asked_the_place_is_given_back(unasked, loses):
    later, asked, spec = unasked
    end = ended(spec, 0)
    later.commands.tell(CommandLost(1, 1, True, end) if loses else end)
    wait_for(lambda: not later.row(asked).slot_held, what="its slot")
    later.settle_engine()
    assert "a" not in later.engine.petitions.live
    later.wait_for_call("forget", 1, 1)
    assert not later.commands.made("discard")
