"""When the elements of an array become petitions."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from orcha._core.admission import Admission
from orcha._core.array_items import read
from orcha._core.arrays import ArrayStop
from orcha._core.petitions import Petitions
from orcha._core.record import Record
from orcha._core.state import Outcome, State
from orcha._protocol import values
from orcha._protocol.messages import Verdict
from orcha._service.arrays.array_book import ArrayBook
from orcha._service.submissions import Submissions
from orcha.interfaces.built_in import ARRAY_MANAGER


class Rows:
    """A store that has what was kept: nothing, until the test says so."""

    def __init__(self):
        self.kept = []

    def rows(self, seqs):
        return [row for row in self.kept if row.seq in seqs]


@pytest.fixture
def loading():
    """Give a book of a service that is still loading what waits from before."""
    petitions, store, made, due = Petitions(next_seq=2), Rows(), [], []
    book = ArrayBook(
        petitions=petitions,
        admission=Admission(petitions),
        store=store,
        stored=SimpleNamespace(find=petitions.live.get),
        channels=None,
        submissions=Submissions(None, None, store, None),
        timers=SimpleNamespace(at=lambda _, look: due.append(look)),
        convert=made.append,
        takes_any=lambda: True,
    )
    return SimpleNamespace(petitions=petitions, store=store, book=book, made=made, due=due)


@pytest.fixture
def world(loading):
    loading.book.begin()
    return loading


def test_no_element_is_made_of_an_array_that_is_not_kept_yet(world):
    """Something else may have all arrays looked at in the batch that accepts one."""
    array = Record(1, b"", "many", ARRAY_MANAGER, "me", b"", None, 0.0)
    world.petitions.enter(array)
    world.book.enter(array, read({"range": [1, 3, 1]})[0])
    world.book.fill_all()
    assert world.made == []
    world.store.kept.append(SimpleNamespace(seq=1, extras=values.encode({"argv": ["true"], "env": {}})))
    world.book.kept(array)
    assert [element.key for element in world.made] == ["many.1", "many.2", "many.3"]
    world.book.fill_all()
    assert len(world.made) == 3


def test_an_array_that_was_not_kept_after_all_is_forgotten(world):
    array = Record(1, b"", "many", ARRAY_MANAGER, "me", b"", None, 0.0)
    world.petitions.enter(array)
    world.book.enter(array, read({"range": [1, 3, 1]})[0])
    world.petitions.forget(array)
    world.book.kept(array)
    world.book.fill_all()
    assert (world.made, world.book.all()) == ([], [])


def kept_array(world):
    array = Record(1, b"", "many", ARRAY_MANAGER, "me", b"", None, 0.0)
    world.petitions.enter(array)
    world.book.enter(array, read({"range": [1, 3, 1]})[0])
    world.store.kept.append(SimpleNamespace(seq=1, extras=values.encode({"argv": ["true"], "env": {}})))
    return array


def test_an_array_that_is_cancelled_ends_though_its_elements_could_not_be_kept(world):
    """Its elements were being made when it was cancelled, and the disk was full."""
    array, answered = kept_array(world), []
    world.book.kept(array)
    entry = world.book.get(1)
    world.book.cancel(entry, "cancelled", answered.append)
    for position, element in enumerate(world.made):
        world.petitions.forget(element)
        world.book.refused(entry, position, Verdict.BUSY, None)
    (look,) = world.due
    look()
    assert (array.state, array.outcome, world.book.all()) == (State.ENDED, Outcome.CANCELLED, [])


def test_an_array_that_was_stopped_before_a_restart_ends_though_elements_of_it_were_never_kept(world):
    array = kept_array(world)
    world.book.get(1).array.stop = ArrayStop(Outcome.CANCELLED, 130, "cancelled")
    world.book.kept(array)
    assert (array.state, array.outcome, world.made) == (State.ENDED, Outcome.CANCELLED, [])


def test_no_element_is_made_before_the_ids_of_all_that_waits_are_known(loading):
    """A retried element of an earlier array may wait, by the id that an element of this one will have."""
    book = loading.book
    kept_array(loading)
    book._unkept.clear()
    book.due[1] = book.get(1)
    book.fill_due()
    book.fill_all()
    assert loading.made == []
    book.begin()
    assert [element.key for element in loading.made] == ["many.1", "many.2", "many.3"]
