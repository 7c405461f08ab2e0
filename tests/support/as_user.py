"""An orcha command of another user: ``python as_user.py UID HOME WORD...``, as root.

Everything is imported before the process is that user: the interpreter of a test run may lie where others see nothing.
"""

from __future__ import annotations

import encodings.idna
import encodings.latin_1  # noqa: F401
import glob  # noqa: F401
import importlib
import multiprocessing.resource_tracker  # noqa: F401
import os
import pkgutil
import resource
import shutil
import sys

import orcha
from orcha.bin import main as command
from orcha.interfaces.running import ServiceRun  # noqa: F401
from orcha.plugins import discovery

SKIPPED = ("orcha.__main__", "orcha._supervisor.main", "orcha._supervisor.shim", "orcha._processes.watcher")
"""What runs as a program of its own."""
OF_A_SERVICE = "orcha._service.lifecycle.compose"
"""A module that nothing above imports: where it is there, a warm interpreter runs this, which has imported all."""
PLUGINS = "TEST_PLUGINS"
"""The variable that has plugins looked for, and imported, before the process is that user; else there are none."""
GROUPS = "TEST_GROUPS"
"""Variable with the numbers of the other groups that a user's process has."""
PROCESSES = "TEST_PROCESSES"
"""The variable that says how many processes and threads this user may have, as `ulimit -u`."""


def import_all() -> None:
    """Import what Orcha and a service may import."""
    for module in pkgutil.walk_packages(orcha.__path__, "orcha."):
        if module.name not in SKIPPED:
            importlib.import_module(module.name)
    from orcha._protocol.tls import server_tls
    from orcha._server.server import _make_loop
    from orcha._service.lifecycle.preloading import preload

    preload()
    server_tls()
    _make_loop(None).close()


def become(uid: int, home: str) -> None:
    """Be another user, whose home of Orcha that is."""
    found = discovery.installed() if PLUGINS in os.environ else []
    for plugin in found:
        importlib.import_module(plugin.module)
    for known in (discovery, command):
        vars(known)["installed"] = lambda **_: found
    if OF_A_SERVICE not in sys.modules:
        import_all()
    if (most := os.environ.pop(PROCESSES, None)) is not None:
        resource.setrlimit(resource.RLIMIT_NPROC, (int(most), int(most)))
    os.setgroups([int(gid) for gid in os.environ.pop(GROUPS, "").split()])
    os.setgid(uid)
    os.setuid(uid)
    os.environ["ORCHA_HOME"] = home
    if not os.access(sys.executable, os.X_OK):
        sys.executable = shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin") or sys.executable
    os.chdir("/")


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2])
    sys.argv[1:] = sys.argv[3:]
    sys.exit(command.main())
