"""A user is looked up in a process that ends: what comes back is data, also where PAM refuses or hangs.

libpam itself is not asked here: what stands in for it does what a module would do to its process.
"""

from __future__ import annotations

import os
import pwd
import resource
from pathlib import Path

import pytest

from orcha._supervisor import login, pam_session
from orcha._supervisor.contract import CommandSpec
from orcha._supervisor.other_user import NoSuchUserError
from orcha._supervisor.spawn import Descriptors, NotExecutedError, spawn
from support.processes import children
from support.waiting import DEADLINE

SOMEBODY = next(each for each in pwd.getpwall() if 0 < each.pw_uid < 65534)
ERROR, PROMPT, DENIED = 3, 1, 6
as_root = pytest.mark.skipif(bool(os.geteuid()), reason="only root can start something as another user")


class Library:
    """Stands in for libpam: `session` is what its module does to the process."""

    def __init__(self, session) -> None:
        self.session = session
        self.pam_strerror = lambda *_: b"Permission denied"

    def pam_start(self, service, user, conversation, _handle):
        assert (service, user) == (b"orcha", SOMEBODY.pw_name.encode())
        self.conversation = conversation._obj
        return 0

    def pam_acct_mgmt(self, *_):
        return 0

    def pam_open_session(self, *_):
        return self.session(self) or 0

    def say(self, style, text):
        message = pam_session._ModuleMessage(style, text)
        pointers = (pam_session.ctypes.POINTER(pam_session._ModuleMessage) * 1)(pam_session.ctypes.pointer(message))
        return self.conversation.talk(1, pointers, None, None)


@pytest.fixture
def pam(monkeypatch, tmp_path):
    """Give a function that has PAM do something at the beginning of a session."""

    def have(session):
        file = tmp_path / "orcha"
        file.write_text("")
        monkeypatch.setattr(pam_session, "SERVICE_FILE", str(file))
        monkeypatch.setattr(pam_session, "_library", lambda: Library(session))

    return have


@pytest.fixture
def kept():
    """What the process of the test has, before and after."""
    mine = children()
    before = login._own_limits(), os.getpriority(os.PRIO_PROCESS, 0)
    yield
    assert (login._own_limits(), os.getpriority(os.PRIO_PROCESS, 0)) == before
    assert children() == mine


def test_the_limits_of_a_session_come_back_and_change_nothing_here(pam, kept):
    def session(_):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (50, 60))
        resource.prlimit(0, login.RLIMIT_LOCKS, (7, 7))
        os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + 2)

    pam(session)
    found = login.look_up(SOMEBODY.pw_uid)
    assert (found.uid, found.gid, found.name) == (SOMEBODY.pw_uid, SOMEBODY.pw_gid, SOMEBODY.pw_name)
    assert found.groups == os.getgrouplist(SOMEBODY.pw_name, SOMEBODY.pw_gid)
    limits = {number: tuple(own) for number, *own in found.limits}
    assert limits[resource.RLIMIT_NOFILE] == (50, 60)
    assert limits.get(resource.RLIMIT_CORE, resource.getrlimit(resource.RLIMIT_CORE)) == (0, 0)
    assert login.RLIMIT_LOCKS not in limits, "that limit is the tag of the attempt"
    assert found.priority == os.getpriority(os.PRIO_PROCESS, 0) + 2


def test_a_session_that_is_refused_is_told_with_the_words_of_the_module(pam, kept):
    pam(lambda library: library.say(ERROR, b"There were too many logins for 'alice'.") or DENIED)
    with pytest.raises(NoSuchUserError, match=r"too many logins for 'alice'\. Permission denied"):
        login.look_up(SOMEBODY.pw_uid)


def test_a_module_that_asks_gets_no_answer(pam, kept):
    pam(lambda library: library.say(PROMPT, b"Password: "))
    with pytest.raises(NoSuchUserError, match=r"PAM opens no session .*: Permission denied"):
        login.look_up(SOMEBODY.pw_uid)


@as_root
def test_a_session_with_another_root_folder_is_refused(pam, kept, tmp_path):
    pam(lambda _: os.chroot(tmp_path))
    with pytest.raises(NoSuchUserError, match="another root folder"):
        login.look_up(SOMEBODY.pw_uid)


