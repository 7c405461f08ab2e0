"""The page about one machine for a lab does what it says, command for command, by the users that it names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from support.machine import ALICE, BOB, CAROL, DAN, ERIN, Machine, can_have_a_machine
from support.waiting import wait_for

pytestmark = [
    pytest.mark.skipif(not can_have_a_machine(), reason="only root can have users and a namespace of its own"),
    pytest.mark.slow,
]

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "lab.md").read_text()
USERS = {"root": 0, "alice": ALICE, "bob": BOB, "carol": CAROL, "dan": DAN, "erin": ERIN}
PROMPT = re.compile(r"(root|alice|bob|carol|dan|erin)[#$] (.*)")
REFUSED = " || echo refused"
OUTSIDE = {
    "python3 -m venv /opt/orcha",
    "/opt/orcha/bin/pip install orcha",
    "ln -s /opt/orcha/bin/orcha /usr/local/bin/orcha",
    "systemctl enable --now orcha.socket orcha.service",
}
"""What a test does in its own way: Orcha is installed here, and the test starts the service where systemd would."""

FIRST = {"why": lambda row: row["why"], "pause": lambda row: row["state"] == "running"}
"""What a person who types has waited for, without knowing."""
TOLD = {
    "orcha why fit-again": ("quota: 1 of bob's 1 gpu in use", "it needs 1 gpu, 0 of 2 are free", "held by fit"),
    "orcha doctor": ("no fault found", "the service is pid"),
    "orcha who": ("alice", "bob"),
    "orcha ps": ("train", "fit-again"),
    "orcha resource ls": ("train",),
    "orcha events --who carol": ("its fan is loud", "the data were wrong"),
    "orcha key ls": ("ci",),
}
"""What the page says of what a command prints, where the page does not show it."""


def steps():
    """Give user, command and the lines below it, in the order of the page."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for line in block.splitlines():
            if prompt := PROMPT.fullmatch(line):
                found.append((prompt[1], prompt[2], []))
            else:
                found[-1][2].append(line)
    return found


def configure(machine, lines):
    path = machine.folder / "etc" / "orcha" / "orcha.toml"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n")


def test_each_command_does_what_the_page_says(serve):
    machine = Machine(serve.environment(), {uid: name for name, uid in USERS.items() if uid})
    for name in ("root", "var/backups"):
        (machine.folder / name).mkdir(parents=True)
    outside = set()
    try:
        for user, command, lines in steps():
            if command.startswith("cat > "):
                configure(machine, lines)
            elif command.startswith("systemctl enable"):
                machine.start()
                outside.add(command)
            elif command.startswith("orcha "):
                _run(machine, user, command, lines)
            elif not command.startswith("mkdir "):
                outside.add(command)
    finally:
        machine.close()
    assert outside == OUTSIDE


def _run(machine, user, command, lines):
    words = shlex.split(command.removesuffix(REFUSED))[1:]
    if words[0] == "install-units":
        words += ["--dir", str(machine.folder / "units")]
    words = [re.sub(r"^/(etc|root|var)/", f"{machine.folder}/\\1/", word) for word in words]
    if words[0] in FIRST:
        wait_for(lambda: FIRST[words[0]](machine.rows(0)[words[1]]), what=f"the service has looked at {words[1]}")
    done = machine.run(USERS[user], *words, cwd=machine.home(USERS[user]))
    if command.endswith(REFUSED):
        assert (done.returncode != 0, lines) == (True, ["refused"]), (command, done)
        return
    assert done.returncode == 0, (command, done)
    if lines:
        assert done.stdout.splitlines() == lines, (command, done)
    assert [text for text in TOLD.get(command, ()) if text not in done.stdout] == [], (command, done)
