"""Identities and tags: whose a process is."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys

import pytest

from orcha._processes import identity, tag
from orcha._processes.identity import Identity
from support.waiting import wait_for


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


@pytest.fixture
def nonce():
    return tag.new_nonce()


def test_a_signal_reaches_exactly_the_process_that_is_meant(sleeper) -> None:
    meant = identity.identify(sleeper.pid)
    assert meant is not None
    stranger = Identity(meant.pid, meant.start_time - 1)  # had the same pid before
    assert not identity.is_alive(stranger)
    assert identity.open_pidfd(stranger) is None
    assert not identity.signal_exactly(stranger, signal.SIGKILL)
    assert identity.is_alive(meant)
    assert identity.signal_exactly(meant, signal.SIGTERM)
    assert sleeper.wait() == -signal.SIGTERM
    assert not identity.signal_exactly(meant, signal.SIGTERM)


def test_a_zombie_is_not_alive(sleeper) -> None:
    meant = identity.identify(sleeper.pid)
    assert meant is not None
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert not identity.is_alive(meant)
    assert identity.identify(sleeper.pid) is None


def test_a_process_whose_first_thread_has_ended_is_alive() -> None:
    code = (
        "import ctypes, threading, time\n"
        "threading.Thread(target=lambda: (print(flush=True), time.sleep(1000))).start()\n"
        "ctypes.CDLL(None).syscall(60, 0)\n"  # exit(2) ends the calling thread alone
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        try:
            wait_for(lambda: (stat := identity.read_stat(process.pid)) and stat.state == "Z", what="a zombie")
            assert identity.identify(process.pid) is not None
        finally:
            process.kill()


def test_a_command_with_parentheses_in_its_name_is_read(tmp_path) -> None:
    program = tmp_path / "a) S 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "1000"]) as process:
        try:
            stat = identity.read_stat(process.pid)
            assert stat is not None
            assert stat.parent == os.getpid()
        finally:
            process.kill()


def test_the_boot_has_an_identifier() -> None:
    assert identity.boot_id() == identity.boot_id() != ""


def test_tags_keep_nonce_and_ordinal_apart(nonce) -> None:
    first, last = tag.tag_of(nonce, 0), tag.tag_of(nonce, 2**32 - 1)
    assert first in tag.all_of(nonce)
    assert last in tag.all_of(nonce)
    assert last + 1 not in tag.all_of(nonce)
    assert first not in tag.attempts_of(nonce)
    assert tag.tag_of(nonce, 7) in tag.attempts_of(nonce)
    assert tag.tag_of(nonce, 8) not in tag.exactly(tag.tag_of(nonce, 7))
    assert tag.ordinal_of(tag.tag_of(nonce, 7)) == 7


@pytest.mark.parametrize(("bad_nonce", "ordinal"), [(0, 1), (2**30, 1), (1, -1), (1, 2**32)])
def test_what_does_not_fit_a_tag_is_refused(bad_nonce, ordinal) -> None:
    with pytest.raises(ValueError):
        tag.tag_of(bad_nonce, ordinal)


def test_a_tag_goes_with_all_descendants_through_exec_setsid_and_an_empty_environment(nonce) -> None:
    own = tag.tag_of(nonce, 3)
    with subprocess.Popen(["sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert tag.tag_process(process.pid, own)
        process.stdin.write(b"env -i setsid sh -c 'echo $$; exec sleep 1000' & wait\n")
        process.stdin.flush()
        escaped = int(process.stdout.readline())
        assert tag.read_tag(escaped) == own
        os.kill(escaped, signal.SIGKILL)
        process.kill()


def test_a_tree_is_tagged_with_what_it_has_started(nonce) -> None:
    with subprocess.Popen(["sh", "-c", "sleep 1000 & echo $!; wait"], stdout=subprocess.PIPE) as process:
        child = int(process.stdout.readline())
        own, other = tag.tag_of(nonce, 3), tag.tag_of(nonce, 4)
        assert sorted(tag.tag_tree(process.pid, own)) == sorted([process.pid, child])
        assert tag.read_tag(child) == own
        assert tag.tag_tree(process.pid, other) == [process.pid]  # the child has an attempt, and keeps it
        os.kill(child, signal.SIGKILL)
        process.kill()


def test_this_process_and_init_are_never_tagged(nonce) -> None:
    for pid in (-1, 0, 1, os.getpid()):
        with pytest.raises(ValueError):
            tag.tag_process(pid, tag.tag_of(nonce, 1))


def test_a_process_that_is_gone_has_no_tag_and_takes_none(sleeper, nonce) -> None:
    sleeper.kill()
    sleeper.wait()
    assert tag.read_tag(sleeper.pid) == 0
    assert not tag.tag_process(sleeper.pid, tag.tag_of(nonce, 1))
    assert tag.tag_tree(sleeper.pid, tag.tag_of(nonce, 1)) == []


def test_an_untagged_process_has_no_tag(sleeper) -> None:
    assert tag.read_tag(sleeper.pid) == 0


def test_another_users_tag_is_read_from_its_limits(sleeper, nonce, monkeypatch) -> None:
    def refuse(*_):
        raise PermissionError

    tag.tag_process(sleeper.pid, tag.tag_of(nonce, 5))
    monkeypatch.setattr(resource, "prlimit", refuse)
    assert tag.read_tag(sleeper.pid) == tag.tag_of(nonce, 5)
    assert not tag.supported()


@pytest.mark.parametrize("is_anothers", [False, True])
def test_bearers_among_many_pids_are_those_whose_tag_is_read(sleeper, nonce, monkeypatch, is_anothers) -> None:
    def refuse(*_):
        raise PermissionError

    with subprocess.Popen(["true"]) as gone:
        pass
    tag.tag_process(sleeper.pid, tag.tag_of(nonce, 5))
    if is_anothers:
        monkeypatch.setattr(resource, "prlimit", refuse)
    pids = (gone.pid, os.getpid(), sleeper.pid, 0)
    assert list(tag.bearers(pids, tag.exactly(tag.tag_of(nonce, 5)))) == [sleeper.pid]
    assert list(tag.bearers(pids, tag.all_of(nonce))) == [sleeper.pid]
    assert list(tag.bearers(pids, tag.exactly(tag.tag_of(nonce, 4)))) == []
    monkeypatch.setattr(tag, "_HAS_LIMITS", False)
    assert list(tag.bearers(pids, tag.all_of(nonce))) == []


def test_tags_are_supported_here() -> None:
    assert tag.supported()
