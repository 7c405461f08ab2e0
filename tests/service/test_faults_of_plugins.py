"""A plugin's fault ends the petition that met it, and nothing else."""

from __future__ import annotations

import pytest

from orcha.interfaces import Message

SOURCE = """
import os, sys, threading
from orcha.exceptions import ConditionFailed
from orcha.interfaces import Petition
from orcha.lib import Manager

NOTHING = lambda *_: None
YES = lambda *_: True

def leave(*_): sys.exit("gone")
def fail(*_): raise ValueError("no rig")
def fork_and_return(*_): os.fork()
def hang(*_): threading.Event().wait()

class Faulty(Manager):
    def convert_to_petition(self, m):
        fault = m.extras["fault"]
        if fault == "convert raises": fail()
        if fault == "convert exits": leave()
        if fault == "convert gives nonsense": return "a petition"
        if fault == "convert hangs": hang()
        name = "another" if fault == "another id" else m.id
        action = {"action raises": fail, "action exits": leave, "action forks": fork_and_return}.get(fault, NOTHING)
        condition = {"condition raises": fail, "condition exits": leave, "condition hangs": hang}.get(fault, YES)
        petition = Petition(name, m.extras["queue"], action, condition)
        petition.fault = fault
        return petition
    def on_start(self, petition):
        if petition.fault == "on_start raises": fail()
        if petition.fault == "on_start exits": leave()
        return petition.fault != "on_start says no"
    def on_finish(self, petition):
        if petition.fault == "on_finish raises": fail()
"""

ENDS = {
    "convert raises": ("no rig", 1),
    "convert exits": ("gone", 1),
    "convert gives nonsense": ("no petition", 1),
    "convert hangs": ("took longer", 1),
    "another id": ("another", 1),
    "condition raises": ("no rig", 1),
    "condition exits": ("gone", 1),
    "condition hangs": ("took longer", 1),
    "on_start raises": ("no rig", 1),
    "on_start exits": ("gone", 1),
    "on_start says no": ("does not let it start", 1),
    "action raises": ("ValueError: no rig", 1),
    "action exits": ("SystemExit: gone", 1),
    "action forks": (None, None),
    "on_finish raises": (None, None),
}


@pytest.mark.parametrize("fault", ENDS)
def test_a_fault_ends_one_petition_with_its_reason(serve, connect, fault):
    short = {"ORCHA_HOOK_DEADLINE": "1"} if "hangs" in fault else {}
    service = serve("faulty:Faulty", source=SOURCE, environment=short)
    client = connect(service)
    text, code = ENDS[fault]
    for name, what in (("faulty", fault), ("sound", "none")):
        queue = client.manager.Queue()
        client.send(Message(name, {"queue": queue, "fault": what}))
        value = queue.get()
        if what == fault and text is not None:
            assert text in value
            value = queue.get()
        assert value == (code if what == fault else None)
