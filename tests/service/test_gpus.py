"""What is known of graphics processors, over a library that stands in for NVIDIA's."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from orcha._core.devices import Device
from orcha._service import gpus
from orcha._service.gpus import GpuWatch
from orcha._service.lifecycle.detection import detected
from support.waiting import wait_for


class FakeLibrary:
    """Two processors, and who computes on them."""

    def __init__(self):
        self.pids = {0: [], 1: []}
        self.names = {0: b"NVIDIA A100", 1: "NVIDIA T4"}

    def nvmlInit(self):
        """Be there."""

    def nvmlDeviceGetCount(self):
        return len(self.pids)

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetName(self, handle):
        return self.names[handle]

    def nvmlDeviceGetMemoryInfo(self, handle):
        return SimpleNamespace(total=(handle + 1) << 30)

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        return [SimpleNamespace(pid=pid) for pid in self.pids[handle]]


@pytest.fixture
def library(monkeypatch):
    library = FakeLibrary()
    monkeypatch.setitem(sys.modules, "pynvml", library)
    return library


GPUS = (Device("0", {"mem": 1 << 30, "model": "NVIDIA-A100"}), Device("1", {"mem": 2 << 30, "model": "NVIDIA-T4"}))


def test_processors_have_memory_and_a_model(library):
    assert gpus.find() == GPUS
    found = detected()
    assert (found["gpu"], found["cpu"]) == (GPUS, len(os.sched_getaffinity(0)))
    assert found["memory"] > 1 << 20


def test_without_a_library_or_a_driver_there_are_none(monkeypatch, library):
    monkeypatch.setattr(library, "nvmlInit", lambda: 1 / 0, raising=False)
    assert (gpus.find(), gpus.driver()) == ((), None)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert (gpus.find(), gpus.driver()) == ((), None)
    assert "gpu" not in detected()


def test_a_driver_that_breaks_or_hangs_has_none(monkeypatch, library):
    monkeypatch.setattr(library, "nvmlDeviceGetCount", lambda: 1 / 0, raising=False)
    assert gpus.find() == ()
    hangs = threading.Event()
    monkeypatch.setattr(library, "nvmlDeviceGetCount", hangs.wait, raising=False)
    assert gpus.find(within=0.01) == ()
    hangs.set()


def test_who_computes_is_named_while_it_lives(library):
    library.pids[1] = [os.getpid(), 2**22 + 1]
    name = Path("/proc/self/comm").read_text().strip()
    assert gpus.users(gpus.driver()) == {"1": f"{name} (pid {os.getpid()})"}


def test_a_change_is_told_once_and_what_breaks_is_nobody(monkeypatch, library):
    monkeypatch.setattr(gpus, "LOOK_SECONDS", 0.001)
    told, deaths = [], []
    watch = GpuWatch(told.append, deaths.append)
    watch.start()
    library.pids[0] = [os.getpid()]
    wait_for(lambda: told, what="it is told")
    monkeypatch.setattr(library, "nvmlDeviceGetCount", lambda: 1 / 0, raising=False)
    wait_for(lambda: told[-1] == {}, what="nothing is known any more")
    watch.stop(10)
    assert [len(each.get("gpu", ())) for each in told] == [1, 0]
    assert deaths == []


def test_a_watch_that_was_not_started_stops():
    GpuWatch(print, print).stop(1)
