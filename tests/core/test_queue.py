"""The queue gives what a sorted list would, hot or far."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orcha._core.queue import WaitingQueue

PRIORITIES = st.sampled_from([0, 0, 1, 2, -1.5, float("inf"), float("-inf")])


@given(st.lists(st.tuples(st.sampled_from(["add", "add", "add", "remove", "promote", "demote", "first"]), PRIORITIES)))
def test_it_gives_what_a_sorted_list_would(steps):
    queue, model, moved = WaitingQueue(hot=3), [], set()
    for seq, (step, priority) in enumerate(steps):
        if step == "add":
            key = (priority, seq, "")
            assert queue.add(key) is queue.is_hot(key)
            model = sorted([*model, key])
        elif step == "remove" and model:
            queue.remove(model.pop(seq % len(model)))
        elif step == "promote" and queue.wants_promotion():
            moved.update(queue.promote())
        elif step == "demote":
            moved.difference_update(queue.demote())
        elif step == "first":
            first = queue.head(2)
            queue.remove_all(first)
            model = [key for key in model if key not in first]
        assert len(queue) == len(model)
        assert queue.hot + queue.far == len(model)
        assert queue.head(99) == model[: queue.hot]
    while queue.far:
        queue.remove_all(queue.head(99))
        del model[: len(model) - queue.far]
        assert queue.promote() == model[: queue.hot]
    assert queue.head(99) == model


def test_keys_in_order_are_loaded_far_and_promoted_in_order():
    queue = WaitingQueue(hot=2)
    queue.load([(0, seq, "") for seq in range(3)])
    assert (queue.hot, queue.far) == (0, 3)
    assert queue.add((-1, 9, ""))
    assert queue.promote() == [(0, 0, "")]
    assert queue.head(1, 1) == [(0, 0, "")]
    assert queue.place((0, 0, "")) == 1


def test_those_that_are_not_the_first_are_removed_one_by_one():
    queue = WaitingQueue()
    for seq in range(4):
        queue.add((0, seq, ""))
    queue.remove_all([(0, 1, ""), (0, 3, "")])
    assert queue.head(9) == [(0, 0, ""), (0, 2, "")]
