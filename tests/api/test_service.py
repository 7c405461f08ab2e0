"""API.md, orcha.interfaces: `ServiceWrapper`, `register_service`, `start_service`."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from orcha.exceptions import ConfigurationError, EndpointInUseError
from orcha.interfaces import ServiceWrapper, register_service
from orcha.utils.pidfile import Pidfile
from support.waiting import wait_for

SERVICE = """
import os, sys, threading
from orcha.exceptions import EndpointInUseError
from orcha.interfaces import ServiceWrapper, register_service, start_service

ledger = sys.argv[1]

def note(word):
    descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, (word + "\\n").encode())
    os.close(descriptor)

class ServiceManager:
    listen_address, port = "127.0.0.1", 50123
    def __init__(self): self.stopped = threading.Event()
    def start(self): note("start"); self.on_start()
    def on_start(self): pass
    def join(self): self.stopped.wait()
    def shutdown(self): note("shutdown"); self.stopped.set()
"""


def command(tmp_path, body):
    return [sys.executable, "-c", SERVICE + body, str(tmp_path / "ledger")]


def ledger(tmp_path):
    path = tmp_path / "ledger"
    return path.read_text().split() if path.exists() else []


@contextmanager
def running(tmp_path, body="start_service(ServiceWrapper(ServiceManager()))", **environment):
    with subprocess.Popen(
        command(tmp_path, body), stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_wrapper_is_a_frozen_dataclass_of_manager_and_context():
    wrapper = ServiceWrapper("manager")
    assert (wrapper.manager, wrapper.context) == ("manager", None)
    assert ServiceWrapper("manager", context="context").context == "context"
    with pytest.raises(dataclasses.FrozenInstanceError):
        wrapper.manager = None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_until_a_signal_and_leaves_with_zero(tmp_path, number):
    with running(tmp_path) as process:
        assert process.stderr.readline() == "orcha: serving ServiceManager on 127.0.0.1:50123\n"
        process.send_signal(number)
        assert process.wait() == 0
        assert process.stderr.read() == ""
    assert ledger(tmp_path) == ["start", "shutdown"]


def test_an_ipv6_address_is_written_in_brackets(tmp_path):
    with running(
        tmp_path, "ServiceManager.listen_address = '::1'\nstart_service(ServiceWrapper(ServiceManager()))"
    ) as it:
        assert it.stderr.readline() == "orcha: serving ServiceManager on [::1]:50123\n"


def test_a_manager_that_stops_by_itself_ends_the_service(tmp_path):
    with running(
        tmp_path, "ServiceManager.join = lambda self: None\nstart_service(ServiceWrapper(ServiceManager()))"
    ) as it:
        assert it.wait() == 0


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        ("EndpointInUseError('taken\\nby another')", EndpointInUseError.exit_code, "orcha: taken by another\n"),
        ("RuntimeError('no')", 1, "orcha: RuntimeError: no\n"),
    ],
)
@pytest.mark.parametrize("where", ["on_start", "join"])
def test_a_failure_is_one_line_and_its_code(tmp_path, raised, code, line, where):
    body = f"""
def fail(self): raise {raised}
ServiceManager.{where} = fail
start_service(ServiceWrapper(ServiceManager()))
"""
    with running(tmp_path, body) as process:
        assert process.wait() == code
        assert process.stderr.read().splitlines(keepends=True)[-1:] == [line]


def test_a_second_signal_stops_at_once(tmp_path):
    body = """
def shutdown(self, now=False):
    note("now" if now else "shutdown")
    if now: self.stopped.set()
ServiceManager.shutdown = shutdown
start_service(ServiceWrapper(ServiceManager()))
"""
    with running(tmp_path, body) as process:
        process.stderr.readline()
        process.terminate()
        assert wait_for(lambda: ledger(tmp_path) == ["start", "shutdown"])
        process.terminate()
        assert process.wait() == 0
    assert ledger(tmp_path) == ["start", "shutdown", "now"]


def test_a_third_signal_ends_a_service_that_does_not_stop(tmp_path):
    body = """
