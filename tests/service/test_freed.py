"""What an ended petition leaves in the memory of its service: nothing that only a garbage collection finds."""

from __future__ import annotations

import gc
import weakref

import pytest

from support.asking import GateManager, asking
from support.waiting import wait_for


class ReferringManager(GateManager):
    """Keeps a weak reference to each petition that it makes."""

    def __init__(self):
        super().__init__()
        self.made = []

    def convert_to_petition(self, m):
        petition = super().convert_to_petition(m)
        self.made.append(weakref.ref(petition))
        return petition


@pytest.fixture
def without_collections():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    ("extras", "ends"),
    [({}, "succeeded"), ({"code": 3}, "failed"), ({"code": 1, "retry": {"times": 1, "delay": 0}}, "failed")],
    ids=["once", "failing", "twice"],
)
@pytest.mark.usefixtures("without_collections")
def test_the_object_of_an_ended_petition_is_freed_without_a_collection(extras, ends):
    with asking(manager=ReferringManager()) as asked:
        asked.submit(asked.owner, "a", **extras)
        asked.wait_for("a", ends)
        asked.submit(asked.owner, "b")  # what a thread did last is kept until it does something else
        asked.wait_for("b", "succeeded")
        wait_for(lambda: asked.manager.made[0]() is None, what="nothing refers to the petition")
