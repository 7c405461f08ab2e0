"""Each fault is planted, and `orcha doctor` finds it, says the cure, and changes nothing."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest

from orcha._processes.hidden_processes import hidden
from orcha._protocol.endpoint import Endpoint
from orcha._protocol.keys import make_key
from orcha._service.doctor import looks
from orcha._service.doctor.checks import CHECKS, disk_figures, examine
from orcha._service.doctor.last_words import add_last_words
from orcha._supervisor.cgroups import CgroupPlaces
from orcha.exceptions import OrchaError
from support.authorities import Authority
from support.service import Serve
from support.waiting import wait_for

AT_ONCE = 2
WAITS = "print('ready', flush=True); import sys; sys.stdin.read()"
HOLDS = f"import fcntl, sys; file = open(sys.argv[1], 'r+'); fcntl.lockf(file, fcntl.LOCK_EX); {WAITS}"
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Give what a service kept that was stopped in good order, and its port."""
    home = tmp_path_factory.mktemp("kept")
    home.chmod(0o700)
    factory = Serve(home, tmp_path_factory.mktemp("sources"))
    service = factory(arguments=("serve", "commands"))
    assert service.run("run", "true").returncode == 0
    assert service.stop() == 0
    assert factory.close() == []
    return home, service.port


@pytest.fixture
def stopped(kept, serve):
    """Give a service that was stopped in good order."""
    home, port = kept
    shutil.copytree(home, serve.home, dirs_exist_ok=True)
    return serve(arguments=("serve", "commands"), port=port, start=False)


def folder_of(service) -> Path:
    return service.home / f"127.0.0.1-{service.port}"


def look(service, **injected):
    return looks.look(Endpoint("127.0.0.1", service.port), key=None, plugins=(), **injected)


def found(facts) -> dict[str, str]:
    return {each.check: each.text for each in examine(facts)}


def faults(service, **more) -> dict[str, str]:
    """Give the faults by their check, and see that the exit code tells of them."""
    done = service.run("doctor", "--json", env=service.environment | more)
    return read(done)


def read(done) -> dict[str, str]:
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    those = {each["check"]: each["text"] for each in answer["findings"] if each["kind"] == "fault"}
    assert (answer["faults"], done.returncode) == (len(those), 1 if those else 0)
    return those


def state(service):
    """Give what lies in the home, but for what the command line knows of plugins."""
    paths = [path for path in service.home.rglob("*") if "cache" not in path.parts and path.name != "orcha.sock"]
    return {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in paths}


# --- nothing is wrong, and nothing is changed ------------------------------------------------------------------------


