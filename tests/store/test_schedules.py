"""Schedules, and what became of their instants: every store keeps them."""

from __future__ import annotations

import pytest

from orcha._core.changes import Changes, NewFiring, Schedule
from orcha._core.state import Missed, Outcome, Overlap, State
from orcha._store.contract import KeptFiring
from support.changes import accept, end, petition, step, steps


def schedule(name="nightly", **changed):
    known = Schedule(name, "uid:0", "m:M", "0 22 * * *", None, Overlap.SKIP, Missed.LAST, b"\0\xff", 1.5, 2.25)
    return known._replace(**changed)


def test_schedules_come_back_change_and_are_forgotten_with_their_firings(open_store):
    store = open_store()
    assert store.schedules() == []
    berlin = schedule("b'erlin \U0001f600", zone="Europe/Berlin", is_paused=True)
    store.commit(Changes(schedules={"nightly": schedule(), berlin.name: berlin}))
    store.commit(Changes(firings=[NewFiring("nightly", 3.5, 4.0, note="no")]))
    store.commit(Changes(schedules={berlin.name: berlin._replace(is_paused=False, fired_until=9.5)}))
    store.close()
    store = open_store()
    assert store.schedules() == [berlin._replace(is_paused=False, fired_until=9.5), schedule()]
    store.commit(Changes(schedules={"nightly": None}))
    assert (store.schedules(), store.firings("nightly", 9)) == ([berlin._replace(is_paused=False, fired_until=9.5)], [])


def test_a_firing_is_kept_with_its_petition_and_tells_how_that_went(store):
    store.commit(Changes(schedules={"nightly": schedule()}))
    changes = accept(petition(1), petition(2))
    changes.firings = [
        NewFiring("nightly", 10.0, 10.5, 1, "job-1", None, 10.0),
        NewFiring("nightly", 20.0, 20.5, 2, "job-2", None, 20.0),
        NewFiring("nightly", 30.25, 30.5, note="skipped"),
    ]
    store.commit(changes)
    assert store.schedules()[0].fired_until == 20.0
    assert [store.has_firing("nightly", instant) for instant in (10.0, 11.0, 30.25)] == [True, False, True]
    store.commit(steps(step(2, State.STARTING, to_attempt=1), end(1, code=3, outcome=Outcome.FAILED)))
    last, running, ended = store.firings("nightly", 9)
    assert last == KeptFiring(30.25, 30.5, None, None, "skipped", None, None, None, None)
    assert (running.id, running.state, running.outcome, running.ended) == ("job-2", State.STARTING, None, None)
    assert (ended.state, ended.outcome, ended.code) == (State.ENDED, Outcome.FAILED, 3)
    assert store.firings("nightly", 1) == [last]
    store.commit(Changes(deleted=[1]))
    assert store.firings("nightly", 9)[2] == ended._replace(state=None)


def test_of_each_schedule_a_hundred_firings_are_kept(store):
    store.commit(Changes(schedules={"nightly": schedule(), "other": schedule("other")}))
    store.commit(Changes(firings=[NewFiring("other", 1.0, 1.0)]))
    for begin in (0, 60):
        store.commit(Changes(firings=[NewFiring("nightly", float(begin + each), 0.0) for each in range(60)]))
    assert [firing.instant for firing in store.firings("nightly", 999)] == [float(each) for each in range(119, 19, -1)]
    assert len(store.firings("other", 9)) == 1


def test_a_firing_whose_petition_has_not_ended_is_kept_however_many_come_after_it(store):
    store.commit(Changes(schedules={"nightly": schedule(), "other": schedule("other")}))
    changes = accept(petition(1), petition(2), petition(3))
    changes.firings = [
        NewFiring("nightly", 1.0, 1.5, 1, "job-1"),
        NewFiring("nightly", 2.0, 2.5, 2, "job-2"),
        NewFiring("nightly", 2.5, 2.5, note="no"),
        NewFiring("other", 2.0, 2.5, 3, "job-3"),
    ]
    store.commit(changes)
    store.commit(steps(step(1, State.RUNNING, to_attempt=1), end(2)))
    assert [firing.id for firing in store.live_firings("nightly")] == ["job-1"]
    store.commit(Changes(firings=[NewFiring("nightly", float(each), 0.0) for each in range(3, 103)]))
    (live,) = store.live_firings("nightly")
    assert (live.id, live.petition, live.state) == ("job-1", 1, State.RUNNING)
    assert [firing.instant for firing in store.firings("nightly", 999)] == [*map(float, range(102, 2, -1)), 1.0]
    store.commit(steps(end(1, attempt=1)))
    store.commit(Changes(firings=[NewFiring("nightly", 103.0, 0.0)]))
    assert [firing.instant for firing in store.firings("nightly", 999)][-1] == 4.0
    assert ([*store.live_firings("nightly")], [each.id for each in store.live_firings("other")]) == ([], ["job-3"])


def test_nothing_is_kept_of_an_instant_of_a_schedule_that_is_gone(store):
    store.commit(Changes(firings=[NewFiring("nightly", 1.0, 1.0, note="no", fired_until=1.0)]))
    assert store.firings("nightly", 9) == []


def test_an_instant_has_one_firing(store):
    store.commit(Changes(schedules={"nightly": schedule()}, firings=[NewFiring("nightly", 1.0, 1.0)]))
    with pytest.raises(ValueError, match="firing"):
        store.commit(Changes(firings=[NewFiring("nightly", 1.0, 2.0)]))
    assert store.firings("nightly", 9)[0].decided == 1.0
