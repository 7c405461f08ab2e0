"""``orcha install-units``: what is written, where, with which interpreter; and that other people's files stay."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys

import pytest

from orcha._cli import install_units
from orcha._protocol.endpoint import Endpoint, default_folder
from orcha.bin import main
from orcha.exceptions import ConfigurationError
from orcha.utils.system_paths import system_socket


@pytest.fixture
def install(monkeypatch, capsys, orcha_home):
    """Give a function that runs the command, and gives its code and what it says."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["orcha", "install-units", *map(str, words)])
        code = main.main()
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def settings(text):
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


@pytest.mark.parametrize("whose", ["--user", "--system"])
def test_the_units_start_this_orcha_and_let_commands_outlive_it(install, tmp_path, whose):
    code, out, _ = install(whose, "--dir", tmp_path)
    assert code == 0
    unit = settings((tmp_path / "orcha.service").read_text())
    command = shlex.split(unit["ExecStart"])
    program, what = command[:4], command[4:]
    assert program == [sys.executable, "-P", "-m", "orcha"]
    assert what == (["--systemd", "serve"] if whose == "--user" else ["--systemd", "serve", "--system"])
    version = subprocess.run([*program, "--version"], capture_output=True, text=True, check=True).stdout
    assert version.startswith("orcha - ")
    wanted = {"Type": "notify", "KillMode": "process", "Delegate": "yes", "DelegateSubgroup": "orcha-service"}
    assert wanted.items() <= unit.items()
    assert int(unit["WatchdogSec"]) + int(unit["TimeoutAbortSec"]) < int(unit["TimeoutStopSec"])
    expected, modes = system_socket(), ("0666", "0755")
    if whose == "--user":
        expected, modes = Endpoint("", 0, default_folder()).socket_path, ("0600", "0700")
    reached = [] if whose == "--user" else ["--service", expected]
    assert shlex.split(unit["ExecReload"]) == [*program, *reached, "reload"]
    listening = settings((tmp_path / "orcha.socket").read_text())
    assert (listening["ListenStream"], listening["SocketMode"], listening["DirectoryMode"]) == (expected, *modes)
    assert "daemon-reload" in out
    assert (tmp_path / "orcha.service").stat().st_mode & 0o777 == 0o644


def test_a_dry_run_shows_all_and_writes_nothing(install, tmp_path):
    code, out, _ = install("--system", "--hardened", "--dry-run", "--dir", tmp_path)
    assert code == 0
    for name in ("orcha.service", "orcha.socket", "orcha.service.d/50-hardened.conf"):
        assert f"# --- {tmp_path}/{name}\n" in out
    assert list(tmp_path.iterdir()) == []


def test_the_machines_service_gets_its_pam_service_and_others_files_stay(install, tmp_path):
    own = tmp_path / "pam.d" / "orcha"
    assert install("--user", "--dir", tmp_path)[0] == 0
    assert not own.exists()
    assert f"wrote {own}" in install("--system", "--dir", tmp_path)[2]
    lines = [line.split() for line in own.read_text().splitlines() if line[0] != "#"]
    assert lines == [["account", "required", "pam_permit.so"], ["session", "required", "pam_limits.so", "utmp_early"]]
    own.write_text("session required pam_limits.so\n")
    code, _, said = install("--system", "--dir", tmp_path)
    assert (code, own.read_text()) == (0, "session required pam_limits.so\n")
    assert f"left {own} as it is" in said


def test_a_machine_without_pam_gets_units_alone(install, monkeypatch, tmp_path):
    for folder, named in ((tmp_path / "none", False), (tmp_path, True)):
        monkeypatch.setattr(install_units, "_PAM_FOLDER", str(folder))
        assert (f"# --- {folder}/orcha\n" in install("--system", "--dry-run")[1]) is named


def test_own_files_are_written_again_and_others_stay(install, tmp_path):
    assert install("--user", "--dir", tmp_path)[0] == 0
    (tmp_path / "orcha.socket").unlink()
    assert install("--system", "--dir", tmp_path)[0] == 0
    assert "multi-user.target" in (tmp_path / "orcha.service").read_text()
    (tmp_path / "orcha.socket").write_text("[Socket]\n")
    code, _, error = install("--user", "--dir", tmp_path)
    assert code == ConfigurationError("").exit_code
    assert "move it away" in error
    assert (tmp_path / "orcha.socket").read_text() == "[Socket]\n"
    assert "multi-user.target" in (tmp_path / "orcha.service").read_text()


def test_where_nothing_can_be_written_the_cure_is_told(install, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, error = install("--user", "--dir", tmp_path / "file")
    assert code == ConfigurationError("").exit_code
    assert "--dir" in error
    assert install("--user", "--hardened", "--dir", tmp_path)[0] == 2


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/usr/bin/python3", "/usr/bin/python3"),
        ("/opt/my tools/python", '"/opt/my tools/python"'),
        ('/a"b\\c$d/python', '"/a\\"b\\\\c$$d/python"'),
        ("/100%/python", '"/100%%/python"'),
    ],
)
def test_the_path_of_an_interpreter_is_one_word_of_the_unit(path, word):
    assert install_units._quoted(path) == word


def test_a_path_that_no_unit_can_hold_is_refused():
    with pytest.raises(ConfigurationError, match="plain name"):
        install_units._quoted("/a\nb/python")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_reads_the_units(install, tmp_path):
    install("--system", "--hardened", "--dir", tmp_path)
    command = ["systemd-analyze", "verify", tmp_path / "orcha.service", tmp_path / "orcha.socket"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if "orcha" in line and "DelegateSubgroup" not in line]
    assert said == []  # DelegateSubgroup= is known from systemd 254 on, and left out by older ones
