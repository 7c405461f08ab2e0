"""The service is replaced by a newer build while commands run, whose shims are the older one's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commands.builds import install
from support.commands import everything, run, steady
from support.service import TESTS
from support.waiting import wait_for

COUNT = 5
"""Each ends with another code."""


class Upgraded:
    """A service whose installed build changes."""

    def __init__(self, serve, connect, tmp_path):
        self.site, self.ledger, self.gate = tmp_path / "site", tmp_path / "ledger", tmp_path / "open"
        install(self.site, "1.0.7", (1, 1))
        places = os.pathsep.join([str(self.site), serve.environment()["PYTHONPATH"]])
        environment = {"PYTHONPATH": places, "ORCHA_COMMANDS": str(COUNT)}
        self.service = serve(arguments=("serve", "commands"), environment=environment)
        assert "1.0.7" in self.ask("stats").stdout
        self.client = connect(self.service)
        self.queues = [run(self.client, f"s{n}", *steady(n, self.ledger, self.gate)) for n in range(COUNT)]
        self.first = [queue.get() for queue in self.queues]

    def ask(self, *words):
        """Run an orcha command of the build under test, which need not start anew."""
        return self.service.run(*words, env=self.service.environment | {"PYTHONPATH": str(TESTS)})

    def leave(self, how):
        """End the service, not its commands."""
        if how == "kill":
            self.service.kill()
        else:
            assert self.ask("stop", "--keep-commands").returncode == 0
            assert self.service.wait_for_end() == 0

    def upgrade(self, versions, how):
        """Install another build and start that."""
        self.leave(how)
        install(self.site, "1.1.0", versions)
        self.service.start()
        assert "1.1.0" in self.ask("stats").stdout

    def notes(self):
        return [line.split() for line in self.ledger.read_text().splitlines()]

    def rows(self):
        """Give state and attempt of all that run."""
        import json

        found = json.loads(self.ask("ps", "--json").stdout)
        return {row["id"]: (row["state"], row["attempt"]) for row in found}


@pytest.fixture
def upgraded(serve, connect, tmp_path):
    """Give a service with commands that print."""
    return Upgraded(serve, connect, tmp_path)


def result_of(upgraded, number):
    """Read one's output to its end, beginning with the value that was read before."""
    rest = everything(upgraded.queues[number])
    stream, data = upgraded.first[number]
    return rest._replace(**{"out" if stream == 1 else "err": data + rest[stream - 1]})


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_newer_build_goes_on_with_the_older_ones_commands(upgraded, how):
    upgraded.upgrade((1, 2), how)
    assert upgraded.rows() == {f"s{n}": ("running", 1) for n in range(COUNT)}
    before = len(upgraded.queues)
    assert upgraded.ask("cancel", "s3").returncode == 0
    new = upgraded.ask("run", "--", "sh", "-c", "echo new; exit 7")
    assert (new.stdout, new.returncode) == ("new\n", 7)
    upgraded.gate.touch()
    results = [result_of(upgraded, number) for number in range(before)]
    notes = upgraded.notes()
    for number, result in enumerate(results):
        mine = [(word, value) for which, word, value in notes if which == str(number)]
        if number == 3:
            assert (mine, result.code) == ([("start", "1")], 130)
            continue
        assert [word for word, _ in mine] == ["start", "end"]
        expected = b"".join(b"%d %d\n" % (number, line) for line in range(int(mine[1][1])))
        assert result == (expected, expected, [], number % 5)
    assert "is left alone" not in upgraded.service.stderr()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_build_that_does_not_speak_with_them_leaves_them_alone(upgraded, how):
    upgraded.upgrade((2, 2), how)
    assert upgraded.rows() == {f"s{n}": ("running", 1) for n in range(COUNT)}
    said = upgraded.service.stderr()
    assert said.count("is left alone: its shim") == COUNT
    assert "it speaks the versions [2, 2], this one (1, 1)" in said
    assert upgraded.ask("cancel", "s3").returncode == 0
    upgraded.gate.touch()
    results = [result_of(upgraded, number) for number in range(COUNT)]
    notes = upgraded.notes()
    for number, result in enumerate(results):
        mine = [word for which, word, _ in notes if which == str(number)]
        assert mine == (["start"] if number == 3 else ["start", "end"])
        assert result.code == (130 if number == 3 else number % 5)
        assert any("under another build of Orcha" in line for line in result.lines)
        lines = int(result.out.splitlines()[-1].split()[1]) + 1 if result.out else 0
        assert result.out == b"".join(b"%d %d\n" % (number, line) for line in range(lines)), "a prefix"
    new = upgraded.ask("run", "--", "sh", "-c", "echo new; exit 7")
    assert (new.stdout, new.returncode) == ("new\n", 7)
    wait_for(lambda: not list(shims(upgraded.service)), what="the end of the older build's shims")


def test_the_older_build_can_come_back_for_its_commands(upgraded):
    upgraded.upgrade((2, 2), "stop")
    upgraded.leave("stop")
    install(upgraded.site, "1.0.8", (1, 1))
    upgraded.service.start()
    upgraded.gate.touch()
    notes = wait_for(lambda: len(upgraded.notes()) == 2 * COUNT and upgraded.notes(), what="all ends")
    for number in range(COUNT):
        result = result_of(upgraded, number)
        (ended,) = [int(value) for which, word, value in notes if (which, word) == (str(number), "end")]
        expected = b"".join(b"%d %d\n" % (number, line) for line in range(ended))
        assert (result.out, result.err, result.code) == (expected, expected, number % 5)


def shims(service):
    """Give the boxes of shims that have an attempt."""
    from orcha._supervisor import black_box

    for path in Path(service.home).glob("*/shims/*.box"):
        word = black_box.read(str(path))
        if word is not None and word.phase:
            yield word
