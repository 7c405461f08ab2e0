"""What a command leaves behind, as a person meets it."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from support.waiting import wait_for

AT_ONCE = 4
"""Commands that the service runs."""


def attempt_of(service, name):
    return json.loads(service.ask("show", name, "--json").stdout)["attempts"][-1]


def test_output_that_comes_after_the_scripts_end_arrives(service):
    script = "exec > >(while read -r line; do sleep 0.3; echo log: $line; done); for i in 1 2 3 4 5 6; do echo $i; done"
    done = service.run("run", "--", "bash", "-c", script)
    assert done.stdout == "".join(f"log: {number}\n" for number in range(1, 7))
    assert (done.stderr, done.returncode) == ("", 0)


def test_a_line_names_what_was_ended_and_show_lists_it(service, tmp_path):
    done = service.run("run", "--name", "left", "--", "sh", "-c", "sleep 1000 </dev/null >/dev/null 2>&1 & exit 3")
    assert done.returncode == 3
    found = re.fullmatch(
        r"orcha: the command left a process behind, which was ended: (sh|sleep) \(pid (\d+)\)\n", done.stderr
    )
    assert found
    assert not Path(f"/proc/{found[2]}").exists()
    assert attempt_of(service, "left")["left_behind"] == [[int(found[2]), found[1]]]
    shown = service.ask("show", "left").stdout
    assert f"left behind {found[2]} {found[1]}" in " ".join(shown.split())


def test_what_is_kept_is_said_and_shown_and_lives(service, tmp_path):
    script = f"setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >{tmp_path}/pid; exit 0"
    done = service.run("run", "--name", "kept", "--leftovers", "keep", "--", "sh", "-c", script)
    pid = int((tmp_path / "pid").read_text())
    try:
        assert done.returncode == 0
        assert re.fullmatch(
            rf"orcha: the command left a process behind, which goes on, out of Orcha's hands: \w+ \(pid {pid}\)\n",
            done.stderr,
        )
        os.kill(pid, 0)
        assert [each[0] for each in attempt_of(service, "kept")["kept"]] == [pid]
    finally:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2])


@pytest.mark.parametrize("text", ["0", "0s", "1ms"])
def test_a_drain_of_nothing_ends_them_at_once(service, text):
    done = service.run("run", "--drain", text, "--", "sh", "-c", "sleep 1000 & exit 0")
    assert done.returncode == 0
    assert "which was ended: " in done.stderr
