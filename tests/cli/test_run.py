"""``orcha run``: the command's bytes, its end, and Ctrl+C in every state."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from support.waiting import DEADLINE, wait_for

AT_ONCE = 2
"""Commands that the service runs."""


def run(service, *arguments, **options):
    return service.run("run", *arguments, **{"text": False} | options)


def started(service, *arguments, **options):
    defaults = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return service.spawn(*service.orcha("run", *arguments), **defaults | options)


def rows(service, *arguments):
    return json.loads(service.ask("ps", "--json", *arguments).stdout)


def row_of(service, identity):
    return next((row for row in rows(service, "--all") if row["id"] == identity), None)


def wait_for_state(service, identity, *states):
    return wait_for(
        lambda: (row := row_of(service, identity)) and row["state"] in states and row,
        what=f"{identity} being {' or '.join(states)}",
    )


@pytest.fixture
def fill(service, tmp_path):
    """Give a function that occupies both places, until the test ends."""

    def occupy():
        for name in ("block-1", "block-2"):
            assert run(service, "--detach", "--name", name, "--", "sleep", "1000").returncode == 0
            wait_for_state(service, name, "starting", "running")

    yield occupy
    service.ask("cancel", "block-1", "block-2")


# --- output and end --------------------------------------------------------------------------------------------------


def test_streams_come_apart_and_the_code_is_the_commands(service):
    done = run(service, "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 3)


def test_bytes_come_as_they_are(service):
    data = os.urandom(700_000)
    (service.home / "data").write_bytes(data)
    done = run(service, "cat", str(service.home / "data"))
    assert done.stdout == data
    assert (done.stderr, done.returncode) == (b"", 0)


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["sh", "-c", "kill -TERM $$"], 143, ""),
        (["/nonsense"], 127, "orcha: cannot execute '/nonsense': No such file or directory\n"),
        (["/etc/passwd"], 126, "orcha: cannot execute '/etc/passwd': Permission denied\n"),
    ],
)
def test_codes(service, command, code, said):
    done = run(service, *command)
    assert (done.returncode, done.stderr.decode(), done.stdout) == (code, said, b"")


def test_folder_mask_and_arguments_go_along(service, tmp_path):
    odd = os.fsdecode(b"a\xff b\n")
    done = run(service, "--", "sh", "-c", 'pwd; umask; printf %s "$1"', "-", odd, cwd=tmp_path, umask=0o027)
    assert done.stdout == f"{tmp_path}\n0027\n".encode() + os.fsencode(odd)


def test_of_the_environment_only_what_is_allowed_goes_along(service):
    mine = {"SECRET_KEY": "s3cr3t", "LC_ALL": "C", "MY_ONE": "1", "MY_TWO": "2"}

    def seen(*arguments, **more):
        done = run(service, *arguments, "env", env=service.environment | mine | more)
        assert done.returncode == 0
        return dict(line.split("=", 1) for line in done.stdout.decode().splitlines())

    plain = seen()
    assert plain["LC_ALL"] == "C"
    assert plain["PATH"] == os.environ["PATH"]
    assert {"SECRET_KEY", "MY_ONE", "ORCHA_HOME", "PYTHONPATH"} & plain.keys() == set()
    chosen = seen("--env", "A=b=c", "--env", "MY_ONE", "--env", "MISSING", ORCHA_ENV_ALLOW="MY_T*, OTHER")
    assert (chosen["A"], chosen["MY_ONE"], chosen["MY_TWO"]) == ("b=c", "1", "2")
    assert {"SECRET_KEY", "MISSING"} & chosen.keys() == set()
    everything = seen("--all-env")
    assert everything["SECRET_KEY"] == "s3cr3t"
    assert "ORCHA_HOME" not in everything


def test_detached_it_prints_the_id_and_leaves(service, tmp_path):
    made = tmp_path / "made"
    done = run(service, "--detach", "--", "touch", str(made))
    assert done.returncode == 0
    identity = done.stdout.decode().strip()
    assert identity.startswith("touch-")
    wait_for_state(service, identity, "ended")
    assert made.exists()


# --- what is Orcha's own failure -------------------------------------------------------------------------------------


def test_without_a_service_it_is_125(own_service):
    service = own_service
    service.stop()
    done = run(service, "true")
    assert done.returncode == 125
    assert done.stderr.startswith(b"orcha: ")
    assert done.stderr.count(b"\n") == 1


def test_refused_it_is_125(service, fill):
    fill()
    done = run(service, "--name", "block-1", "true")
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"'block-1' is taken" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["--"], 2),
        (["--timeout", "soon", "true"], 2),
        (["--memory", "much", "true"], 2),
        (["--if-exists", "attach", "true"], 2),
        (["--retry-on", "75", "true"], 2),
        (["--retry", "1", "--retry-on", "x", "true"], 2),
        (["--env", "=x", "true"], 2),
    ],
)
def test_what_cannot_be_asked_for(service, arguments, code):
    done = run(service, *arguments)
    assert (done.returncode, done.stdout) == (code, b"")
    assert b"Traceback" not in done.stderr


def test_options_after_the_command_are_the_commands(service):
    done = run(service, "echo", "--t", "--name", "x", "-d", "--", "--detach")
    assert done.stdout == b"--t --name x -d -- --detach\n"


# --- Ctrl+C ----------------------------------------------------------------------------------------------------------


def test_ctrl_c_while_it_runs_ends_it(service):
    client = started(service, "--name", "it", "--", "sh", "-c", "echo ready; exec sleep 1000")
    assert client.stdout.readline() == b"ready\n"
    client.send_signal(signal.SIGINT)
    assert client.wait(DEADLINE) == 130
    assert client.stderr.read() == b""
    assert row_of(service, "it")["outcome"] == "cancelled"


def test_ctrl_c_while_it_waits_ends_it(service, fill):
    fill()
    client = started(service, "--name", "it", "--", "echo", "no")
    wait_for_state(service, "it", "queued")
    client.send_signal(signal.SIGINT)
    assert client.wait(DEADLINE) == 130
    assert client.stdout.read() == b""
    assert row_of(service, "it")["outcome"] == "cancelled"


def test_ctrl_c_between_two_attempts_ends_it(service):
    options = ("--retry", "3", "--retry-delay", "1h")
    client = started(service, "--name", "it", *options, "--", "sh", "-c", "echo failed; exit 9")
    assert client.stdout.readline() == b"failed\n"
    wait_for_state(service, "it", "queued")
    client.send_signal(signal.SIGINT)
    assert client.wait(DEADLINE) == 130
    assert row_of(service, "it")["outcome"] == "cancelled"


def test_sigterm_ends_it_too(service):
    client = started(service, "--name", "it", "--", "sh", "-c", "echo ready; exec sleep 1000")
    assert client.stdout.readline() == b"ready\n"
    client.terminate()
    assert client.wait(DEADLINE) == 130
    assert row_of(service, "it")["outcome"] == "cancelled"


def test_a_client_that_is_killed_or_hung_up_leaves_it_running(service):
    for number, code in ((signal.SIGKILL, -9), (signal.SIGHUP, 129)):
        name = f"it-{int(number)}"
        client = started(service, "--name", name, "--", "sh", "-c", "echo ready; exec sleep 1000")
        assert client.stdout.readline() == b"ready\n"
        client.send_signal(number)
        assert client.wait(DEADLINE) == code
        assert row_of(service, name)["outcome"] is None
        assert service.ask("cancel", name).returncode == 0


def interrupted_while_the_service_is_away(service):
    """Start a client, kill its service, and interrupt the client once; give the client."""
    client = started(service, "--name", "it", "--", "sh", "-c", "echo ready; exec sleep 1000")
    assert client.stdout.readline() == b"ready\n"
    service.kill()
    assert b"away" in client.stderr.readline()
    client.send_signal(signal.SIGINT)
    assert client.stderr.readline() == b"orcha: it is cancelled when the service is back: Ctrl+C again leaves it\n"
    return client


def test_ctrl_c_while_the_service_is_away_leaves_at_the_second(own_service):
    service = own_service
    client = interrupted_while_the_service_is_away(service)
    client.send_signal(signal.SIGINT)
    assert client.wait(DEADLINE) == 130
    assert client.stderr.read() == b"orcha: it may go on: orcha cancel it\n"
    service.start()  # what goes on is ended
    service.ask("cancel", "it")


def test_ctrl_c_is_heard_when_the_kernel_hands_it_to_another_thread(own_service):
    service = own_service
    client = interrupted_while_the_service_is_away(service)
    others = [int(task.name) for task in Path(f"/proc/{client.pid}/task").iterdir() if task.name != str(client.pid)]
    assert ctypes.CDLL(None, use_errno=True).tgkill(client.pid, others[0], signal.SIGINT) == 0
    assert client.wait(DEADLINE) == 130
    service.start()
    service.ask("cancel", "it")


# --- where the output goes -------------------------------------------------------------------------------------------


def test_a_reader_that_leaves_ends_it(service):
    client = started(service, "--name", "it", "--", "yes")
    assert client.stdout.readline() == b"y\n"
    client.stdout.close()
    assert client.wait(DEADLINE) == 141
    assert client.stderr.read() == b""
    assert wait_for_state(service, "it", "ended")["outcome"] == "cancelled"


def test_a_pipe_that_does_not_wait_gets_all(service):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    client = started(service, "--", "sh", "-c", "seq 40000", stdout=writer)
    os.close(writer)
    with open(reader, "rb") as pipe:  # noqa: PTH123 - a descriptor
        assert pipe.read() == b"".join(b"%d\n" % number for number in range(1, 40_001))
    assert client.wait(DEADLINE) == 0


def test_a_full_disk_is_said_and_ends_it(service):
    with Path("/dev/full").open("w") as full:
        client = started(service, "--name", "it", "--", "sh", "-c", "echo x; exec sleep 1000", stdout=full)
    assert client.wait(DEADLINE) == 125
    assert b"No space left" in client.stderr.read()
    assert wait_for_state(service, "it", "ended")["outcome"] == "cancelled"


def with_closed(service, redirections, *arguments):
    command = ["sh", "-c", f'exec "$@" {redirections}', "sh", *service.orcha("run", "--name", "it", *arguments)]
    return subprocess.run(command, env=service.environment, check=False, capture_output=True, timeout=DEADLINE)


def test_closed_streams_are_no_sockets(service):
    done = with_closed(service, "2>&- <&-", "--", "sh", "-c", "echo err >&2; echo out")
    assert (done.returncode, done.stdout) == (0, b"out\n")
    assert with_closed(service, ">&- 2>&- <&-", "--", "sh", "-c", "exit 3").returncode == 3


def test_without_anything_to_write_to_the_first_byte_ends_it(service):
    done = with_closed(service, ">&-", "yes")
    assert (done.returncode, done.stderr) == (125, b"orcha: there is nothing to write to: descriptor 1 is closed\n")
    assert wait_for_state(service, "it", "ended")["outcome"] == "cancelled"


def test_detached_nobody_reads_the_id_and_it_goes_on(service):
    reader, writer = os.pipe()
    os.close(reader)
    done = run(service, "--detach", "--name", "it", "--", "sleep", "1000", capture_output=False, stdout=writer)
    os.close(writer)
    assert done.returncode == 141
    assert row_of(service, "it")["outcome"] is None
    service.ask("cancel", "it")


def test_a_service_that_comes_back_is_gone_on_with(own_service, tmp_path):
    service = own_service
    os.mkfifo(tmp_path / "more")
    client = started(
        service, "--", "sh", "-c", 'echo ready; read more < "$1"; echo "$more"; exit 3', "-", tmp_path / "more"
    )
    assert client.stdout.readline() == b"ready\n"
    service.kill()
    service.start()
    (tmp_path / "more").write_text("more\n")
    assert client.stdout.read() == b"more\n"
    assert client.wait(DEADLINE) == 3


def test_no_byte_is_lost_or_doubled_over_several_kills(own_service, tmp_path):
    service = own_service
    script = 'i=0; while [ ! -e "$1" ]; do i=$((i + 1)); echo "$i" | tee -a "$2"; sleep 0.001; done; exit 7'
    files = [tmp_path / "stop", tmp_path / "written"]
    client = started(service, "--name", "it", "--", "sh", "-c", script, "-", *files)
    late = None
    for kill in range(3):
        assert client.stdout.readline()
        before = files[1].stat().st_size
        service.kill()
        wait_for(lambda before=before: files[1].stat().st_size > before + 100, what="the command going on by itself")
        service.start()
        if kill == 1:
            late = service.spawn(*service.orcha("attach", "it"), stdout=subprocess.PIPE)
            assert late.stdout.readline() == b"1\n"
    files[0].touch()
    rest = client.stdout.read()
    assert client.wait(DEADLINE) == 7
    written = files[1].read_bytes()
    assert b"1\n" + late.stdout.read() == written
    assert late.wait(DEADLINE) == 7
    lines = [int(line) for line in written.split()]
    assert lines == list(range(1, len(lines) + 1))
    assert b"1\n2\n3\n" + rest == written


def test_a_folder_that_is_gone_is_named(service, tmp_path):
    (tmp_path / "gone").mkdir()
    script = 'cd gone && rmdir ../gone && exec "$@"'
    done = service.spawn(
        "sh", "-c", script, "sh", *service.orcha("run", "pwd"), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    assert done.wait(DEADLINE) == 125
    assert done.stderr.read() == "orcha: the current folder cannot be used: No such file or directory\n"
