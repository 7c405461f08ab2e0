"""``orcha serve --background`` and ``orcha stop``, as people run them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orcha._cli import stop
from support import warm
from support.interpreters import newest_too
from support.plugins_served import install
from support.ports import free_port
from support.processes import processes_of
from support.waiting import DEADLINE, wait_for

SLOW = """
import subprocess
from orcha.interfaces import Petition
from orcha.lib import Manager
from orcha.plugins import BasePlugin

class SlowManager(Manager):
    def convert_to_petition(self, m):
        def act(callback, petition):
            process = subprocess.Popen(["sleep", "1000"])
            callback(process)
            petition.communicate("goes\\n")
            process.wait()
        return Petition(m.id, m.extras.get("queue"), act, lambda p: True)
    def on_start(self, p): pass
    def on_finish(self, p): pass

class SlowPlugin(BasePlugin):
    name = "slow"
    manager = SlowManager
    def create_parser(self, parser): pass
    def handle(self, namespace): return 0
    @staticmethod
    def version(): return "slow - 1"

plugin = SlowPlugin
"""


@pytest.fixture
def orcha(serve, orcha_home):
    """Give a function that runs an orcha command at a port of the test's own, with its own home.

    With `new` a new interpreter runs the command: a daemon begins in it as in life. Other daemons are forked, as other
    programs are. With `modules` there are plugins in the test's folder, which each start looks for.
    """
    port = free_port()
    serve.know_plugins()

    def run(*words, port=port, new=False, modules=False, **options):
        return warm.run(
            [os.sys.executable, "-m", "orcha", "--port", str(port), *words],
            env=run.environment | ({"PYTHONPATH": serve.environment(modules=True)["PYTHONPATH"]} if modules else {}),
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE,
            warm=not new,
            **options,
        )

    run.port, run.environment = port, serve.environment()
    run.start = [os.sys.executable, "-m", "orcha", "--port", str(port)]
    run.folder = orcha_home / f"127.0.0.1-{port}"
    yield run
    run("stop", "--now")
    wait_for(lambda: not processes_of(orcha_home), what="the end of the daemon")


def test_a_daemon_serves_when_the_command_returns_and_has_gone_when_stop_returns(orcha, tmp_path, orcha_home):
    install(tmp_path, "alpha")
    started = orcha("serve", "--background", "alpha", new=True, modules=True)
    assert (started.returncode, started.stdout) == (0, ""), started.stderr
    assert f"serving in the background on 127.0.0.1:{orcha.port}" in started.stderr
    pid = int((orcha.folder / "service.pid").read_text())
    assert os.getsid(pid) != os.getsid(0)
    assert pid in processes_of(orcha_home)
    listed = orcha("ps", "--json")
    assert (listed.returncode, json.loads(listed.stdout)) == (0, [])
    assert "orcha: serving alpha on" in (orcha.folder / "service.log").read_text()

    stopped = orcha("stop")
    assert (stopped.returncode, stopped.stdout, stopped.stderr) == (0, "", "")
    assert not (orcha.folder / "service.pid").exists()
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), what="its end")
    assert orcha("stop").returncode == 69


HOLDS = """
import sys
from orcha.utils.pidfile import Pidfile
with Pidfile(sys.argv[1]):
    print("holds", flush=True)
    sys.stdin.read()
"""


def test_a_stop_waits_for_the_daemon_to_let_go_of_its_pidfile(tmp_path, monkeypatch):
    pidfile = str(tmp_path / "service.pid")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, pidfile], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as daemon:
        assert daemon.stdout.readline() == b"holds\n"
        looks = iter(range(1_000))

        def look_again(_):
            if next(looks) == 3:
                daemon.stdin.close()
                daemon.wait()  # with a limit it would sleep

        monkeypatch.setattr(time, "sleep", look_again)
        assert stop.wait_until_gone(str(tmp_path / "lock"), pidfile)
    assert next(looks) > 3
    assert not Path(pidfile).exists()


@pytest.mark.once
def test_a_second_daemon_is_told_who_serves(orcha, tmp_path):
    assert orcha("serve", "--background", "commands").returncode == 0
    pid = (orcha.folder / "service.pid").read_text().strip()
    for more in ((), ("--pidfile", str(tmp_path / "other.pid"))):
        second = orcha("serve", "--background", *more, "commands")
        whose = rf"orcha: another service \(pid {pid}, python\S* -m orcha\)"
        line = rf"{whose} serves 127.0.0.1:{orcha.port} already: orcha stop ends it\n"
        assert second.returncode == 69
        assert re.fullmatch(line, second.stderr)
    assert (orcha.folder / "service.pid").read_text().strip() == pid
    assert orcha("ps").returncode == 0


@pytest.fixture
def stranger():
    """Give a process that has nothing to do with Orcha, and check that nobody ended it."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        assert process.poll() is None
        process.kill()


