"""What a command writes to both its streams keeps its order where both end in one file."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from support.terminals import OnTerminal
from support.waiting import DEADLINE, wait_for

AT_ONCE = 4
"""Commands that the service runs."""
BURST = "for i in $(seq 300); do echo out $i; echo err $i >&2; done"
EXPECTED = b"".join(b"out %d\nerr %d\n" % (number, number) for number in range(1, 301))


def run(service, *arguments, **options):
    defaults = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "capture_output": False, "text": False}
    return service.run("run", *arguments, **defaults | options)


def logs(service, *arguments):
    done = service.run("logs", *arguments, text=False)
    return done.stdout, done.stderr


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_in_a_pipe(service, shell):
    for _ in range(3):
        assert run(service, "--", shell, "-c", BURST).stdout == EXPECTED
    traced = ["--", shell, "-xc", "echo one; echo two; echo three"]
    assert run(service, *traced).stdout == b"+ echo one\none\n+ echo two\ntwo\n+ echo three\nthree\n"


def test_in_a_file(service, tmp_path):
    for flags in (os.O_WRONLY, os.O_WRONLY | os.O_APPEND):
        file = os.open(tmp_path / "out", flags | os.O_CREAT | os.O_TRUNC)
        assert run(service, "--", "bash", "-c", f"{BURST}; exit 4", stdout=file, stderr=file).returncode == 4
        os.close(file)
        assert (tmp_path / "out").read_bytes() == EXPECTED


def test_on_a_terminal(service):
    with OnTerminal(service.orcha("run", "--", "bash", "-c", BURST), service.environment) as it:
        assert it.end() == 0
        assert it.seen.replace(b"\r\n", b"\n") == EXPECTED


def test_a_large_burst_that_goes_through_files_keeps_it_too(service):
    script = "for i in $(seq 60000); do echo out $i; echo err $i >&2; done"
    expected = b"".join(b"out %d\nerr %d\n" % (number, number) for number in range(1, 60_001))
    assert run(service, "--name", "it", "--", "bash", "-c", script).stdout == expected
    assert logs(service, "it") == (expected, b"")


def test_it_is_one_stream_for_all_that_come_later(service):
    assert run(service, "--name", "it", "--", "bash", "-c", BURST).stdout == EXPECTED
    assert logs(service, "it") == (EXPECTED, b"")
    assert logs(service, "--stream", "out", "it") == (EXPECTED, b"")
    assert logs(service, "--stream", "err", "it") == (b"", b"")
    attached = service.run("attach", "it", text=False)
    assert (attached.stdout, attached.stderr) == (EXPECTED, b"")
    assert json.loads(service.ask("show", "it", "--json").stdout)["command"]["merge"] is True
    assert service.ask("retry", "it").returncode == 0
    assert service.ask("wait", "it").returncode == 0
    assert logs(service, "it") == (EXPECTED, b"")


@pytest.mark.parametrize("service_dies", [False, True])
def test_order_stays_over_a_crash_of_the_service(own_service, tmp_path, service_dies):
    os.mkfifo(tmp_path / "go")
    script = f"{BURST}; read x < {tmp_path}/go; {BURST}"
    command = own_service.orcha("run", "--name", "it", "--", "bash", "-c", script)
    client = own_service.spawn(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    seen = b"".join(client.stdout.readline() for _ in range(600))
    if service_dies:
        own_service.kill()
        own_service.start()
    (tmp_path / "go").write_text("\n")
    rest = client.stdout.read()
    assert client.wait(DEADLINE) == 0
    assert seen == EXPECTED
    assert b"".join(line for line in rest.splitlines(keepends=True) if not line.startswith(b"orcha: ")) == EXPECTED


def test_apart_each_has_its_own(service, tmp_path):
    out = b"".join(b"out %d\n" % number for number in range(1, 301))
    err = out.replace(b"out", b"err")
    done = run(service, "--", "bash", "-c", BURST, stderr=subprocess.PIPE)
    assert (done.stdout, done.stderr) == (out, err)
    assert run(service, "--name", "it", "--streams", "apart", "--", "bash", "-c", BURST).returncode == 0
    assert logs(service, "it") == (out, err)
    nowhere = subprocess.DEVNULL
    assert run(service, "--name", "null", "--", "bash", "-c", BURST, stdout=nowhere, stderr=nowhere).returncode == 0
    assert logs(service, "null") == (out, err)
    assert run(service, "--detach", "--name", "later", "--", "bash", "-c", BURST).returncode == 0
    assert service.ask("wait", "later").returncode == 0
    assert logs(service, "later") == (out, err)
    with (tmp_path / "one").open("wb") as one, (tmp_path / "other").open("wb") as other:
        assert run(service, "--", "bash", "-c", BURST, stdout=one, stderr=other).returncode == 0
    assert ((tmp_path / "one").read_bytes(), (tmp_path / "other").read_bytes()) == (out, err)


def test_together_where_that_is_said(service):
    words = ("--detach", "--name", "it", "--streams", "together", "--", "bash", "-c", BURST)
    assert run(service, *words).returncode == 0
    wait_for(lambda: logs(service, "it")[0] == EXPECTED, what="both in order")
    done = run(service, "--streams", "together", "--", "bash", "-c", BURST, stderr=subprocess.PIPE)
    assert (done.stdout, done.stderr) == (EXPECTED, b"")
