"""API.md, orcha.interfaces: `Petition`, its fields, channel, equality, order and pickling."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import queue
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any

import pytest

from orcha.interfaces import EmptyPetition, Petition, PetitionState, Policy
from orcha.interfaces.petition import HANDLE


@dataclass(order=True)
class Ordered(Petition):
    counter: int = field(compare=False)

    def __post_init__(self):
        self.priority = self.counter


@dataclass(init=False)
class Bare(Petition):
    """Never runs our __init__, and has its fields on the class, as plugins for 0.2 do."""

    priority = 7
    id = "bare"
    queue = None

    def __init__(self, extra=1):
        self.extra = extra

    def action(self, callback, petition):
        return petition

    def condition(self, petition):
        return True


@dataclass(slots=True)
class Slotted(Petition):
    counter: int = field(compare=False)


class Plain(Petition):
    pass


class Channel:
    def __init__(self):
        self.calls = []

    def put(self, value):
        self.calls.append(("put", value))

    def put_nw(self, value):
        self.calls.append(("put_nw", value))

    def finish(self, value):
        self.calls.append(("finish", value))


class Handle:
    def __init__(self):
        self.finals = []

    def finish(self, value):
        self.finals.append(value)


def make(kind=Plain, id="a", queue=None, **more):  # noqa: A002 - as the field is called
    return kind(id=id, queue=queue, action=print, condition=bool, **more)


# --- fields ----------------------------------------------------------------------------------------------------------


def test_has_six_fields_in_this_order_and_then_the_policy():
    names = ["priority", "id", "queue", "action", "condition", "state", "policy"]
    assert [each.name for each in fields(Petition)] == names


def test_priority_and_state_are_no_arguments_and_have_defaults():
    petition = Petition("a", None, print, bool)
    assert (petition.priority, petition.state) == (0, PetitionState.PENDING)
    with pytest.raises(TypeError):
        Petition(1, "a", None, print, bool, 0)


def test_policy_is_given_by_name_and_is_none_by_default():
    policy = Policy(timeout=1)
    assert make().policy is None
    assert make(policy=policy).policy is policy
    described = {each.name: each for each in fields(Petition)}["policy"]
    assert (described.kw_only, described.compare, described.repr) == (True, False, False)


def test_subclass_with_further_fields_sets_its_priority_in_post_init():
    petition = make(Ordered, counter=5)
    assert (petition.priority, petition.counter) == (5, 5)


@pytest.mark.parametrize("name", ["timeout", "needs", "group", "after", "owner", "name", "attempt"])
def test_a_field_of_the_plugins_own_may_have_any_name(name):
    kind = dataclass(type("Own", (Petition,), {"__annotations__": {name: int}}))
    assert getattr(kind("a", None, print, bool, 3), name) == 3


def test_nothing_needs_our_init():
    petition = Bare()
    petition.communicate("x")
    petition.communicate_nw("x")
    petition.finish()
    assert (petition.priority, petition.state, petition.policy) == (7, PetitionState.PENDING, None)
    assert petition == Bare(2)


# --- channel ---------------------------------------------------------------------------------------------------------


def test_communicate_puts_and_communicate_nw_puts_without_waiting():
    channel = Channel()
    petition = make(queue=channel)
    petition.communicate("a")
    petition.communicate_nw("b")
    petition.communicate("c", False)
    assert channel.calls == [("put", "a"), ("put_nw", "b"), ("put_nw", "c")]


def test_works_with_a_plain_queue():
    plain = queue.Queue()
    petition = make(queue=plain)
    petition.communicate("a")
    petition.communicate_nw("b")
    petition.finish(3)
    assert [plain.get_nowait() for _ in range(3)] == ["a", "b", 3]


def test_not_blocking_on_a_full_queue_says_so():
    plain = queue.Queue(1)
    petition = make(queue=plain)
    petition.communicate("a", blocking=False)
    with pytest.raises(queue.Full):
        petition.communicate("b", blocking=False)


def test_is_quiet_without_a_queue():
    petition = make(queue=None)
    petition.communicate("a")
    petition.communicate_nw("a")
    petition.finish(1)


def test_is_quiet_on_a_closed_queue():
    closed = multiprocessing.SimpleQueue()
    closed.close()
    petition = make(queue=closed)
    petition.communicate("a")
    petition.finish(1)


def test_is_quiet_on_a_closed_multiprocessing_queue():
    closed = multiprocessing.Queue()
    closed.close()
    closed.join_thread()
    make(queue=closed).communicate("a")


def test_a_value_that_cannot_be_sent_is_the_callers_error():
    class Picky:
        def put(self, value):
            raise TypeError("no such value on a wire")

    with pytest.raises(TypeError, match="no such value"):
        make(queue=Picky()).communicate(object())


def test_finish_gives_a_plain_queue_one_final_value():
    plain = queue.Queue()
    petition = make(queue=plain)
    petition.finish(1)
    petition.finish(2)
    assert (plain.get_nowait(), plain.empty()) == (1, True)


def test_finish_goes_to_the_channels_own_finish():
    channel, handle = Channel(), Handle()
    petition = make(queue=channel)
    petition.__dict__[HANDLE] = handle
    petition.finish(4)
    assert (channel.calls, handle.finals) == ([("finish", 4)], [])


@pytest.mark.parametrize("plain", [None, queue.Queue()])
def test_finish_reaches_the_service_where_the_queue_is_not_its_own(plain):
    handle = Handle()
    petition = make(queue=plain)
    petition.__dict__[HANDLE] = handle
    petition.finish(4)
    assert handle.finals == [4]


class Code(IntEnum):
    BAD = 5


@pytest.mark.parametrize(("given", "final"), [(None, None), (0, 0), (-3, -3), (True, 1), (False, 0), (Code.BAD, 5)])
def test_finish_takes_none_and_ints_and_gives_plain_ones(given, final):
    channel = Channel()
    make(queue=channel).finish(given)
    assert channel.calls == [("finish", final)]
    assert type(channel.calls[0][1]) is type(final)


@pytest.mark.parametrize("value", ["0", 1.0, b"", []])
def test_finish_takes_nothing_else(value):
    channel = Channel()
    with pytest.raises(TypeError, match="None for success"):
        make(queue=channel).finish(value)
    assert channel.calls == []


# --- terminate -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [PetitionState.ENQUEUED, PetitionState.RUNNING, PetitionState.CANCELLED])
def test_terminate_notes_the_cancel_and_signals_nobody(state):
    petition = make()
    petition.state = state
    assert petition.terminate(1) is True
    assert petition.state is PetitionState.CANCELLED


@pytest.mark.parametrize("state", [PetitionState.PENDING, PetitionState.FINISHED, PetitionState.BROKEN])
def test_terminate_refuses_where_there_is_nothing_to_end(state):
    petition = make()
    petition.state = state
    with pytest.raises(ValueError, match="nothing to terminate"):
        petition.terminate(None)
    assert petition.state is state


# --- equality and order ----------------------------------------------------------------------------------------------


def test_undecorated_subclasses_are_equal_and_hashed_by_the_text_of_their_id():
    assert make(id=1) == make(id="1")
    assert hash(make(id=1)) == hash(make(id="1"))
    assert make(id="a") != make(id="b")
    assert make(id="a") != "a"


def test_undecorated_subclasses_are_ordered_by_priority():
    first, second = make(id="z"), make(id="a")
    first.priority, second.priority = 1, 2
    assert first < second
    assert first <= second
    assert second > first
    assert second >= first
    assert sorted([second, first]) == [first, second]
    assert first < EmptyPetition()


def test_petitions_do_not_compare_with_other_things():
    with pytest.raises(TypeError):
        make() < 3  # noqa: B015 - the comparison is what raises


def test_order_of_a_decorated_subclass_is_by_priority():
    assert make(Ordered, id="z", counter=1) < make(Ordered, id="a", counter=2)


# --- pickling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Ordered, Slotted])
def test_pickles_without_what_cannot_leave_the_process(kind):
    petition = kind("a", None, lambda *_: None, lambda _: True, 3, policy=Policy(timeout=1))
    petition.__dict__[HANDLE] = object()
    twin: Any = pickle.loads(pickle.dumps(petition))
    assert (twin.id, twin.counter, twin.priority) == ("a", 3, petition.priority)
    assert (twin.action, twin.condition, twin.policy) == (None, None, None)
    assert HANDLE not in twin.__dict__
    assert petition.action is not None
    assert repr(twin) == repr(petition)


def test_pickles_with_methods_for_callables_and_without_our_init():
    twin = pickle.loads(pickle.dumps(Bare(9)))
    assert (twin.extra, twin.action(None, twin)) == (9, twin)


@pytest.mark.parametrize("kind", [Ordered, Slotted])
def test_a_copy_has_the_callables_but_not_the_services_handle(kind):
    petition = kind("a", None, print, bool, 3)
    petition.__dict__[HANDLE] = object()
    twin = copy.copy(petition)
    assert (twin.action, twin.condition, twin.counter) == (print, bool, 3)
    assert HANDLE not in twin.__dict__
