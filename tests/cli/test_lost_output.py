"""An attached reader gets all output of a command, whatever is kept; a reader that lacks some is told how much."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.commands import everything, run
from support.service import RunningService, Serve
from support.waiting import wait_for

AT_ONCE = 2
OWN_FAILURE = 125
WRITER = "import hashlib, sys\nfor n in range({}): sys.stdout.buffer.write(hashlib.sha512(b'%d' % n).digest() * 1000)"
"""Writes so many different blocks of 64,000 bytes."""


def written(service, *options, size=5_000_000, code=0):
    script = f"head -c {size} /dev/zero; exit {code}"
    return service.run("run", "--name", "it", *options, "--", "sh", "-c", script, text=False)


def blocks(count):
    return b"".join(hashlib.sha512(b"%d" % number).digest() * 1000 for number in range(count))


@pytest.mark.parametrize("limit", ["1", "1M", "4999999"])
def test_who_reads_along_gets_everything_whatever_the_limit(service, limit):
    done = written(service, "--output-limit", limit)
    assert (len(done.stdout), done.stderr, done.returncode) == (5_000_000, b"", 0)
    kept = {"1": 1, "1M": 1 << 20, "4999999": 4_999_999}[limit]
    logs = service.run("logs", "it", text=False)
    assert len(logs.stdout) == kept
    assert f"{5_000_000 - kept} bytes of output are lost" in logs.stderr.decode()


def test_every_byte_comes_in_its_place_with_both_streams_and_the_commands_own_code(service, tmp_path):
    both = f"import sys\n{WRITER.format(400)}\n    sys.stderr.buffer.write(b'%d\\n' % n)\nsys.exit(3)"
    both = both.replace(": sys.stdout", ":\n    sys.stdout", 1)
    errors = tmp_path / "errors"
    with errors.open("wb") as stderr:
        command = service.orcha("run", "--output-limit", "1M", "--", "python3", "-c", both)
        done = service.spawn(*command, stdout=subprocess.PIPE, stderr=stderr)
        out, _ = done.communicate()
    assert hashlib.sha256(out).digest() == hashlib.sha256(blocks(400)).digest()
    assert errors.read_bytes() == b"".join(b"%d\n" % number for number in range(400))
    assert done.returncode == 3


def test_who_attaches_later_is_told_what_it_lacks(service):
    assert written(service, "--detach", "--output-limit", "10").returncode == 0
    service.ask("wait", "it")
    done = service.run("attach", "it", text=False)
    assert (len(done.stdout), done.returncode) == (10, OWN_FAILURE)
    assert done.stderr.decode().count("4999990 bytes of output are lost") == 1


IMPATIENT = """
import sys
from orcha._service.channels import unkept_output

unkept_output.LOOK_INTERVAL_SECONDS = 0.05
if __name__ == "__main__":
    from orcha.bin.main import main

    sys.argv[1:] = ["--listen-address", sys.argv[1], "--port", sys.argv[2], "serve", "commands"]
    sys.exit(main())
"""


@pytest.fixture
def impatient(serve, tmp_path) -> RunningService:
    """Give a service that waits 0.1 s for a reader that takes nothing."""
    script = tmp_path / "impatient.py"
    script.write_text(IMPATIENT)
    return serve(script=script)


def test_who_does_not_read_holds_the_command_for_a_while_only(impatient, tmp_path):
    service, ended = impatient, tmp_path / "ended"
    script = f"{WRITER.format(800)}\nopen({str(ended)!r}, 'w').close()"
    command = service.orcha("run", "--output-limit", "1M", "--name", "it", "--", "python3", "-c", script)
    client = service.spawn(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(ended.exists, what="the command's end, though nobody reads")
    out, err = client.communicate()
    lacking = 800 * 64_000 - len(out)
    assert lacking > 0
    assert out.startswith(blocks(800)[: 1 << 20])
    assert sum(map(int, re.findall(rb"orcha: (\d+) bytes of output are lost", err))) == lacking
    assert client.returncode == OWN_FAILURE


def test_what_is_written_while_the_service_is_away_is_told_as_lost(own_service, tmp_path):
    service = own_service
    gate, ended, got = tmp_path / "gate", tmp_path / "ended", tmp_path / "got"
    script = (
        f"import os, time\n{WRITER.format(100)}\nsys.stdout.flush()\nwhile not os.path.exists({str(gate)!r}):"
        f" time.sleep(0.01)\n{WRITER.format(100)}\nsys.stdout.flush()\nopen({str(ended)!r}, 'w').close()"
    )
    with got.open("wb") as out:
        command = service.orcha("run", "--output-limit", "1M", "--", "python3", "-c", script)
        client = service.spawn(*command, stdout=out, stderr=subprocess.PIPE)
        wait_for(lambda: got.stat().st_size == 6_400_000, what="all of the first half")
        service.kill()
        gate.touch()
        wait_for(ended.exists, what="the command's end")
        service.start()
        _, err = client.communicate()
    assert got.read_bytes().startswith(blocks(100))
    assert got.stat().st_size < 12_800_000
    assert b"bytes of output are lost" in err
    assert client.returncode == OWN_FAILURE


def test_a_failure_keeps_its_code(service):
    assert written(service, "--output-limit", "10", code=3).returncode == 3


def test_all_there_may_be_is_no_loss(service):
    done = written(service, "--output-limit", "5000000")
    assert (len(done.stdout), done.stderr, done.returncode) == (5_000_000, b"", 0)


def test_a_client_in_python_gets_the_line_and_the_commands_own_exit_code(impatient, connect, tmp_path):
    ended = tmp_path / "ended"
    script = f"{WRITER.format(800)}\nopen({str(ended)!r}, 'w').close()"
    queue = run(connect(impatient), "it", sys.executable, "-c", script, output_limit=1 << 20)
    wait_for(ended.exists, what="the command's end, though nobody reads")
    written = everything(queue)
    lacking = 800 * 64_000 - len(written.out)
    assert lacking > 0
    assert sum(map(int, re.findall(r"orcha: (\d+) bytes of output are lost", "".join(written.lines)))) == lacking
    assert written.code == 0


@pytest.fixture
def on_small_disk(tmp_path) -> Iterator[RunningService]:
    """Give a service whose folder lies on a file system of 64 MiB."""
    home = Path(tempfile.mkdtemp(prefix="orcha-"))
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "none", str(home)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        home.rmdir()
        pytest.skip("needs the right to mount")
    factory = Serve(home, tmp_path)
    try:
        yield factory(arguments=("serve", "commands"))
        problems = factory.close()
        assert not problems, problems
    finally:
        factory.close()
        subprocess.run(["umount", str(home)], check=True)
        home.rmdir()


@pytest.mark.parametrize("policy", ["truncate", "rotate"])
def test_a_full_disk_takes_nothing_from_who_reads_along(on_small_disk, policy):
    service = on_small_disk
    options = ("--name", "it", "--output-policy", policy)
    done = service.run("run", *options, "--", "python3", "-c", WRITER.format(1100), text=False)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(blocks(1100)).digest()
    assert (done.stderr, done.returncode) == (b"", 0)
    logs = service.run("logs", "it", text=False)
    lacking = 1100 * 64_000 - len(logs.stdout)
    assert lacking > 0
    assert blocks(1100).startswith(logs.stdout)
    assert f"{lacking} bytes of output are lost" in logs.stderr.decode()
