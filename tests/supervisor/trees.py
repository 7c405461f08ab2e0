"""Trees of processes that are hard to end; `{nap}` is a program that sleeps and is known by its path.

Each says `ready` when it stands. Those that grow are bounded at 200 processes.
"""

from __future__ import annotations

import sys

_DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    os.write(1, b"ready")
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.execv(sys.argv[1], [sys.argv[1], "1000"])
time.sleep(1000)
"""

_HOPPER = """
import os, time
os.write(1, b"ready")
for _ in range(200):
    if os.fork():
        os._exit(0)
    os.setsid()
    time.sleep(0.002)
os.execv(sys.argv[1], [sys.argv[1], "1000"])
"""

_GROWING = """
import os, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
counter = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT | os.O_APPEND)
os.write(1, b"ready")
while os.fstat(counter).st_size < 200:
    os.write(counter, b".")
    if os.fork() == 0 and os.getpid() % 2:
        os.setsid()
os.execv(sys.argv[1], [sys.argv[1], "1000"])
"""

_TRACED = """
import ctypes, os, signal, sys, time
ptrace = ctypes.CDLL(None).ptrace
child = os.fork()
if child == 0:
    ptrace(0, 0, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    os.execv(sys.argv[1], [sys.argv[1], "1000"])
os.waitpid(child, os.WUNTRACED)
os.write(1, b"ready")
while True:
    signal.pause()
"""


def _shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def _python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", script.replace("import os,", "import sys, os,", 1), "{nap}", *arguments]


TREES: dict[str, list[str]] = {
    "same-group orphan": _shell("({nap} 1000 &); echo ready; {nap} 1000"),
    "setsid": _shell("setsid {nap} 1000 & echo ready; wait"),
    "double fork and setsid": _shell("(setsid sh -c '{nap} 1000 & {nap} 1000' &) ; echo ready; {nap} 1000"),
    "nohup": _shell("nohup {nap} 1000 >/dev/null 2>&1 & echo ready; wait"),
    "ignores INT and TERM": _shell("trap '' INT TERM; {nap} 1000 & echo ready; while :; do {nap} 1000; done"),
    "stopped": _shell("{nap} 1000 & kill -STOP $!; echo ready; kill -STOP $$; {nap} 1000"),
    "env -i": _shell("env -i setsid {nap} 1000 & echo ready; wait"),
    "fork loop": _python(_HOPPER),
    "grows while it is killed": _python(_GROWING, "{nap}.count"),
    "daemonised server": _python(_DAEMON),
    "traced child": _python(_TRACED),
}
"""Trees whose leader stays."""

LEFT_BEHIND: dict[str, list[str]] = {
    "holds the pipe": _shell("{nap} 1000 & echo ready"),
    "holds nothing": _shell("setsid {nap} 1000 >/dev/null 2>&1 & echo ready"),
    "ignores all and holds the pipe": _shell("trap '' INT TERM HUP; setsid {nap} 1000 & echo ready"),
    "stopped and holds the pipe": _shell("{nap} 1000 & kill -STOP $!; echo ready"),
    "daemonised server": [*_python(_DAEMON.replace("time.sleep(1000)", "os.wait()"))],
}
"""Trees whose leader ends and leaves the rest."""


def tree(commands: dict[str, list[str]], name: str, nap: str) -> list[str]:
    """Give the arguments of one tree."""
    return [argument.replace("{nap}", nap) for argument in commands[name]]
