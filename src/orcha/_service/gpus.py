"""The graphics processors of this machine, as NVIDIA's library (nvidia-ml-py) tells; none without it."""

from __future__ import annotations

import contextlib
import importlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orcha._core.device_variables import GPU
from orcha._core.devices import Device
from orcha.utils.threads import NoThreadError, guarded, ignore_death, start

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orcha.utils.threads import OnDeath

LOOK_SECONDS = 2.0
"""Seconds between two looks at who uses the processors."""
FIRST_LOOK_SECONDS = 10.0
"""Seconds that the driver has to answer when the service starts; a driver that hangs has no processors."""


def find(within: float = FIRST_LOOK_SECONDS) -> tuple[Device, ...]:
    """Give the processors, with their memory and model; none where no driver answers in time."""
    found: list[Device] = []
    thread = guarded("orcha-gpus-at-start", lambda: found.extend(_devices()), ignore_death)
    try:
        start(thread)
    except NoThreadError:
        return ()
    thread.join(within)
    return () if thread.is_alive() else tuple(found)


def driver() -> Any:
    """Give the library, ready to be asked; None where there is none, or no driver."""
    try:
        library: Any = importlib.import_module("pynvml")
        library.nvmlInit()
    except Exception:  # noqa: BLE001 - not installed, no driver, another version: there are no processors then
        return None
    return library


def _devices() -> list[Device]:
    library = driver()
    if library is None:
        return []
    return [_device(library, index) for index in range(library.nvmlDeviceGetCount())]


def _device(library: Any, index: int) -> Device:
    handle = library.nvmlDeviceGetHandleByIndex(index)
    name = library.nvmlDeviceGetName(handle)
    model = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    memory = int(library.nvmlDeviceGetMemoryInfo(handle).total)
    return Device(str(index), {"mem": memory, "model": "".join(each if each.isalnum() else "-" for each in model)})


def users(library: Any) -> dict[str, str]:
    """Name the processes that live and compute on each processor, by its name; `library` is ready to be asked."""
    found: dict[str, str] = {}
    for index in range(library.nvmlDeviceGetCount()):
        handle = library.nvmlDeviceGetHandleByIndex(index)
        pids = sorted({int(each.pid) for each in library.nvmlDeviceGetComputeRunningProcesses(handle)})
        names = [f"{name} (pid {pid})" for pid in pids if (name := _name_of(pid)) is not None]
        if names:
            found[str(index)] = ", ".join(names)
    return found


def _name_of(pid: int) -> str | None:
    """Give the name of a process; None where it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
    return None


class GpuWatch:
    """A thread that looks who uses the processors; a driver that does not answer holds up nothing but that thread."""

    def __init__(self, tell: Callable[[Mapping[str, Mapping[str, str]]], None], on_death: OnDeath) -> None:
        """Tell of each change, by resource and device; called on the thread of the watch."""
        self._tell = tell
        self._on_death = on_death
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = guarded("orcha-gpus", self._run, self._on_death)
        start(self._thread)

    def stop(self, timeout: float) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        told: dict[str, str] = {}
        library = driver()
        while library is not None and not self._stopped.is_set():
            try:
                found = users(library)
            except Exception:  # noqa: BLE001 - the library's own errors: nothing is known of the processors then
                found = {}
            if found != told:
                self._tell({GPU: found} if found else {})
                told = found
            self._stopped.wait(LOOK_SECONDS)


__all__ = ["GpuWatch", "driver", "find", "users"]
