"""A command that starts processes until its user may have no more: the service lives, and everything can be ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest

from orcha._processes.identity import read_stat
from support.waiting import wait_for

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user"),
    pytest.mark.slow,
]
MOST_PROCESSES = 64
"""Processes and threads that the user may have, as with `ulimit -u`."""
BOMB = """
import os, select, sys
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        open(sys.argv[1], "a").close()
        select.select([], [], [], 0.05)
"""
"""Each process starts others for ever, and each of them is in a session of its own."""


def user() -> int:
    """Give a user without a process: the limit counts all processes of a user, those of other test runs too."""
    return 100_000 + os.getpid()


def executing(uid: int, word: str) -> list[int]:
    """Give the processes of this user that have this word in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and entry.stat().st_uid == uid:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
                if word.encode() in arguments:
                    found.append(int(entry.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


def processes(uid: int) -> int:
    """Count the processes of this user, also dead ones that nobody has reaped: they count for the limit."""
    found = 0
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            found += entry.name.isdecimal() and f"\nUid:\t{uid}\t" in (entry / "status").read_text()
    return found


CODES = {"cancel": 130, "timeout": 124, "death of its shim": 75}


@pytest.mark.parametrize("ended_by", [*CODES, "stop"])
def test_whatever_it_starts_the_service_lives_and_ends_it(users, ended_by):
    uid = user()
    full = users.home(uid) / "full"
    users.serve(uid, "commands", processes=MOST_PROCESSES, ORCHA_COMMANDS="4")
    limit = ["--timeout", "5s"] if ended_by == "timeout" else []
    bomb = ["/usr/bin/python3", "-S", "-c", BOMB, str(full)]
    began = users.run(uid, "run", "-d", "--name", "bomb", *limit, "--", *bomb)
    assert began.returncode == 0, began.stderr
    wait_for(full.exists, what="a user who may have no more processes")
    wait_for(lambda: len(executing(uid, str(full))) > MOST_PROCESSES // 2, what="most processes to be the command's")
    if ended_by != "timeout":
        beside = users.run(uid, "run", "--name", "beside", "--", "true")
        assert beside.returncode in {0, 125, 127}, beside
        assert "bomb" in users.run(uid, "ps").stdout
    if ended_by == "cancel":
        cancelled = users.run(uid, "cancel", "bomb")
        assert (cancelled.returncode, cancelled.stderr) == (0, "")
    if ended_by == "death of its shim":
        leader = json.loads(users.run(uid, "show", "bomb", "--json").stdout)["attempts"][-1]["pid"]
        os.kill(read_stat(leader).parent, signal.SIGKILL)
    if ended_by == "stop":
        stopped = users.run(uid, "stop", "--now", "--end-commands")
        assert (stopped.returncode, stopped.stderr) == (0, "")
        wait_for(lambda: not executing(uid, "serve"), what="the end of the service")
    else:
        assert users.run(uid, "wait", "bomb").returncode == CODES[ended_by]
        wait_for(lambda: processes(uid) < MOST_PROCESSES // 2, what="room: init takes its time for what a shim left")
        after = users.run(uid, "run", "--", "echo", "hello")
        assert (after.returncode, after.stdout) == (0, "hello\n")
    assert executing(uid, str(full)) == []