@pytest.mark.once
def test_a_pidfile_that_names_a_stranger_keeps_nobody_out(orcha, tmp_path, stranger):
    assert orcha("serve", "--background", "commands").returncode == 0
    pidfile = orcha.folder / "service.pid"
    for other in (stranger.pid, 1):
        killed = int(pidfile.read_text())
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda killed=killed: not Path(f"/proc/{killed}").exists(), what="its end")
        pidfile.write_text(f"{other}\n")
        assert orcha("stop").returncode == 69
        started = orcha("serve", "--background", "commands")
        assert started.returncode == 0, started.stderr
        assert int(pidfile.read_text()) in processes_of(orcha.folder.parent)
    pidfile.write_text(f"{stranger.pid}\n")
    assert orcha("stop").returncode == 0


@pytest.mark.once
def test_a_pidfile_of_another_endpoint_is_not_shared(orcha, tmp_path):
    shared = tmp_path / "shared.pid"
    assert orcha("serve", "--background", "--pidfile", str(shared), "commands").returncode == 0
    pid = shared.read_text().strip()
    other = orcha("serve", "--background", "--pidfile", str(shared), "commands", port=free_port())
    line = rf"orcha: {shared} is held by a process that serves \(pid {pid}, python\S* -m orcha\): stop it first\n"
    assert other.returncode == 69
    assert re.fullmatch(line, other.stderr)


@pytest.mark.once
@pytest.mark.parametrize("place", ["nowhere/pid", "taken"])
def test_a_pidfile_that_cannot_be_written_is_named(orcha, tmp_path, place):
    (tmp_path / "taken").write_text("no number\n")
    failed = orcha("serve", "--background", "--pidfile", str(tmp_path / place), "commands")
    assert (failed.returncode, failed.stderr.count("\n")) == (78, 1)
    assert str(tmp_path / place) in failed.stderr
    assert (tmp_path / "taken").read_text() == "no number\n"


def test_a_relative_home_is_one_place_for_the_daemon_and_its_clients(orcha, tmp_path, orcha_home):
    home = orcha.environment["ORCHA_HOME"]
    orcha.environment["ORCHA_HOME"] = f"home-{orcha.port}"  # what looks for it below / must not find another test's
    folder = tmp_path / f"home-{orcha.port}" / orcha.folder.name
    try:
        started = orcha("serve", "--background", "commands", cwd=tmp_path, new=True)
        assert started.returncode == 0, started.stderr
        assert str(folder / "service.log") in started.stderr
        assert {"lock", "orcha.db", "orcha.sock", "service.pid"} <= {path.name for path in folder.iterdir()}
        assert orcha("run", "echo", "hello", cwd=tmp_path).stdout == "hello\n"
        where = orcha("run", "sh", "-c", 'echo "$ORCHA_HOME"; cat /proc/$PPID/cmdline', cwd=tmp_path)
        assert str(folder) in where.stdout
    finally:
        stopped = orcha("stop", "--now", cwd=tmp_path)
        orcha.environment["ORCHA_HOME"] = home
        stray = Path("/", f"home-{orcha.port}")
        is_stray = stray.exists()
        shutil.rmtree(stray, ignore_errors=True)
    assert (stopped.returncode, is_stray) == (0, False)


def test_everything_is_kept_below_the_folder_that_state_names(serve, orcha_home):
    folder = orcha_home / "elsewhere"
    service = serve(arguments=("serve", "--state", str(folder), "commands"))
    there = service.environment | {"ORCHA_HOME": str(folder)}
    assert service.run("run", "--", "echo", "hello", env=there).stdout == "hello\n"
    assert (folder / f"127.0.0.1-{service.port}" / "orcha.db").exists()
    assert {path.name for path in orcha_home.iterdir()} <= {"elsewhere", "cache"}


