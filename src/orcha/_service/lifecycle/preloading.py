"""Everything that a service may import is imported before it serves.

A service lives for months, while a package manager replaces or removes the files that it was started from. What it
imported at the first use would then be missing, or of another build than the rest of it. Clients and plugins go on
importing when they need something: they are short, and `import orcha` has to be quick.
"""

from __future__ import annotations

import importlib
import pkgutil

PACKAGES = (
    *("orcha._client", "orcha._core", "orcha._output", "orcha._processes", "orcha._protocol", "orcha._server"),
    *("orcha._service", "orcha._store", "orcha._supervisor"),
    *("orcha.exceptions", "orcha.interfaces", "orcha.lib", "orcha.utils"),
)
"""Packages all of whose modules a service may need."""
PROGRAMS = frozenset(("orcha._processes.watcher", "orcha._supervisor.main"))
"""Modules that are run by themselves, in processes of their own."""
STANDARD_MODULES = (
    *("concurrent.futures.thread", "ctypes", "encodings.idna", "faulthandler", "grp", "json", "linecache"),
    *("multiprocessing.connection", "multiprocessing.context", "multiprocessing.forkserver", "multiprocessing.util"),
    *("multiprocessing.popen_fork", "multiprocessing.popen_forkserver", "multiprocessing.popen_spawn_posix"),
    *("multiprocessing.queues", "multiprocessing.reduction", "multiprocessing.resource_sharer"),
    *("multiprocessing.resource_tracker", "multiprocessing.spawn", "multiprocessing.synchronize", "pty", "pwd"),
    *("platform", "psutil", "runpy", "shlex", "stringprep", "tempfile", "token", "tokenize", "traceback"),
    *("unicodedata", "uuid"),
)
"""Modules that these modules, or the parts of Python's library that they use, import at their first use."""


def preload() -> None:
    """Import all modules; some tens of milliseconds, once in a service."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        for found in pkgutil.walk_packages(module.__path__, f"{package}."):
            if found.name not in PROGRAMS:
                importlib.import_module(found.name)
    for name in STANDARD_MODULES:
        importlib.import_module(name)
