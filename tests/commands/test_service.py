"""Commands by a real service, its supervisor and its shims."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from orcha.interfaces import Message
from support.commands import COMMANDS, everything, run


def test_a_plugins_command_prints_and_ends(serve, connect):
    client = connect(serve("support.command_managers:EchoManager"))
    queue = client.manager.Queue()
    client.send(Message("m1", {"words": ["hi"], "queue": queue}))
    assert [queue.get(), queue.get()] == [(1, b"hi\n"), 0]


def test_a_command_of_the_built_in_manager_has_its_streams_folder_environment_and_code(serve, connect, tmp_path):
    client = connect(serve(COMMANDS))
    script = 'pwd; echo "$A $ORCHA_ID $ORCHA_ATTEMPT" >&2; exit 7'
    queue = run(client, "m1", "sh", "-c", script, cwd=str(tmp_path), env={"A": "b", "PATH": "/bin:/usr/bin"})
    assert everything(queue) == (f"{tmp_path}\n".encode(), b"b m1 1\n", [], 7)


def test_what_is_not_there_says_so(serve, connect):
    client = connect(serve(COMMANDS))
    _, _, lines, code = everything(run(client, "m1", "no-such-program-anywhere"))
    assert code == 127
    assert "no-such-program-anywhere" in lines[0]


def test_a_cancelled_command_ends_cancelled(serve, connect):
    client = connect(serve(COMMANDS))
    queue = run(client, "m1", "sh", "-c", "echo there; sleep 600")
    assert queue.get() == (1, b"there\n")
    assert client.finish("m1")
    assert everything(queue)[-1] == 130


def test_much_output_arrives_whole_and_in_order(serve, connect):
    client = connect(serve(COMMANDS))
    script = "seq 1 300000; seq 1 1000 >&2"
    queue = run(client, "m1", "sh", "-c", script)
    out, err, lines, code = everything(queue)
    assert out == b"".join(b"%d\n" % number for number in range(1, 300001))
    assert err == b"".join(b"%d\n" % number for number in range(1, 1001))
    assert (lines, code) == ([], 0)


@pytest.mark.slow
@pytest.mark.once
def test_binary_output_beyond_all_memory_limits_is_passed_on_without_growing(serve, connect, tmp_path):
    service = serve(COMMANDS)
    client = connect(service)
    everything(run(client, "m0", "true"))
    before = resident(service.pid)
    copy = tmp_path / "copy"
    queue = run(client, "m1", "sh", "-c", f"head -c {100 << 20} /dev/urandom | tee {copy}")
    digest = hashlib.sha256()
    while isinstance(value := queue.get(), tuple):
        digest.update(value[1])
    assert value == 0
    assert digest.digest() == hashlib.sha256(copy.read_bytes()).digest()
    assert resident(service.pid) - before < 32 << 10


def resident(pid):
    """Give how many KiB of memory a process has."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