def test_without_a_service_file_pam_is_not_asked(pam, kept, monkeypatch, tmp_path):
    pam(lambda _: os._exit(9))
    monkeypatch.setattr(pam_session, "SERVICE_FILE", str(tmp_path / "nowhere"))
    assert "nowhere" in pam_session.missing()
    assert login.look_up(SOMEBODY.pw_uid).limits == []


def test_without_the_library_there_is_no_session(pam, kept, monkeypatch):
    pam(None)

    def none():
        raise OSError("no such file")

    monkeypatch.setattr(pam_session, "_library", none)
    assert pam_session.missing() == "there is no libpam.so.0"
    assert login.look_up(SOMEBODY.pw_uid).limits == []


def test_a_module_that_ends_its_process_refuses(pam, kept):
    pam(lambda _: os._exit(9))
    with pytest.raises(NoSuchUserError, match="has ended"):
        login.look_up(SOMEBODY.pw_uid)


def test_a_directory_or_a_module_that_hangs_is_given_up(pam):
    reading, writing = os.pipe()
    mine = children()
    pam(lambda _: os.read(reading, 1) and None)
    with pytest.raises(NoSuchUserError, match=r"within 0\.01 s: the directory of users, or a module of PAM"):
        login.look_up(SOMEBODY.pw_uid, seconds=0.01)
    (left,) = children() - mine
    assert os.WTERMSIG(os.waitpid(left, 0)[1]) == 9
    os.close(reading)
    os.close(writing)


def test_a_process_that_a_module_leaves_behind_keeps_nobody_waiting(pam):
    reading, writing = os.pipe()

    def session(_):
        if os.fork() == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)

    pam(session)
    assert login.look_up(SOMEBODY.pw_uid, seconds=DEADLINE).uid == SOMEBODY.pw_uid
    os.close(reading)
    os.close(writing)


def test_nobody_is_looked_up_who_can_be_no_user(kept):
    for uid, why in ((0, "can be no user's"), (65534, "can be no user's"), (2**31 - 5, r"no user with the uid")):
        with pytest.raises(NoSuchUserError, match=why):
            login.look_up(uid)


@as_root
def test_a_command_has_the_limits_of_its_login_from_its_first_instruction_on(kept):
    limits = [(resource.RLIMIT_NOFILE, 4, 5), (resource.RLIMIT_AS, 1 << 26, 1 << 27), (resource.RLIMIT_CORE, 0, 0)]
    priority = os.getpriority(os.PRIO_PROCESS, 0) + 1
    known = login.Login(SOMEBODY.pw_uid, SOMEBODY.pw_gid, "x", "/", "/bin/sh", [SOMEBODY.pw_gid], limits, priority)
    reading, writing = os.pipe()
    words = ("sh", "-c", "id -u; cat /proc/self/limits; nice")
    spec = CommandSpec(1, 1, b"c" * 16, words, "/", dict(os.environ), uid=SOMEBODY.pw_uid)
    with Path(os.devnull).open("rb") as null:
        pid = spawn(spec, Descriptors(null.fileno(), writing, writing), (), known)
    os.close(writing)
    with os.fdopen(reading) as told:
        lines = told.read().splitlines()
    assert os.waitpid(pid, 0)[1] == 0, lines
    rows = {line[:25].strip(): line[25:].split()[:2] for line in lines}
    assert lines[0] == str(SOMEBODY.pw_uid)
    assert lines[-1] == str(priority)
    assert rows["Max open files"] == ["4", "5"]
    assert rows["Max address space"] == [str(1 << 26), str(1 << 27)]
    assert rows["Max core file size"] == ["0", "0"]


def test_a_command_of_a_user_whom_nobody_looked_up_is_not_executed():
    spec = CommandSpec(1, 1, b"c" * 16, ("true",), "/", {}, uid=SOMEBODY.pw_uid)
    with pytest.raises(NotExecutedError, match="nobody has looked that user up"):
        spawn(spec, Descriptors(0, 1, 2))