ServiceManager.shutdown = lambda self, **how: note("now" if how else "shutdown")
start_service(ServiceWrapper(ServiceManager()))
"""
    with running(tmp_path, body) as process:
        process.stderr.readline()
        for words in (["start", "shutdown"], ["start", "shutdown", "now"]):
            process.terminate()
            assert wait_for(lambda words=words: ledger(tmp_path) == words)
        process.terminate()
        assert process.wait() == 128 + signal.SIGTERM


def test_a_signal_during_the_start_stops_it_in_good_order(tmp_path):
    body = """
import signal
ServiceManager.on_start = lambda self: signal.raise_signal(signal.SIGTERM)
start_service(ServiceWrapper(ServiceManager()))
"""
    with running(tmp_path, body) as process:
        assert process.wait() == 0
    assert ledger(tmp_path) == ["start", "shutdown"]


def test_a_signal_to_a_forked_child_does_not_reach_the_service(tmp_path):
    body = """
import select, signal
def fork(self):
    child = os.fork()
    if child == 0:
        while True:
            select.select([], [], [], 0.05)  # comes back to Python, which runs handlers between its steps only
    status = None
    while status is None:  # one that arrives before the child has gone through its fork is dropped by Python
        os.kill(child, signal.SIGTERM)
        pid, status = os.waitpid(child, os.WNOHANG)
        status = status if pid else None
    note(f"child:{os.waitstatus_to_exitcode(status)}")
import warnings
warnings.simplefilter("ignore")
ServiceManager.on_start = fork
start_service(ServiceWrapper(ServiceManager()))
"""
    with running(tmp_path, body) as process:
        assert process.stderr.readline().startswith("orcha: serving")
        assert ledger(tmp_path) == ["start", "child:-15"]
        process.terminate()
        assert process.wait() == 0


# --- systemd ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["path", "abstract"])
def systemd(request):
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        name = f"{folder}/notify"
        receiver.bind(f"\0{name}" if request.param == "abstract" else name)
        receiver.settimeout(30)
        yield receiver, f"@{name}" if request.param == "abstract" else name


def test_systemd_is_told_ready_and_stopping(tmp_path, systemd):
    receiver, address = systemd
    with running(tmp_path, NOTIFY_SOCKET=address) as process:
        assert receiver.recv(100) == b"READY=1"
        process.terminate()
        assert receiver.recv(100) == b"STOPPING=1"
        assert process.wait() == 0


def test_systemd_is_told_nothing_where_it_shall_not(tmp_path, systemd):
    receiver, address = systemd
    with running(
        tmp_path, "start_service(ServiceWrapper(ServiceManager()), do_notify=False)", NOTIFY_SOCKET=address
    ) as it:
        it.stderr.readline()
        receiver.setblocking(False)
        with pytest.raises(BlockingIOError):
            receiver.recv(100)


def test_the_option_systemd_tells_in_any_case(tmp_path, systemd):
    receiver, address = systemd
    body = """
import orcha.properties
orcha.properties.systemd = True
start_service(ServiceWrapper(ServiceManager()), do_notify=False)
"""
    with running(tmp_path, body, NOTIFY_SOCKET=address):
        assert receiver.recv(100) == b"READY=1"


# --- daemon ----------------------------------------------------------------------------------------------------------


def test_registering_starts_nothing():
    started = []

    class Manager:
        def start(self):
            started.append(1)

    wrapper = register_service(Manager(), pidfile="/nowhere/pid", cwd="/", stop_signal=signal.SIGUSR1)
    assert started == []
    assert wrapper.context.signal_map[signal.SIGUSR1] == wrapper.context.signal_map[signal.SIGTERM] == "terminate"
    assert wrapper.context.working_directory == "/"


@pytest.mark.parametrize("who", [{"user": "no such user"}, {"group": "no such group"}])
def test_registering_for_an_unknown_user_or_group(who):
    with pytest.raises(ValueError, match="no such"):
        register_service(object(), **who)


def test_registering_takes_the_users_own_group():
    import pwd

    account = pwd.getpwuid(os.getuid())
    context = register_service(object(), user=account.pw_name).context
    assert (context.uid, context.gid) == (account.pw_uid, account.pw_gid)


DAEMON = """
kept = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
def start(self):
    os.write(kept, f"daemon:{os.getpid()}:{os.getcwd()}:{os.path.exists(sys.argv[1] + '.pid')}\\n".encode())
