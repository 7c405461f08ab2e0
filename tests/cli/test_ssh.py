"""A service that is reached over SSH: through a program that stands in for ssh, and through a real sshd."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import tarfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.far_login import SSHD, FarLogin, RealSshd
from orcha import properties
from orcha._cli import far_command, run_options, session
from orcha._cli.stop import is_held
from orcha._cli.upload import prepare, unpack
from orcha._protocol.relay_greeting import FarSide
from orcha.bin import main
from orcha.exceptions import OrchaError
from support import warm
from support.processes import command_line
from support.terminals import OnTerminal
from support.waiting import DEADLINE, wait_for

AT_ONCE = 2
LINES = 30_000
SECOND_NANOSECONDS = 1_000_000_000
NO_RSYNC = "there is no rsync here: every file is sent, as an archive"
COUNT = f"i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo $i; done"
COUNTED = "".join(f"{number}\n" for number in range(1, LINES + 1))


@pytest.fixture
def far(service, tmp_path):
    login = FarLogin(tmp_path, service)
    yield login
    wait_for(lambda: not left(login), what="the end of all logins")


def left(login):
    return [pid for pid in login.logins() if Path(f"/proc/{pid}").exists()]


@pytest.fixture
def run(far):
    """Give a function that runs orcha here, for the service at the far login."""

    def call(*words, environment=None, **options):
        given = {} if "input" in options else {"stdin": subprocess.DEVNULL}
        given |= {"capture_output": True, "text": True, "timeout": DEADLINE, "check": False, "cwd": far.here}
        return warm.run(far.orcha(*words), env=far.environment | (environment or {}), **given | options)

    return call


def break_off(far, number):
    """End the ssh of a login, once there is that one, as a network does that goes away."""
    os.kill(wait_for(lambda: far.logins()[number:])[0], signal.SIGKILL)


def test_a_command_runs_as_if_it_were_asked_for_at_the_login(run, far):
    (far.folder / "noise").write_text("Welcome to box!\n{no newline}")
    script = 'pwd; umask; echo "$HOME $FAR $HERE $ONE $TWO $USER"; exit 3'
    ours = {"ONE": "1", "HOME": "/nowhere", "ORCHA_ENV_ALLOW": "THR*"}
    told = run("run", "-e", "ONE", "-e", "TWO=2", "--", "sh", "-c", script, environment=ours)
    assert (told.returncode, told.stdout) == (3, f"{far.here}\n0022\n{far.home}   1 2 far\n")
    assert told.stderr == ""
    (far.folder / "turned_away").touch()
    where = json.loads(run("where", "--json").stdout)
    assert len(far.logins()) == 3
    assert (where["place"], where["transport"], where["kind"]) == (far.url, "ssh", "ssh")
    assert where["there"]["user"] == "root" or os.getuid()
    assert far.asked()[0].endswith(f" orcha --service {far.url.removeprefix('ssh://box')} relay --folder {far.here}")


def test_the_folder_and_the_variables_of_the_login(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    there = {"HOME": "/home/u", "ORCHA_ENV_ALLOW": "SITE", "SITE": "x", "MORE": "y"}
    here = {"HOME": "/root", "TERM": "xterm", "SITE": "here", "ONE": "1", "ORCHA_ENV_ALLOW": "ON*", "ORCHA_HOME": "/o"}
    say = dict.fromkeys(("everything", "tty"), False)
    assert far_command.variables(there, here, [], **say) == {"HOME": "/home/u", "SITE": "x", "ONE": "1"}
    given = far_command.variables(there, here, ["SITE", "NONE", "TWO=2"], everything=True, tty=True)
    assert given == {"HOME": "/home/u", "SITE": "here", "MORE": "y", "ONE": "1", "TERM": "xterm", "TWO": "2"}
    told: list[str] = []

    def folder(chosen, found):
        namespace = type("Given", (), {"cwd": chosen, "env": [], "all_env": False})
        message = {"cwd": run_options.folder(chosen)}
        far = FarSide(folder=found, user="u", host="box", umask=0o27)
        far_command.adapt(message, namespace, far, told.append)
        assert message["umask"] == 0o27
        return message["cwd"]

    here = str(tmp_path)
    assert [folder(chosen, here) for chosen in (None, "sub", "/a")] == [here, f"{here}/sub", "/a"]
    assert told == []
    assert [folder(chosen, "/home/u") for chosen in ("/a", None)] == ["/a", "/home/u"]
    assert told == [f"there is no folder {tmp_path} on box that u can enter: running in /home/u"]


def test_this_folder_goes_along(run, far, service, tmp_path):
    ours = tmp_path / "our work"
    (ours / "deep" / "deeper").mkdir(parents=True)
    (ours / "deep" / "script").write_text("#!/bin/sh\npwd\ncat ../data link deeper/* | wc -c\nfind .. | wc -l\n")
    (ours / "deep" / "script").chmod(0o755)
    (ours / "data").write_bytes(b"x" * 100_000)
    (ours / "deep" / "link").symlink_to("../data")
    (ours / "deep" / "deeper" / "a.o").touch()
    (ours / "deep" / "deeper" / os.fsdecode(b"\xff")).write_bytes(b"y")
    os.mkfifo(ours / "pipe")
    told = run("run", "--upload", "--exclude", "*.o", "-C", "deep", "--", "./script", cwd=ours)
    assert (told.returncode, told.stderr) == (0, "" if shutil.which("rsync") else f"orcha: {NO_RSYNC}\n")
    where, size, names = told.stdout.split()
    assert (Path(where).parents[1].name, size, names) == ("uploads", "200001", "7")
    assert Path(where).parent.name.startswith("ourwork-")
    uploads = service.home / "uploads"
    assert uploads.stat().st_mode & 0o777 == 0o700
    (ours / "data").chmod(0)
    (ours / "loop").symlink_to("/nonexistent")
    os.utime(Path(where).parent, (0, 0))
    assert run("run", "--upload", "--exclude", "data", "--", "true", cwd=ours).returncode == 0
    assert len(list(uploads.glob("ourwork-*"))) == 1
    refused = run("run", "--upload", "true", cwd=ours, environment={"ORCHA_SERVICE": far.url.removeprefix("ssh://box")})
    assert (refused.returncode, "give --service ssh://HOST" in refused.stderr) == (2, True)


def tree(folder):
    """Give all that is in a folder, as far as a copy has to be the same."""
    found = {}
    for path in sorted(folder.rglob("*")):
        known = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        shown = None if path.is_symlink() else (stat.S_IMODE(known.st_mode), known.st_mtime_ns // 1_000_000)
        found[os.fsencode(path.relative_to(folder))] = (content, shown, known.st_nlink if path.is_file() else 0)
    return found


def made_tree(folder):
    """Make a folder with all kinds of names, modes and links."""
    (folder / "deep" / "empty").mkdir(parents=True)
    (folder / "deep" / "script").write_text("#!/bin/sh\n")
    (folder / "deep" / "script").chmod(0o4775)
    (folder / "read only").write_bytes(b"x" * 50_000)
    (folder / "read only").chmod(0o444)
    for name in (b"#begins", b";begins", b"a\nb", b"\xff", b"-n", b"a*.o"):
        (folder / os.fsdecode(name)).write_bytes(name)
    os.link(folder / "-n", folder / "deep" / "same file")
    (folder / "deep" / "link").symlink_to("../read only")
    (folder / "dangling").symlink_to("/nonexistent")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").touch()
    for old in (folder / "deep", folder):
        os.utime(old, (1_000_000, 1_000_000))


@pytest.mark.skipif(shutil.which("rsync") is None, reason="there is no rsync here")
@pytest.mark.parametrize("is_real", [False, True], ids=["fake ssh", "sshd"])
def test_rsync_makes_the_same_copy_as_an_archive_and_sends_what_has_changed(run, far, service, tmp_path, is_real):
    ours, uploads, uploaded = tmp_path / "ours", service.home / "uploads", []
    made_tree(ours)

    def copy(environment):
        known = {*uploads.iterdir()} if uploads.exists() else set()
        told = run("run", "--upload", "--exclude", ".git", "--", "true", cwd=ours, environment=environment)
        assert told.returncode == 0, told.stderr
        (made,) = {*uploads.iterdir()} - known
        uploaded.append(made)
        return told.stderr

    with contextlib.ExitStack() as stack:
        environment = {}
        if is_real:
            sshd = stack.enter_context(RealSshd(tmp_path))
            if refused := sshd.why_refused():
                pytest.skip(f"nobody can log in to a sshd here: {refused}")
            program = f"env ORCHA_HOME={service.home} {far.folder}/bin/orcha"
            place = f"{sshd.url}{service.home}/127.0.0.1-{service.port}"
            (far.here / "services.toml").write_text(f'[services]\nbox = {{ at = "{place}", program = "{program}" }}\n')
            environment = {"ORCHA_SSH": sshd.command, "ORCHA_SERVICE": "box"}
        no_rsync = tmp_path / "no rsync"
        no_rsync.mkdir()
        for each in ("ssh", "sh", "env", "cat"):
            (no_rsync / each).symlink_to(shutil.which(each))
        assert copy(environment | {"PATH": str(no_rsync)}) == f"orcha: {NO_RSYNC}\n"
        assert copy(environment) == ""
        begun = service.home.stat().st_ctime - 86_400
        assert all(each.stat().st_mtime > begun for each in uploaded), "an old folder here is no old upload there"
        assert [stat.S_IMODE(each.stat().st_mode) for each in uploaded] == [0o700, 0o700]
        (ours / "read only").unlink()
        (ours / "new").write_text("new")
        changed = ours / "a*.o"
        was = changed.stat().st_mtime_ns
        changed.write_bytes(b"A*.O")
        os.utime(changed, ns=(was, was - was % SECOND_NANOSECONDS + (was + 1_000_000) % SECOND_NANOSECONDS))
        assert copy(environment) == ""
        if not is_real:
            (far.folder / "noise").write_text("Welcome!\n")
            assert copy(environment).startswith("orcha: rsync ended with")
            (far.folder / "noise").unlink()
            assert tree(uploaded.pop()) == tree(uploaded[-1]), "it went as an archive"
    archive, first, second = map(tree, uploaded)
    assert archive == first
    assert {*second} == {*first} - {b"read only"} | {b"new"}
    assert second[b"a*.o"][0] == b"A*.O", "it was changed within a second, and has as many bytes"
    assert tree(ours).keys() - second.keys() == {b".git", b".git/config"}


def test_exclude_without_upload_is_refused_before_anybody_is_asked(run):
    told = run("run", "--exclude", "x", "true", environment={"ORCHA_SSH": "/nonexistent/ssh"})
    assert (told.returncode, "--exclude says what --upload leaves out" in told.stderr) == (2, True)


def test_two_uploads_may_remove_the_same_old_ones(tmp_path, monkeypatch):
    def remove_all(path, **_):
        for each in Path(path).parent.iterdir():
            if each.name.startswith("old"):
                each.rmdir()

    monkeypatch.setenv("ORCHA_HOME", str(tmp_path))
    (tmp_path / "uploads").mkdir(mode=0o700)
    for number in range(3):
        (tmp_path / "uploads" / f"old-{number}").mkdir()
        os.utime(tmp_path / "uploads" / f"old-{number}", (0, 0))
    monkeypatch.setattr(shutil, "rmtree", remove_all)
    empty = io.BytesIO()
    tarfile.open(mode="w", fileobj=empty).close()
    where = unpack("new", str(tmp_path), io.BytesIO(empty.getvalue()))
    assert [str(path) for path in (tmp_path / "uploads").iterdir()] == [where]


@pytest.mark.parametrize("name", ["..", ".", "../../x", "a/b", "a.b", ""])
def test_what_is_no_name_of_an_upload_has_nothing_removed(tmp_path, monkeypatch, name):
    monkeypatch.setenv("ORCHA_HOME", str(tmp_path))
    (tmp_path / "uploads").mkdir(mode=0o700)
    (tmp_path / "kept").touch()
    with pytest.raises(ValueError, match="is no name of an upload"):
        prepare(name, str(tmp_path))
    with pytest.raises(ValueError, match="is no name of an upload"):
        unpack(name, str(tmp_path), io.BytesIO())
    assert sorted(each.name for each in tmp_path.iterdir()) == ["kept", "uploads"]


def test_an_upload_is_compared_with_the_last_upload_of_a_folder_of_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("ORCHA_HOME", str(tmp_path))
    assert prepare("work-1", str(tmp_path)) == (f"{tmp_path}/uploads/work-1", "")
    prepare("work-two-1", str(tmp_path))
    newest = (tmp_path / "uploads" / "work-two-1").stat().st_mtime
    os.utime(tmp_path / "uploads" / "work-1", (newest - 9, newest - 9))
    assert prepare("work-2", str(tmp_path)) == (f"{tmp_path}/uploads/work-2", f"{tmp_path}/uploads/work-1")


# --- every verb --------------------------------------------------------------------------------------------------

TABLE = [
    ("run --detach --name a -- sh -c 'echo out; exec sleep 1000'", 0, "a\n"),
    ("run --detach --name b --after a -- true", 0, "b\n"),
    ("ps", 0, "it waits for a to end"),
    ("why b", 0, "it waits for a to end"),
    ("show a", 0, "exec sleep 1000"),
    ("set a --timeout 1h", 0, ""),
    ("pause b", 0, ""),
    ("resume b", 0, ""),
    ("priority b 5", 0, ""),
    ("signal a WINCH", 0, ""),
    ("exec a -- echo beside", 0, "beside\n"),
    ("group set g --slots 2", 0, ""),
    ("resource set rig=1", 0, ""),
    ("lock rig --for 1h --name l --detach", 0, "l\n"),
    ("extend l 1h", 0, ""),
    ("unlock l", 0, ""),
    ("cron add c '0 22 * * *' -- true", 0, "22:00 every day"),
    ("cron rm c", 0, ""),
    ("drain", 0, ""),
    ("undrain", 0, ""),
    ("reload", 0, "nothing changed"),
    ("cancel b", 0, ""),
    ("cancel a", 0, ""),
    ("wait a", 130, ""),
    ("attach a", 130, "out\n"),
    ("retry b", 0, ""),
    ("rm a", 0, ""),
    ("stats", 0, "version:"),
    ("who", 0, ""),
    ("events", 0, "unlock"),
    ("history --json", 0, "beside"),
    ("simulate {history}", 0, ""),
    ("resource set rig=forget", 0, ""),
    ("doctor", 78, ""),
    ("config show", 78, ""),
    ("backup {here}/b.tar", 78, ""),
    ("restore {here}/b.tar", 78, ""),
]


@pytest.fixture
def through_one_relay(far, monkeypatch):
    """Give a client at the far login, which every verb in this process takes for its own."""
    with monkeypatch.context() as changed:
        for name in ("ORCHA_HOME", "ORCHA_SSH", "ORCHA_SERVICE"):
            changed.setenv(name, far.environment[name])
        changed.setattr(properties, "service", None)
        shared = session.session(runs=True)
        shared.connect()
        close = shared.close
        changed.setattr(session, "session", lambda *_, **__: shared)
        changed.setattr(shared, "close", lambda: None)
        yield shared
        close()


def test_every_verb_works_through_one_relay(service, far, through_one_relay, tmp_path, capfd):
    for words, code, text in TABLE:
        (tmp_path / "history").write_text("")
        try:
            ended = main._run(shlex.split(words.format(history=tmp_path / "history", here=far.here)))
        except OrchaError as error:
            ended = main._report(error)
        told = capfd.readouterr()
        assert (words, ended, told.err if ended != code else "") == (words, code, "")
        assert text in told.out, words
        if words.startswith("run --detach --name a"):
            wait_for(lambda: service.run("logs", "a").stdout)
    assert len(far.logins()) == 1


# --- broken connections ------------------------------------------------------------------------------------------


def test_output_goes_on_without_a_gap_where_ssh_is_killed(run, far, service):
    with warm.Popen(
        far.orcha("run", "--name", "it", "--stdin", "--", "sh", "-c", f"read x; {COUNT}; read y; {COUNT}; exit 5"),
        env=far.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as client:
        client.stdin.write(b"go\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"1\n"
        break_off(far, 0)
        seen = [b"1\n"] + [client.stdout.readline() for _ in range(LINES - 1)]
        assert b"".join(seen).decode() == COUNTED
        break_off(far, 1)
        out, err = client.communicate(b"go on\n", timeout=DEADLINE)
    assert (client.returncode, out.decode(), err) == (5, COUNTED, b"")
    assert len(far.logins()) == 3
    assert ["BatchMode=yes" in words for words in far.asked()][1:] == [True, True]
    told = run("logs", "-f", "it")
    assert (told.returncode, told.stdout, told.stderr) == (0, COUNTED * 2, "")


def test_input_goes_on_without_a_gap_where_ssh_is_killed(far):
    size = 3_000_000
    with warm.Popen(
        far.orcha("run", "--stdin", "--", "sh", "-c", "head -c 1000 | wc -c; cat | wc -c"),
        env=far.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as client:
        client.stdin.write(b"x" * 1000)
        client.stdin.flush()
        assert client.stdout.readline().strip() == b"1000"
        for number in range(3):
            client.stdin.write(b"y" * (size // 3))
            break_off(far, number)
        out, _ = client.communicate(timeout=DEADLINE)
    assert (client.returncode, int(out)) == (0, size)


def test_where_ssh_would_have_to_ask_again_the_client_says_so_and_ends(far, service):
    with warm.Popen(
        far.orcha("run", "--name", "it", "--", "sh", "-c", "echo begun; exec sleep 1000"),
        env=far.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as client:
        assert client.stdout.readline() == "begun\n"
        (far.folder / "refusal").write_text("far@box: Permission denied (publickey,password).\n")
        break_off(far, 0)
        _, said = client.communicate(timeout=DEADLINE)
    assert "ssh would have to ask to log in again: far@box: Permission denied (publickey,password)." in said
    assert client.returncode == 125
    assert len(far.logins()) == 2
    assert json.loads(service.ask("show", "--json", "it").stdout)["state"] == "running"


def test_a_client_that_is_killed_leaves_no_ssh(far):
    with warm.Popen(
        far.orcha("run", "--", "sh", "-c", "echo begun; exec sleep 1000"), env=far.environment, stdout=subprocess.PIPE
    ) as client:
        assert client.stdout.readline() == b"begun\n"
        client.kill()
        client.wait(DEADLINE)
        wait_for(lambda: not left(far))


def test_ctrl_c_cancels_over_the_connection_and_a_terminal_has_its_size(far):
    with OnTerminal(far.orcha("run", "--", "sh", "-c", "echo begun; exec sleep 1000"), far.environment) as it:
        it.until(b"begun")
        it.type(b"\x03")
        assert it.end() == 130
    assert len(far.logins()) == 1
    script = "stty size; trap 'stty size; exit 4' WINCH; echo ready; while :; do sleep 0.02; done"
    with OnTerminal(far.orcha("run", "-t", "--", "sh", "-c", script), far.environment) as it:
        assert b"24 80" in it.until(b"ready")
        it.resize(50, 132)
        it.until(b"50 132")
        assert it.end() == 4
    assert len(far.logins()) == 2


# --- what can be wrong -------------------------------------------------------------------------------------------


def test_what_is_wrong_is_told_with_its_cure(run, far, service):
    def said(code, text, *words, **environment):
        told = run(*(words or ("ps",)), environment=environment)
        assert (told.returncode, told.stdout, told.stderr.count("\n")) == (code, "", 1), told.stderr
        assert text in told.stderr, told.stderr

    said(78, "there is no program 'nossh' here: install the client of OpenSSH", ORCHA_SSH="nossh -v")
    said(78, "is no place of a service: write ssh://host", ORCHA_SERVICE="ssh://-oProxyCommand=x/")
    said(
        125,
        "no service answers; tried /nonexistent/orcha.sock",
        "run",
        "true",
        ORCHA_SERVICE="ssh://box/nonexistent/orcha.sock",
    )
    said(78, "on box there is no service 'lab'", ORCHA_SERVICE="ssh://box/lab")
    (far.here / "services.toml").write_text('[services]\nbox = { at = "ssh://box", program = "nowhere/orcha" }\n')
    said(69, "there is no program nowhere/orcha on box", ORCHA_SERVICE="box")
    (far.folder / "noise").write_bytes(b"endless\n" * 10_000)
    said(69, "it writes more than 64 KiB before Orcha begins")
    (far.folder / "refusal").write_text("ssh: Could not resolve hostname box: Name or service not known\n")
    said(69, "ssh does not know the host box: ssh: Could not resolve hostname")
    (far.folder / "refusal").write_text("Host key verification failed.\n")
    said(77, "ssh cannot log in to box: Host key verification failed.")


def test_a_service_that_starts_again_is_found_again_and_stop_waits_for_its_end(own_service, tmp_path):
    login = FarLogin(tmp_path, own_service)
    with warm.Popen(
        login.orcha("run", "--stdin", "--", "sh", "-c", "echo begun; read x; echo $x"),
        env=login.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as client:
        assert client.stdout.readline() == "begun\n"
        own_service.kill()
        own_service.start()
        assert client.communicate("through\n", timeout=DEADLINE)[0] == "through\n"
    stop = warm.run(login.orcha("stop"), env=login.environment, stdin=subprocess.DEVNULL, check=False, timeout=DEADLINE)
    assert stop.returncode == 0
    assert not is_held(f"{own_service.home}/127.0.0.1-{own_service.port}/lock")
    assert own_service.wait_for_end() == 0
    wait_for(lambda: not left(login))


# --- a real sshd -------------------------------------------------------------------------------------------------


@contextmanager
def real_login(tmp_path, service):
    """Give a login through a real sshd, to which the service is called box, and that sshd."""
    login = FarLogin(tmp_path, service)
    with RealSshd(tmp_path) as sshd:
        if refused := sshd.why_refused():
            pytest.skip(f"nobody can log in to a sshd here, and what stands in for ssh was tried alone: {refused}")
        (login.here / "services.toml").write_text(
            f'[services]\nbox = {{ at = "{sshd.url}{service.home}/127.0.0.1-{service.port}",'
            f' program = "env ORCHA_HOME={service.home} {login.folder}/bin/orcha" }}\n'
        )
        yield login, sshd


@pytest.mark.skipif(SSHD is None, reason="there is no sshd here: the tests above have a program that stands in for ssh")
def test_through_a_real_sshd(service, tmp_path):
    with real_login(tmp_path, service) as (login, sshd):
        environment = login.environment | {"ORCHA_SSH": sshd.command, "ORCHA_SERVICE": "box"}
        client = service.spawn(
            *login.orcha("run", "--stdin", "--", "sh", "-c", f"read x; {COUNT}; read y; echo $SSH_CONNECTION; exit 5"),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        client.stdin.write(b"go\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"1\n"
        first = ssh_of(client.pid)
        os.kill(first, signal.SIGSTOP)
        os.kill(first, signal.SIGCONT)
        os.kill(first, signal.SIGKILL)
        rest = b"".join(client.stdout.readline() for _ in range(LINES - 1))
        assert b"1\n" + rest == COUNTED.encode()
        assert ssh_of(client.pid) != first
        assert client.communicate(b"end\n", timeout=DEADLINE) == (b"\n", b"")
        assert client.returncode == 5
        client = service.spawn(
            *login.orcha("run", "--", "sh", "-c", "echo begun; exec sleep 1000"),
            env=environment,
            stdout=subprocess.PIPE,
        )
        assert client.stdout.readline() == b"begun\n"
        ssh, relays = ssh_of(client.pid), relays_of(service)
        assert len(relays) == 1
        client.kill()
        wait_for(lambda: not Path(f"/proc/{ssh}").exists() and not relays_of(service))


@pytest.mark.slow
@pytest.mark.skipif(SSHD is None, reason="only a real ssh asks whether the other end is there")
def test_a_host_that_is_gone_without_a_word_is_noticed_and_the_client_goes_on(service, tmp_path):
    """The host stands still, and closes nothing; ssh asks it each second here, and each 15 s where people use it."""
    with real_login(tmp_path, service) as (login, sshd):
        asks = f"{sshd.command} -o ServerAliveInterval=1 -o ServerAliveCountMax=3"
        client = service.spawn(
            *login.orcha("run", "--stdin", "--", "sh", "-c", f"echo begun; read x; {COUNT}; read y; exit 5"),
            env=login.environment | {"ORCHA_SSH": asks, "ORCHA_SERVICE": "box"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        first, sessions = ssh_of(client.pid), sshd.sessions()
        assert client.stdout.readline() == b"begun\n"
        for each in sessions:
            os.kill(each, signal.SIGSTOP)
        try:
            client.stdin.write(b"go\n")
            client.stdin.flush()
            assert b"".join(client.stdout.readline() for _ in range(LINES)) == COUNTED.encode()
            assert ssh_of(client.pid) != first
            assert client.communicate(b"end\n", timeout=DEADLINE) == (b"", b"")
            assert client.returncode == 5
        finally:
            for each in sessions:
                os.kill(each, signal.SIGKILL)
        wait_for(lambda: not relays_of(service), what="the relay of the first login has ended")


def ssh_of(client):
    """Give the ssh that a client has started, once there is one."""
    tasks = Path(f"/proc/{client}/task")
    return wait_for(lambda: [int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()])[
        0
    ]


def relays_of(service):
    """Give the relays that lead to a service."""
    return [
        pid for pid in service.processes() if command_line(pid).endswith(" relay") or " relay " in command_line(pid)
    ]