def test_a_pidfile_is_for_a_daemon(orcha, tmp_path):
    refused = orcha("serve", "--pidfile", str(tmp_path / "pid"))
    assert (refused.returncode, "--background" in refused.stderr) == (2, True)


GATED = """
import os
from orcha.plugins import BasePlugin
from support.command_managers import EchoManager

class GatedManager(EchoManager):
    def setup(self):
        super().setup()
        folder = os.path.dirname(__file__)
        open(folder + "/reached", "w").close()
        open(folder + "/gate").close()  # a FIFO: until the test opens it

class GatedPlugin(BasePlugin):
    name = "gated"
    manager = GatedManager
    def create_parser(self, parser): pass
    def handle(self, namespace): return 0
    @staticmethod
    def version(): return "gated - 1"

plugin = GatedPlugin
"""


@pytest.mark.parametrize(
    ("number", "code"),
    newest_too([(signal.SIGINT, 130), (signal.SIGKILL, -9), (signal.SIGTERM, -15)], (signal.SIGINT, 130)),
)
def test_a_daemon_whose_starter_is_stopped_does_not_stay(orcha, serve, tmp_path, orcha_home, number, code):
    (tmp_path / "orcha_gated.py").write_text(GATED)
    os.mkfifo(tmp_path / "gate")
    with subprocess.Popen(
        [*orcha.start, "serve", "--background", "gated"],
        env=orcha.environment | {"PYTHONPATH": serve.environment(modules=True)["PYTHONPATH"]},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as starting:
        wait_for((tmp_path / "reached").exists, what="the manager's setup")
        if number == signal.SIGINT:
            os.killpg(starting.pid, number)
        else:
            starting.send_signal(number)
            starting.wait()
        (tmp_path / "gate").write_text("")
        _, said = starting.communicate(timeout=2 * DEADLINE)
    assert (starting.returncode, said) == (code, "orcha: interrupted\n" if code == 130 else "")
    wait_for(lambda: not processes_of(orcha_home), what="the end of the daemon, and of what it had started")
    assert orcha("ps").returncode == 69


@pytest.mark.parametrize("option", ["--slots", "--resource"])
def test_a_daemon_that_cannot_serve_says_why(orcha, tmp_path, option):
    failed = orcha("serve", "--background", option, "rig=many", "commands")
    assert (failed.returncode, "'rig=many'" in failed.stderr) == (2, True), failed.stderr
    assert f"argument {option}: " in failed.stderr


@pytest.mark.once
def test_a_damaged_store_is_told_with_what_to_do_and_that_helps(orcha, tmp_path):
    assert orcha("serve", "--background", "commands").returncode == 0
    assert orcha("stop").returncode == 0
    with (orcha.folder / "orcha.db").open("r+b") as database:
        database.write(b"damaged")
    failed = orcha("serve", "--background", "commands")
    assert (failed.returncode, failed.stderr.count("\n")) == (78, 1)
    assert f"keep a copy of {orcha.folder} (output/ and shims/ belong to it)" in failed.stderr
    assert "move orcha.db* out of it" in failed.stderr
    for path in orcha.folder.glob("orcha.db*"):
        path.rename(tmp_path / path.name)
    failed = orcha("serve", "--background", "commands")
    assert (failed.returncode, failed.stderr.count("\n")) == (78, 1)
    assert f"{orcha.folder}/orcha.db is missing, though a service has kept its state in {orcha.folder}" in failed.stderr
    orcha.folder.with_name(f"{orcha.folder.name}.last-start").unlink()
    assert orcha("serve", "--background", "commands").returncode == 0


@pytest.mark.once
def test_a_store_of_a_newer_orcha_is_no_damage(orcha, tmp_path):
    assert orcha("serve", "--background", "commands").returncode == 0
    assert orcha("stop").returncode == 0
    with contextlib.closing(sqlite3.connect(orcha.folder / "orcha.db")) as database:
        database.execute("PRAGMA user_version = 1000")
    failed = orcha("serve", "--background", "commands")
    assert (failed.returncode, "from a newer Orcha" in failed.stderr, "a copy" in failed.stderr) == (78, True, False)


LATE = """
import sys
from orcha._cli import background

real = background._serve
def taken_meanwhile(announced, path, log, descriptors):
    open(path, "w").write("no number")
    real(announced, path, log, descriptors)
background._serve = taken_meanwhile
from orcha.bin.main import main
sys.exit(main())
"""


@pytest.mark.once
def test_a_pidfile_that_is_lost_at_the_last_moment_is_one_line(orcha, tmp_path):
    command = [os.sys.executable, "-c", LATE, *orcha.start[3:], "serve", "--background", "commands"]
    failed = subprocess.run(
        command, env=orcha.environment, capture_output=True, text=True, timeout=2 * DEADLINE, check=False
    )
    line = (
        f"orcha: {orcha.folder}/service.pid is in the way: it is no pidfile. Give another --pidfile, or move it away\n"
    )
    assert (failed.returncode, failed.stderr) == (78, line)


LINGERS = """
import sys
from orcha._cli import background

real, folder = background._leave, sys.argv.pop()
def leave(code):
    open(folder + "/reached", "w").close()
    open(folder + "/gate").close()  # a FIFO: until the test opens it
    real(code)
background._leave = leave
from orcha.bin.main import main
sys.exit(main())
"""


@pytest.mark.once
def test_a_start_that_failed_returns_when_its_daemon_has_ended(orcha, tmp_path):
    """Until then the daemon holds the lock, and another start would be told that another service serves."""
    orcha.folder.mkdir(mode=0o700)
    (orcha.folder / "orcha.db").write_bytes(b"damaged" * 1_000)
    os.mkfifo(tmp_path / "gate")
    with warm.Popen(
        [os.sys.executable, "-c", LINGERS, *orcha.start[3:], "serve", "--background", "commands", str(tmp_path)],
        env=orcha.environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as starting:
        wait_for((tmp_path / "reached").exists, what="the end of the daemon's start")
        with pytest.raises(subprocess.TimeoutExpired):
            starting.wait(0.5)
        (tmp_path / "gate").write_text("")
        _, said = starting.communicate(timeout=2 * DEADLINE)
    assert (starting.returncode, "keep a copy" in said) == (78, True)


@pytest.mark.once
def test_a_log_that_cannot_be_written_is_named(orcha, tmp_path):
    orcha.folder.mkdir(mode=0o700)
    (orcha.folder / "service.log").mkdir()
    failed = orcha("serve", "--background", "commands")
    line = f"orcha: {orcha.folder}/service.log is a folder where a file belongs: move it away"
    assert (failed.returncode, failed.stderr.startswith(line)) == (78, True), failed.stderr


@pytest.mark.once
def test_a_weak_key_is_served_to_other_machines_only_where_that_is_said(orcha, tmp_path, orcha_home):
    open_to_all = ("--listen-address", "0.0.0.0", "--key", "short")
    refused = orcha(*open_to_all, "serve", "--background", "commands")
    assert (refused.returncode, refused.stderr.count("\n")) == (78, 1)
    assert "give --allow-weak-key before the command" in refused.stderr
    assert f"the one in {orcha_home}/key is used" in refused.stderr
    assert orcha(*open_to_all, "--allow-weak-key", "serve", "--background", "commands").returncode == 0
    stopped = orcha(*open_to_all, "stop")  # on the Unix socket, which no other machine can overhear
    assert (stopped.returncode, stopped.stderr) == (0, "")


def test_stop_now_gives_what_runs_no_time(serve, tmp_path):
    (tmp_path / "orcha_slow.py").write_text(SLOW)
    service = serve(arguments=("serve", "slow"))
    from orcha._protocol import values
    from orcha._protocol.messages import Item
    from orcha.lib import ClientManager

    client = ClientManager(listen_address=service.address, port=service.port)
    assert client.connect()
    queue = client.manager.Queue()
    item = Item(bytes(16), "a", values.encode({"queue": queue}), queue.__orcha_channel__)
    client.manager.client.submit([item], "slow")
    assert queue.get(timeout=DEADLINE) == "goes\n"
    stopped = service.run("stop", "--now")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert service.wait_for_end() == 0
    client.shutdown()


def test_stop_of_nobody_is_told(orcha):
    stopped = orcha("stop")
    assert stopped.returncode == 69