ServiceManager.start = start
ServiceManager.shutdown = lambda self: (os.write(kept, b"shutdown\\n"), self.stopped.set())
import signal
start_service(register_service(ServiceManager(), pidfile=ledger + ".pid", fds=[kept], stop_signal=signal.SIGUSR1))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_daemon_serves_in_the_background_until_its_signal(tmp_path, number):
    launcher = subprocess.run(command(tmp_path, DAEMON), capture_output=True, text=True, timeout=60, check=True)
    assert launcher.stderr == ""
    word, pid, folder, has_pidfile = wait_for(lambda: ledger(tmp_path))[0].split(":")
    try:
        assert (word, folder, has_pidfile) == ("daemon", "/", "True")
        assert os.getsid(int(pid)) != os.getsid(0)
        again = subprocess.run(command(tmp_path, DAEMON), capture_output=True, text=True, timeout=60, check=False)
        assert again.returncode == 69
        assert f"held by a process that serves (pid {pid}, python" in again.stderr
        wait_for(lambda: handles(int(pid), number))
        os.kill(int(pid), number)
        assert wait_for(lambda: not lives(int(pid)))
    finally:
        if lives(int(pid)):
            os.kill(int(pid), signal.SIGKILL)
    assert ledger(tmp_path)[1:] == ["shutdown"]
    assert not Path(f"{tmp_path}/ledger.pid").exists()


@contextlib.contextmanager
def that_is_gone():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    yield process.pid, time.time()


@contextlib.contextmanager
def that_nobody_waited_for():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        wait_for(lambda: not lives(process.pid))
        yield process.pid, time.time()


@contextlib.contextmanager
def that_got_the_number_later():
    yield os.getpid(), 1_000_000_000.0


@contextlib.contextmanager
def that_is_a_stranger():
    yield os.getpid(), time.time()


@contextlib.contextmanager
def that_is_the_first():
    yield 1, time.time()


@pytest.mark.parametrize(
    "process", [that_is_gone, that_nobody_waited_for, that_got_the_number_later, that_is_a_stranger, that_is_the_first]
)
def test_a_pidfile_that_nobody_holds_does_not_keep_a_daemon_out(tmp_path, process):
    with process() as (pid, written):
        path = Path(f"{tmp_path}/ledger.pid")
        path.write_text(f"{pid}\n")
        os.utime(path, (written, written))
        start_and_stop(tmp_path)


OWN_CONTEXT = (
    DAEMON.rpartition("start_service(")[0]
    + """
import daemon, daemon.pidfile
pidfile = daemon.pidfile.TimeoutPIDLockFile(ledger + ".pid", acquire_timeout=0)
start_service(ServiceWrapper(ServiceManager(), daemon.DaemonContext(pidfile=pidfile, files_preserve=[kept])))
"""
)


@pytest.mark.parametrize("process", [that_is_gone, that_nobody_waited_for, that_got_the_number_later])
def test_a_pidfile_of_a_context_of_ones_own_may_be_of_a_process_that_is_gone(tmp_path, process):
    with process() as (pid, written):
        path = Path(f"{tmp_path}/ledger.pid")
        path.write_text(f"{pid}\n")
        os.utime(path, (written, written))
        start_and_stop(tmp_path, OWN_CONTEXT)


def test_a_pidfile_of_a_context_of_ones_own_keeps_a_second_daemon_out(tmp_path):
    Path(f"{tmp_path}/ledger.pid").write_text(f"{os.getpid()}\n")
    refused = subprocess.run(command(tmp_path, OWN_CONTEXT), capture_output=True, text=True, timeout=60, check=False)
    assert (refused.returncode, f"held by process {os.getpid()}" in refused.stderr) == (69, True)
    assert ledger(tmp_path) == []


