"""A whole service in virtual time, with everything that may happen to it: `support.simulation` says how."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from orcha.exceptions.store import FencedError
from support.simulation import Broken, play
from support.simulation.faults import ALL
from support.simulation.story import SEEDS

SEEDS_OF_A_TEST = 100
FIRST_SEEDS = {
    "an overtake": 319,
    "a lost wake-up": 7,
    "a leaked slot": 0,
    "a starved large need": 0,
    "an owner with much in use who is first": 25,
    "a gap that is none": 83,
    "a double start": 0,
    "a paused one started": 10,
    "a key let in twice": 60,
    "a rest that ends early": 50,
    "a condition that nobody looks at": 3,
    "a false condition that lets start": 3,
    "dependencies that a restart forgets": 91,
    "a failed dependency that counts": 101,
    "a start that is not on the disk": 3,
    "an interrupted petition that runs again": 23,
    "a petition that is tried again too often": 15,
    "a cancel that nobody answers": 1,
    "an appointment that is missed": 9,
    "calls that are lost with a call that hangs": 59,
    "an event that wakes nobody": 6,
    "a petition that stays parked when it goes on": 1,
    "a command that goes on without its slot": 3,
    "a queue that a restart forgets": 3,
    "a shim that nobody asks whether its survivors are gone": 710,
    "more of an array at once than may": 5,
    "an array that goes on though too many failed": 171,
    "an array that ends before its elements": 127,
    "a firing beside the last one": 14,
    "an instant that is passed over": 11,
    "a device that two petitions have": 11,
    "a drained device that is given away": 109,
    "a drain that a restart forgets": 11,
    "a paused command that never comes back": 225,
    "a place that is given while its holder runs on": 7,
    "a requeued command that a restart ends": 1072,
    "a command that comes back and stands still": 225,
    "a place that a restart gives back": 651,
    "a place that is given before its holder has stopped": 7,
    "more of one owner in a group than may": 431,
    "more starts than a rate allows": 208,
    "a rate that a restart forgets": 208,
    "a rate that nobody is woken for": 208,
    "a group's condition that is not asked": 15,
    "a limit of time that its group does not give": 10,
    "a limit of time that came after its petition": 165,
    "a limit of time that ends nothing": 249,
    "a petition that does not age": 217,
    "a quota that holds nobody back": 10,
    "a quota of a group that each member has alone": 10,
    "a resource that no quota counts": 35,
    "a quota that nobody is woken for": 34,
    "more petitions that wait than a quota allows": 1,
    "a lease that goes on": 57,
    "an extension that a restart forgets": 790,
    "a machine that is not had alone": 0,
    "a start beside who has the machine": 32,
}
"""The first of the seeds that finds each fault: `python -m support.simulation faults` writes them."""


@pytest.mark.once
@pytest.mark.parametrize("first", SEEDS[::SEEDS_OF_A_TEST])
def test_what_a_service_promises_holds_whatever_happens(first):
    for seed in range(first, first + SEEDS_OF_A_TEST):
        play(seed)


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(727329, id="a place that a restart frees while all others are parked"),
        pytest.param(7320689, id="a key of a petition that a process outlives, which a restart forgets"),
        pytest.param(23005313, id="a new petition that comes first in a line while one of known length is asked"),
        pytest.param(21000560, id="a shim that dies before it has stopped a command which is to give its place"),
    ],
)
def test_a_story_that_broke_before_goes_well(seed):
    play(seed)


@pytest.mark.parametrize("fault", ALL)
def test_the_fault_is_found(fault, monkeypatch):
    ALL[fault](monkeypatch)
    with pytest.raises(Broken) as found:
        play(FIRST_SEEDS[fault])
    assert isinstance(found.value.__cause__, AssertionError | FencedError), "the switch of the test is what is broken"


def test_each_fault_has_a_seed_of_those_that_are_played():
    assert FIRST_SEEDS.keys() == ALL.keys()
    assert all(seed in SEEDS for seed in FIRST_SEEDS.values())


def test_a_story_that_breaks_says_how_it_is_played_again(monkeypatch):
    ALL["a leaked slot"](monkeypatch)
    seed = FIRST_SEEDS["a leaked slot"]
    texts = []
    for _ in range(2):
        with pytest.raises(Broken) as found:
            play(seed)
        texts.append(str(found.value))
    assert texts[0] == texts[1]
    assert texts[0].endswith(f"python -m support.simulation {seed}")


def test_another_process_plays_the_same_story():
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "support.simulation", "6"]
    told = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    assert told.stdout == f"{play(6).text()}\n"
