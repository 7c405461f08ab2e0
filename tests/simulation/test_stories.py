"""A whole service in virtual time, with everything that may happen to it: `support.simulation` says how."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from support.simulation import Broken, play
from support.simulation.faults import OF_PLACES, OF_PLANS, OF_SCHEDULERS, OF_SERVICES
from support.simulation.story import SEEDS

SEEDS_OF_A_TEST = 100
FAULTS = {**OF_SCHEDULERS, **OF_SERVICES, **OF_PLANS, **OF_PLACES}
FIRST_SEEDS = {
    "an overtake": 409,
    "a lost wake-up": 71,
    "a leaked slot": 20,
    "a starved large need": 11,
    "an owner with much in use who is first": 108,
    "a gap that is none": 118,
    "a double start": 9,
    "a paused one started": 21,
    "a key let in twice": 3,
    "a rest that ends early": 54,
    "a condition that nobody looks at": 3,
    "a false condition that lets start": 3,
    "dependencies that a restart forgets": 208,
    "a failed dependency that counts": 101,
    "a start that is not on the disk": 1,
    "an interrupted petition that runs again": 12,
    "a petition that is tried again too often": 11,
    "a cancel that nobody answers": 2,
    "an appointment that is missed": 9,
    "calls that are lost with a call that hangs": 59,
    "an event that wakes nobody": 6,
    "a petition that stays parked when it goes on": 14,
    "a command that goes on without its slot": 3,
    "a queue that a restart forgets": 1,
    "more of an array at once than may": 9,
    "an array that goes on though too many failed": 78,
    "an array that ends before its elements": 76,
    "a firing beside the last one": 14,
    "an instant that is passed over": 38,
    "a device that two petitions have": 11,
    "a drained device that is given away": 13,
    "a drain that a restart forgets": 17,
    "a paused command that never comes back": 325,
    "a place that is given while its holder runs on": 7,
    "a requeued command that a restart ends": 1072,
    "a command that comes back and stands still": 325,
    "a place that a restart gives back": 1,
}
"""The first of the seeds that finds each fault: `python -m support.simulation faults` writes them."""


@pytest.mark.once
@pytest.mark.parametrize("first", SEEDS[::SEEDS_OF_A_TEST])
def test_what_a_service_promises_holds_whatever_happens(first):
    for seed in range(first, first + SEEDS_OF_A_TEST):
        play(seed)


@pytest.mark.parametrize("seed", [727329], ids=["a place that a restart frees while all others are parked"])
def test_the_story_of_a_mended_fault_goes_well(seed):
    play(seed)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_fault_is_found(fault, monkeypatch):
    FAULTS[fault](monkeypatch)
    with pytest.raises(Broken) as found:
        play(FIRST_SEEDS[fault])
    assert not isinstance(found.value.__cause__, AttributeError | TypeError), "the switch of the test is what is broken"


def test_each_fault_has_a_seed_of_those_that_are_played():
    assert FIRST_SEEDS.keys() == FAULTS.keys()
    assert all(seed in SEEDS for seed in FIRST_SEEDS.values())


def test_a_story_that_breaks_says_how_it_is_played_again(monkeypatch):
    FAULTS["a leaked slot"](monkeypatch)
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