def test_nothing_is_found_where_nothing_is_wrong_and_nothing_is_changed(stopped):
    before = state(stopped)
    done = stopped.run("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    last = f"no fault found; no service runs here; its folder is {folder_of(stopped)}"
    assert done.stdout.splitlines()[-1] == last
    assert state(stopped) == before


def test_nothing_is_made_where_nothing_was_ever_served(serve):
    service = serve(arguments=("serve", "commands"), start=False)
    assert faults(service) == {}
    assert [path for path in service.home.iterdir() if path.name != "cache"] == []


def test_a_service_that_runs_is_looked_at(service):
    assert service.run("run", "true").returncode == 0
    done = service.run("doctor", "--json")
    assert read(done) == {}
    assert json.loads(done.stdout)["service"] == service.pid
    assert f"the service is pid {service.pid}" in service.run("doctor").stdout


def test_another_word_is_a_usage_error(stopped):
    assert stopped.run("doctor", "it").returncode == 2


# --- the folder and the disk -----------------------------------------------------------------------------------------


@root
def test_another_users_folder_is_found(stopped):
    os.chown(folder_of(stopped), 65534, -1)
    assert f"{folder_of(stopped)} belongs to user 65534: remove it" in faults(stopped)["owner"]


@root
def test_the_folder_of_nobody_is_found(stopped):
    os.chown(folder_of(stopped), 54_321, -1)
    assert "no user of this machine has that uid" in faults(stopped)["nobody's"]


@pytest.mark.parametrize(("name", "cure"), [("", "chmod 700 "), ("orcha.db", "chmod 600 ")])
def test_what_others_may_use_is_found(stopped, name, cure):
    path = folder_of(stopped) / name
    path.chmod(0o777)
    assert f"{cure}{path}" in faults(stopped)["permissions"]


def test_a_link_in_the_folder_is_found(stopped):
    path = folder_of(stopped) / "ballast"
    path.rename(stopped.home / "ballast")
    path.symlink_to(stopped.home / "ballast")
    assert "ballast is a symbolic link where a file belongs" in faults(stopped)["permissions"]


def test_a_file_in_place_of_the_folder_is_one_fault_with_its_cure(serve):
    service = serve(arguments=("serve", "commands"), start=False)
    folder_of(service).write_text("a note\n")
    assert faults(service) == {
        "owner": f"{folder_of(service)} is no folder: remove it, or set ORCHA_HOME to another place"
    }


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_no_socket_in_its_place_is_one_fault_with_its_cure(stopped, kind):
    path = folder_of(stopped) / "orcha.sock"
    path.mkdir() if kind == "folder" else path.touch(0o600)
    told = faults(stopped)
    assert set(told) == {"permissions"}
    assert told["permissions"].startswith(f"{path} is a {kind} where a socket belongs: move it away")


def space(**other):
    """Give a look at a file system, and what is otherwise there."""

    def statvfs(path):
        real = os.statvfs(path)
        fields = {name: getattr(real, name) for name in dir(real) if name.startswith("f_")} | other
        return type("Space", (), fields)

    return statvfs


def test_a_disk_without_room_is_found(stopped):
    texts = found(look(stopped, statvfs=space(f_bavail=1000, f_frsize=4096, f_flag=0)))
    assert texts["full disk"].startswith(f"3 MiB are free on the disk of {folder_of(stopped)}, and below 32 MiB")
    texts = found(look(stopped, statvfs=space(f_bavail=1 << 30, f_files=10, f_favail=0, f_flag=0)))
    assert "room for no more files" in texts["full disk"]


def test_a_disk_that_fills_is_a_note_with_what_takes_the_room(stopped):
    output = folder_of(stopped) / "output"
    (output / f"{'0a' * 16}.1").write_bytes(b"x" * (3 << 20))
    facts = look(stopped, statvfs=space(f_bavail=25_000, f_frsize=4096, f_flag=0))
    assert "its output 3 MiB" in found(facts)["filling disk"]
    assert [each.is_note for each in examine(facts) if each.check == "filling disk"] == [True]
    figures = disk_figures(facts)
    assert (figures["free"], figures["refuses_below"], figures["reserve"]) == (25_000 * 4096, 32 << 20, 16 << 20)
    assert figures["output"] >= 3 << 20
    assert figures["database"] > 0
    assert json.loads(stopped.run("doctor", "--json").stdout)["disk"].keys() == figures.keys()


def test_a_disk_that_is_read_only_is_found(stopped):
    texts = found(look(stopped, statvfs=space(f_flag=os.ST_RDONLY, f_bavail=0)))
    assert "mount that disk for writing" in texts["read-only disk"]
    assert "full disk" not in texts


def test_a_disk_of_other_machines_is_found(stopped, monkeypatch):
    monkeypatch.setattr("orcha._store.opening._NETWORK", Everything())
    assert "lies on a network file system (NFS)" in found(look(stopped))["network disk"]


class Everything:
    """Knows each file system as NFS."""

    def __contains__(self, kind):
        return True

    def __getitem__(self, kind):
        return "NFS"


def test_a_clock_that_is_behind_is_found(stopped):
    database = folder_of(stopped) / "orcha.db"
    later = database.stat().st_mtime + 86_400
    os.utime(database, (later, later))
    assert f"behind {database}" in faults(stopped)["clock"]


def test_a_database_that_is_gone_is_found(stopped):
    (folder_of(stopped) / "orcha.db").unlink()
    assert f"{folder_of(stopped)}.last-start" in faults(stopped)["lost state"]
    shutil.rmtree(folder_of(stopped))
    assert f"{folder_of(stopped)}.last-start" in faults(stopped)["lost state"]


def test_the_schema_of_a_newer_orcha_is_found(stopped):
    database = apsw.Connection(str(folder_of(stopped) / "orcha.db"))
    database.execute("PRAGMA user_version = 999")
    database.close()
    assert "has schema 999, from a newer Orcha" in faults(stopped)["newer schema"]


def damage(service):
    with (folder_of(service) / "orcha.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 40_960)


def test_a_damaged_database_is_found(stopped):
    damage(stopped)
    told = faults(stopped)["damaged database"]
    assert ("orcha.db is damaged: " in told, "\n" in told) == (True, False)


@pytest.mark.slow
def test_what_a_killed_service_left_is_found_and_left_as_it_is(serve):
    service = serve(arguments=("serve", "commands"))
    assert service.run("run", "true").returncode == 0
    service.kill()
    wait_for(lambda: not service.processes(), what="the end of what the service left")
    wait_for(lambda: not [*folder_of(service).glob("shims/*.sock")], what="the last shim has removed its socket")
    before = state(service)
    told = faults(service)
    assert set(told) == {"dead service"}
    assert "orcha serve --background" in told["dead service"]
    assert state(service) == before
    service.start()
    assert faults(service) == {}
    service.kill()
    damage(service)
    assert "damaged database" in faults(service)


# --- keys, settings, limits, ports -----------------------------------------------------------------------------------


def test_a_key_file_that_is_missing_or_open_is_found(stopped):
    key = stopped.home / "key"
    key.chmod(0o644)
    assert f"chmod 600 {key}" in faults(stopped)["key file"]
    key.unlink()
    assert f"the key file {key} is missing" in faults(stopped)["key file"]
    assert not key.exists()
    named = faults(stopped, ORCHA_KEY_FILE=str(key))["key file"]
    assert "ORCHA_KEY_FILE names" in named


def test_a_start_that_gets_no_key_keeps_nothing_and_no_key_is_missed_afterwards(serve):
    service = serve(arguments=("serve", "commands"), start=False)
    environment = {name: value for name, value in service.environment.items() if name != "ORCHA_HOME"}
    state, nowhere = service.home / "state", "/proc/no-such-folder"  # where nobody can make a folder
    environment |= {"XDG_STATE_HOME": str(state), "XDG_CONFIG_HOME": nowhere}
    done = service.run("serve", "commands", env=environment)
    assert done.returncode == 78
    assert f"{nowhere}/orcha" in done.stderr
    assert "orcha doctor" not in done.stderr
    assert [*state.rglob("orcha.db")] == []
    assert read(service.run("doctor", "--json", env=environment)) == {}


def test_a_key_that_is_not_the_services_is_found(own_service):
    (own_service.home / "key").write_text(make_key().text)
    told = faults(own_service)
    assert set(told) == {"key mismatch"}
    assert str(own_service.home / "key") in told["key mismatch"]


def test_a_setting_that_cannot_be_is_found(stopped):
    for variable in ("ORCHA_KEEP_AGE", "ORCHA_COMMANDS", "ORCHA_LOG", "ORCHA_STORE"):
        assert f"{variable} is 'never'" in faults(stopped, **{variable: "never"})["settings"]


@pytest.mark.parametrize(
    ("days", "said"), [(0.5, "expired on"), (None, "is not that of the certificate"), (5, "expires on"), (30, None)]
)
def test_a_certificate_that_no_client_would_take_is_found(stopped, tmp_path, days, said):
    authority = Authority(tmp_path)
    certificate, key = authority.pair("127.0.0.1", days=days or 30)
    if days is None:
        key = authority.pair("127.0.0.1")[1]
    told = faults(stopped, ORCHA_TLS_CERT=str(certificate), ORCHA_TLS_KEY=str(key)).get("certificate")
    assert told is None if said is None else said in told


@pytest.mark.parametrize(
    ("days", "list_days", "said"),
    [
        (-1, None, "the authority of clients in {} expired on"),
        (5, None, "the authority of clients in {} expires on"),
        (400, 0.5, "a list of revoked certificates in {} expired on"),
        (400, 7, None),
    ],
)
def test_an_authority_of_clients_that_lets_nobody_in_is_found(stopped, tmp_path, days, list_days, said):
    authority, clients = Authority(tmp_path), Authority(tmp_path, "clients", days=days)
    if list_days is not None:
        clients.revoke(days=list_days)
    certificate, key = authority.pair("127.0.0.1")
    files = {"ORCHA_TLS_CERT": certificate, "ORCHA_TLS_KEY": key, "ORCHA_TLS_CLIENT_CA": clients.path}
    told = faults(stopped, **{name: str(path) for name, path in files.items()}).get("certificate")
    assert told is None if said is None else said.format(clients.path) in told


def test_a_wrong_configuration_file_is_found(stopped):
    (stopped.home / "orcha.toml").write_text("[retention]\nagge = 1\n")
    told = faults(stopped)["configuration"]
    assert told.startswith(f"{stopped.home}/orcha.toml:2:1: there is no retention.agge: did you mean age?: mend it")


def test_too_few_open_files_are_found(stopped):
    command = ["sh", "-c", 'ulimit -S -n 50; exec "$@"', "-", *stopped.orcha("doctor", "--json")]
    done = subprocess.run(command, env=stopped.environment, capture_output=True, text=True, check=False)
    assert "set ulimit -n to that or more" in read(done)["limits"]


def test_a_port_of_another_program_is_found(stopped):
    with socket.create_server(("127.0.0.1", stopped.port)):
        text = faults(stopped)["taken port"]
    assert f"127.0.0.1:{stopped.port} is taken by another program (pid {os.getpid()}" in text


# --- who serves ------------------------------------------------------------------------------------------------------


def test_a_service_that_holds_the_lock_and_does_not_answer_is_found(stopped):
    with (folder_of(stopped) / "lock").open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        told = faults(stopped)
    assert set(told) == {"silent service"}
    assert "does not answer (nothing listens on its socket)" in told["silent service"]
    assert f"kill -9 {os.getpid()}" in told["silent service"]


@pytest.mark.slow
def test_a_service_that_hangs_is_found(own_service):
    own_service.process.send_signal(signal.SIGSTOP)
    try:
        told = faults(own_service)
    finally:
        own_service.process.send_signal(signal.SIGCONT)
    assert set(told) == {"silent service"}


def test_two_services_of_one_folder_are_found(stopped):
    lock = folder_of(stopped) / "lock"
    pids = []
    for _ in range(2):
        holder = stopped.spawn(sys.executable, "-c", HOLDS, str(lock), stdin=-1, stdout=-1)
        assert holder.stdout.readline() == b"ready\n"
        pids.append(holder.pid)
        lock.unlink()
        lock.touch(0o600)
    text = faults(stopped)["two services"]
    assert text.startswith(f"2 services (pids {', '.join(map(str, sorted(pids)))})")


def test_a_client_of_another_version_is_found(own_service, tmp_path):
    described = tmp_path / "other" / "orcha-9.9.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text("Name: orcha\nVersion: 9.9\n")
    path = os.pathsep.join([str(described.parent), own_service.environment["PYTHONPATH"]])
    assert "and this is orcha 9.9" in faults(own_service, PYTHONPATH=path)["client's version"]


def test_a_broken_plugin_is_found(stopped, tmp_path):
    (tmp_path / "orcha_rig.py").write_text("raise ImportError('no rig')\n")
    path = os.pathsep.join([str(tmp_path), stopped.environment["PYTHONPATH"]])
    assert "orcha_rig cannot be used: ImportError: no rig" in faults(stopped, PYTHONPATH=path)["plugins"]


def test_a_supervisor_of_another_build_and_an_interpreter_that_was_moved_are_found(stopped, tmp_path):
    program, python = tmp_path / "_supervisor" / "main.py", tmp_path / "python"
    program.parent.mkdir()
    program.write_text(WAITS)
    python.symlink_to(os.path.realpath(sys.executable))
    words = [str(python), "-I", "-S", str(program), str(folder_of(stopped))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        python.unlink()
        told = faults(stopped)
    assert told["interpreter"].startswith(f"{python}, which pid {process.pid} runs, was removed or replaced")
    assert f"pid {process.pid} of another build ({program})" in told["supervisor"]


# --- the machine -----------------------------------------------------------------------------------------------------


def test_a_user_without_inotify_is_found(stopped):
    assert "fs.inotify.max_user_instances" in found(look(stopped, inotify=lambda: False))["inotify"]


def test_what_the_machine_lacks_is_a_note(stopped, tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text("proc /proc proc rw,hidepid=2 0 0\n")
    limits = CgroupPlaces(mounts=str(mounts), changes=False).available
    without_pam = "there is no /etc/pam.d/orcha"
    facts = replace(look(stopped), limits=limits, no_login_limits=without_pam, hidden=hidden(str(mounts), 1000))
    those = {each.check: each for each in examine(facts)}
    assert "Delegate=yes" in those["cgroups"].text
    assert without_pam in those["login limits"].text
    assert "hidepid=2" in those["hidden processes"].text
    assert all(each.is_note for each in those.values())


def test_the_socket_that_the_machines_service_left_is_named(stopped, tmp_path):
    endpoint = Endpoint("", 0, str(folder_of(stopped)), (), str(tmp_path / "orcha.sock"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(endpoint.socket_path)
        text = found(looks.look(endpoint, key=None, plugins=()))["dead service"]
    assert text.startswith(f"{endpoint.socket_path} is the socket of a service that ended without stopping")


def test_a_socket_on_which_systemd_listens_is_no_dead_service(stopped, monkeypatch):
    monkeypatch.chdir(folder_of(stopped))
    path = folder_of(stopped) / "orcha.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("orcha.sock")  # the whole path may be too long for an address
        path.chmod(0o600)
        assert set(found(look(stopped))) == {"dead service"}
        listener.listen()
        assert looks._is_listened_to("orcha.sock")
        monkeypatch.setattr(looks, "_is_listened_to", lambda name: name == str(path))
        assert found(look(stopped)) == {}


def test_limits_are_looked_for_in_the_cgroup_of_the_service_that_runs(own_service, monkeypatch):
    """A login session may have no cgroup to hand on where the unit of the service has one."""
    asked = []

    def places(own, *, changes):
        asked.append((own, changes))
        return SimpleNamespace(available=frozenset({"memory"}))

    monkeypatch.setattr(looks, "CgroupPlaces", places)
    assert look(own_service).limits == {"memory"}
    own_service.stop()
    look(own_service)
    assert asked == [(f"/proc/{own_service.pid}/cgroup", False), ("/proc/self/cgroup", False)]


def test_a_quota_of_nobody_is_noted(stopped):
    (stopped.home / "orcha.toml").write_text('quota.group."@rooot".running = 1\n')
    told = found(look(stopped))
    assert "limits nobody: this machine has no group rooot (did you mean root?)" in told["nobody's settings"]
    assert faults(stopped) == {}


# --- the last line of a service --------------------------------------------------------------------------------------


def test_a_fatal_error_ends_with_what_the_doctor_says(stopped, monkeypatch):
    endpoint = Endpoint("127.0.0.1", stopped.port, str(folder_of(stopped)))
    folder_of(stopped).chmod(0o755)
    error = OrchaError("the service failed")
    add_last_words(error, endpoint, None, has_served=True)
    text = str(error)
    assert text.startswith("the service failed; orcha doctor: permissions: ")
    assert text.endswith(faults(stopped)["permissions"])
    add_last_words(error, endpoint, None, has_served=True)
    assert str(error) == text
    folder_of(stopped).chmod(0o700)
    error = OrchaError("something else")
    add_last_words(error, endpoint, None, has_served=True)
    assert str(error) == "something else"
    monkeypatch.setattr("orcha._service.doctor.last_words.look", None)
    add_last_words(error, endpoint, None, has_served=True)
    assert str(error) == "something else"


def test_each_check_finds_its_fault_in_a_test_of_this_file():
    text = Path(__file__).read_text()
    assert [check.name for check in CHECKS if f'"{check.name}"' not in text] == []
