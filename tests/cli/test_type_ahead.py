"""What is typed while a command runs that takes no input belongs to whoever reads the terminal afterwards."""

from __future__ import annotations

import json
import os
import shlex
import sys
import termios

import pytest

from orcha._cli.type_ahead import KeySignals
from support.terminals import OnTerminal
from support.waiting import wait_for

AT_ONCE = 4
"""Commands that the service runs."""
WITHOUT_GIVING_BACK = """
import sys
from orcha._cli import type_ahead
type_ahead.can_give_back = lambda descriptor: False
from orcha.bin.main import main
sys.exit(main())
"""
"""The command on a system that lets no process put input back."""


class Shell(OnTerminal):
    """An interactive shell that runs a client whose command waits for the test."""

    def __init__(self, service, tmp_path, how, verb, keys=None):
        environment = service.environment | {"PS1": "$ "}
        if keys is not None:
            environment["ORCHA_DETACH_KEYS"] = keys
        super().__init__(["bash", "--norc", "-i"], environment)
        self.service = service
        try:
            self._begin(tmp_path, how, verb)
        except BaseException:
            self.__exit__()
            raise

    def _begin(self, tmp_path, how, verb):
        service = self.service
        self.fifo = tmp_path / "go"
        os.mkfifo(self.fifo)
        script = tmp_path / "client.py"
        script.write_text(WITHOUT_GIVING_BACK)
        python = [sys.executable, str(script)] if how == "signals" else [sys.executable, "-m", "orcha"]
        self.orcha = [*python, "--listen-address", service.address, "--port", str(service.port)]
        command = ["--name", "it", "--", "sh", "-c", f"echo re''ady; read go < {self.fifo}; echo over; exit 3"]
        self.until(b"$ ")
        if verb == "attach":
            assert service.ask("run", "--detach", *command).returncode == 0
        line = [*self.orcha, *(["run", *command] if verb == "run" else ["attach", "it"])]
        self.type(shlex.join(line).encode() + b"\n")
        self.until(b"ready\r\n")

    def go(self):
        self.fifo.write_text("\n")

    def leave(self):
        """Type the keys as a person does, each when the one before was taken."""
        self.type(b"\x1d")
        if self.mode()[6][termios.VQUIT] == b"\x1d" or self.mode()[6][termios.VQUIT] == b"d":
            wait_for(lambda: self.mode()[6][termios.VQUIT] == b"d", what="the next key is waited for")
        self.type(b"d")
        self.until(b"orcha: detached")

    def quit(self):
        self.type(b"\n")
        self.forget()
        self.type(b"exit 7\n")
        assert self.end() == 7


@pytest.fixture
def shell(service, tmp_path):
    made = []

    def start(*arguments, **options):
        made.append(Shell(service, tmp_path, *arguments, **options))
        return made[-1]

    yield start
    for each in made:
        each.__exit__()
    service.ask("cancel", "--now", "it")


HOW = pytest.mark.parametrize("how", ["given back", "signals"])
VERBS = pytest.mark.parametrize("verb", ["run", "attach"])


@HOW
@VERBS
def test_it_is_the_shells_when_the_command_has_ended(shell, how, verb):
    it = shell(how, verb)
    it.type(b"echo TYPED$((40 + 2))\necho MORE$((1 + 1))\necho un")
    it.go()
    it.until(b"TYPED42")
    it.until(b"MORE2")
    it.type(b"finished$((4 + 4))\n")
    it.until(b"unfinished8")
    it.quit()


@HOW
@VERBS
def test_it_is_the_shells_when_the_keys_were_typed(shell, how, verb):
    it = shell(how, verb)
    it.type(b"echo TYPED$((40 + 2))\n")
    it.leave()
    it.until(b"TYPED42")
    it.type(b"echo AFTER$((1 + 1))\n")
    it.until(b"AFTER2")
    assert b"$ d" not in it.seen
    it.quit()
    row = json.loads(it.service.run("ps", "--json").stdout)
    assert [each["state"] for each in row if each["id"] == "it"] == ["running"]


@VERBS
def test_without_keys_nothing_is_read_and_no_mode_is_changed(shell, verb):
    it = shell("given back", verb, keys="")
    assert it.mode()[6][termios.VQUIT] == it.before[6][termios.VQUIT]
    assert it.mode()[3] & termios.ICANON
    it.type(b"echo TYPED$((40 + 2))\n\x1dd")
    it.go()
    it.until(b"TYPED42")
    it.quit()


def test_typed_all_at_once_what_is_before_and_after_the_keys_is_the_shells(shell):
    it = shell("given back", "run")
    it.type(b"echo BEFORE$((1 + 1))\n\x1ddecho AFTER$((1 + 2))\n")
    it.until(b"orcha: detached")
    it.until(b"BEFORE2")
    it.until(b"AFTER3")
    it.quit()


def test_keys_that_were_begun_and_not_ended_are_no_keys(shell):
    it = shell("given back", "run")
    it.type(b"\x1dx\x1d\x1dd")
    it.until(b"orcha: detached")
    it.quit()


@HOW
def test_ctrl_c_drops_it_as_a_terminal_does(shell, how):
    it = shell(how, "run")
    it.forget()
    it.type(b"echo TYPED$((40 + 2))\n\x03")
    it.until(b"$ ")
    it.type(b"echo CODE$?\n")
    it.until(b"CODE130")
    assert b"TYPED42" not in it.seen
    it.quit()


@HOW
def test_stopped_and_gone_on_with_it_is_whose_the_terminal_is(shell, how):
    it = shell(how, "run")
    it.type(b"\x1a")
    it.until(b"Stopped")
    it.forget()
    it.type(b"echo SHELL$((40 + 2))\n")
    it.until(b"SHELL42")
    before = it.mode()
    it.type(b"fg\n")
    wait_for(lambda: it.mode() != before and it.mode()[3] & termios.ISIG, what="the client is back")
    it.type(b"echo TYPED$((40 + 2))\n")
    it.go()
    it.until(b"TYPED42")
    it.quit()


def test_a_script_reads_it_afterwards(service, tmp_path):
    """There the client shares its process group, so that no signal may stand for a key."""
    client = service.orcha("run", "--", "sh", "-c", f"echo ready; read go < {tmp_path}/go")
    os.mkfifo(tmp_path / "go")
    script = '"$@"; read -r line; echo "got $line"; read -r line; echo "and $line"'
    with OnTerminal(["bash", "-c", script, "-", *client], service.environment) as it:
        it.until(b"ready")
        it.type(b"first\nsecond\n")
        (tmp_path / "go").write_text("\n")
        it.until(b"got first")
        it.until(b"and second")
        assert it.end() == 0
        assert it.mode() == it.before


def test_keys_that_come_as_signals():
    asked, alarms = [], []
    signals = KeySignals(b"\x1ddx", asked.append, alarms.append)
    signals.begin()
    assert [signals.typed(), signals.typed(), signals.typed()] == [False, False, True]
    assert (asked, alarms[-1]) == ([0x1D, ord("d"), ord("x")], 0)
    signals.begin()
    assert signals.typed() is False
    signals.begin()  # the alarm
    assert [signals.typed(), signals.typed(), signals.typed()] == [False, False, True]