def test_a_daemon_with_a_context_of_its_own_keeps_a_second_one_out_whatever_the_clocks_say(tmp_path):
    subprocess.run(command(tmp_path, OWN_CONTEXT), timeout=60, check=True)
    pid = int(wait_for(lambda: ledger(tmp_path))[0].split(":")[1])
    try:
        path = Path(f"{tmp_path}/ledger.pid")
        os.utime(path, (1_000_000_000.0, 1_000_000_000.0))  # the clock was set since then
        refused = subprocess.run(
            command(tmp_path, OWN_CONTEXT), capture_output=True, text=True, timeout=60, check=False
        )
        assert (refused.returncode, f"held by process {pid}" in refused.stderr) == (69, True)
        assert path.read_text() == f"{pid}\n"
        wait_for(lambda: handles(pid, signal.SIGTERM))
        os.kill(pid, signal.SIGTERM)
        assert wait_for(lambda: not lives(pid))
    finally:
        if lives(pid):
            os.kill(pid, signal.SIGKILL)
    assert not path.exists()


@pytest.mark.parametrize(("place", "content"), [("nowhere/pid", None), ("ledger.pid", "no number"), ("folder", None)])
def test_a_pidfile_that_cannot_be_had_is_said_before_the_daemon_leaves_the_terminal(tmp_path, place, content):
    path = tmp_path / place
    (tmp_path / "folder").mkdir()
    if content is not None:
        path.write_text(content)
    body = DAEMON.replace('ledger + ".pid"', repr(str(path)))
    refused = subprocess.run(command(tmp_path, body), capture_output=True, text=True, timeout=60, check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (78, 1)
    assert str(path) in refused.stderr
    assert ledger(tmp_path) == []
    assert content is None or path.read_text() == content


def test_a_pidfile_is_removed_by_who_wrote_it_alone(tmp_path):
    path = tmp_path / "pid"
    with Pidfile(str(path)) as pidfile:
        assert path.read_text() == f"{os.getpid()}\n"
        child = os.fork()
        if not child:
            pidfile.__exit__()
            os._exit(0)
        os.waitpid(child, 0)
        assert path.exists()
        path.unlink()
    assert not path.exists()
    pidfile.check()
    assert not path.exists()


def test_a_pidfile_on_a_full_disk_is_told_so_and_does_not_stay(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "pid"
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(ConfigurationError, match=f"{path} cannot be written: No space left on device"):
        Pidfile(str(path)).check()
    assert not path.exists()


def test_a_pidfile_that_was_replaced_is_taken_anew(tmp_path, monkeypatch):
    path = tmp_path / "pid"
    real, swapped = fcntl.lockf, []

    def lockf(descriptor, how):
        real(descriptor, how)
        if not swapped:  # what a daemon does that ends at this very moment, and then one that begins
            swapped.append(path.unlink())

    monkeypatch.setattr(fcntl, "lockf", lockf)
    with Pidfile(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
    assert swapped


def start_and_stop(tmp_path, body=DAEMON):
    subprocess.run(command(tmp_path, body), timeout=60, check=True)
    pid = int(wait_for(lambda: ledger(tmp_path))[0].split(":")[1])
    wait_for(lambda: handles(pid, signal.SIGTERM))
    os.kill(pid, signal.SIGTERM)
    assert wait_for(lambda: not lives(pid))


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def handles(pid, number):
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return int(caught.split()[1], 16) >> (number - 1) & 1


def test_off_the_main_thread_it_serves_without_signals(tmp_path):
    body = """
manager = ServiceManager()
codes = []
def serve():
    try: start_service(ServiceWrapper(manager))
    except SystemExit as end: codes.append(end.code)
thread = threading.Thread(target=serve)
thread.start()
manager.shutdown()
thread.join()
sys.exit(0 if codes == [0] else 9)
"""
    with running(tmp_path, body) as process:
        assert process.wait() == 0


def test_a_crash_in_c_code_names_itself_and_stays_a_crash(tmp_path):
    body = """
import ctypes
ServiceManager.join = lambda self: ctypes.string_at(0)
start_service(ServiceWrapper(ServiceManager()))
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONFAULTHANDLER"}
    crashed = subprocess.run(
        command(tmp_path, body), capture_output=True, text=True, timeout=60, check=False, env=environment, cwd=tmp_path
    )
    assert crashed.returncode == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in crashed.stderr
    assert "in string_at" in crashed.stderr
