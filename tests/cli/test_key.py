"""`orcha key`: programs elsewhere come in by keys of their own, whose secrets no service ever has."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from orcha._protocol.keys import parse_key
from support.terminals import OnTerminal
from support.waiting import DEADLINE, wait_for

AT_ONCE = 2


@pytest.fixture
def elsewhere(service, tmp_path):
    """Give a function that starts orcha as on another machine: it knows the port and a key file, and no folder."""
    home = tmp_path / "elsewhere"
    home.mkdir(mode=0o700)

    def start(key, *words, spawn=False):
        environment = service.environment | {"ORCHA_HOME": str(home), "ORCHA_KEY_FILE": str(key)}
        if spawn:
            pipes = {"stdout": -1, "stderr": -1, "text": True}
            return service.spawn(*service.orcha(*words), env=environment, **pipes)
        return service.run(*words, env=environment)

    return start


def added(service, folder, name, role, *more):
    """Add a key, and give its file."""
    path = folder / f"{name}.key"
    done = service.run("key", "add", name, "--role", role, "--out", str(path), *more)
    assert (done.returncode, done.stdout) == (0, "")
    return path


def keys_of(service):
    return {each["name"]: each for each in json.loads(service.run("key", "ls", "--json").stdout)}


@pytest.fixture(autouse=True)
def _no_keys(service):
    """Have no key left for the next test."""
    yield
    if known := keys_of(service):
        assert service.run("key", "revoke", *known).returncode == 0


@pytest.mark.slow
def test_keys_of_two_roles_do_what_their_roles_may_and_a_revoked_follower_ends(service, elsewhere, tmp_path):
    ci, ops = added(service, tmp_path, "ci", "submitter"), added(service, tmp_path, "ops", "admin", "--expires", "90d")
    assert stat.S_IMODE(ops.stat().st_mode) == 0o600
    assert elsewhere(ci, "ps").returncode == 0
    denied = elsewhere(ci, "drain")
    assert denied.returncode != 0
    assert elsewhere(ci, "key", "ls").returncode != 0
    assert elsewhere(ops, "key", "ls").returncode == 0
    own = service.run("run", "-d", "--", "sh", "-c", "echo begins; exec sleep 600").stdout.strip()
    follower = elsewhere(ops, "attach", own, spawn=True)
    assert follower.stdout.readline() == "begins\n"
    wait_for(lambda: keys_of(service)["ops"]["connections"] == 1, what="the follower is known")
    table = service.run("key", "ls").stdout.splitlines()
    assert re.fullmatch(r"NAME +ROLE +AS +ADDED +BY +EXPIRES +USED +CLIENTS", table[0].rstrip())
    assert [line.split()[:2] for line in table[1:]] == [["ci", "submitter"], ["ops", "admin"]]
    revoked = service.run("key", "revoke", "ops", "nobody")
    assert revoked.returncode == 1
    assert "there is no key 'nobody'" in revoked.stderr
    assert "ops" not in keys_of(service)
    _, said = follower.communicate(timeout=DEADLINE)
    assert follower.returncode != 0
    assert "does not accept the key" in said
    assert elsewhere(ops, "ps").returncode == 77
    assert service.ask("ps").stdout.count(own) == 1
    assert elsewhere(ci, "ps").returncode == 0


def test_a_key_that_gets_an_old_name_owns_nothing_and_a_renewed_key_goes_on(service, elsewhere, tmp_path):
    old = added(service, tmp_path, "ci", "submitter")
    assert elsewhere(old, "lock", "--detach", "--name", "lease", "--exclusive").returncode == 0
    fresh = tmp_path / "fresh.key"
    assert service.run("key", "renew", "ci", "--out", str(fresh)).returncode == 0
    assert elsewhere(old, "ps").returncode == 77
    assert elsewhere(fresh, "extend", "lease", "2h").returncode == 0
    assert service.run("key", "revoke", "ci").returncode == 0
    old.unlink()
    new = added(service, tmp_path, "ci", "submitter")
    refused = elsewhere(new, "unlock", "lease")
    assert refused.returncode != 0
    assert "'lease' is somebody else's lease" in refused.stderr
    assert service.ask("unlock", "lease").returncode == 0


def test_the_secret_is_nowhere_but_in_its_file(service, elsewhere, tmp_path):
    path = added(service, tmp_path, "ci", "submitter")
    assert elsewhere(path, "ps").returncode == 0
    key = parse_key(path.read_bytes())
    wanted = (key.secret, key.password, key.secret.hex().encode())
    folders = (service.home, service._logs)
    files = [each for folder in folders for each in folder.rglob("*") if each.is_file()]
    assert any(each.name == "orcha.db" for each in files)
    process = Path(f"/proc/{service.pid}")
    texts = {each: each.read_bytes() for each in (*files, process / "environ", process / "cmdline")}
    assert [str(each) for each, text in texts.items() if any(secret in text for secret in wanted)] == []
    assert not any(secret in memory for memory in memory_of(service.pid) for secret in wanted)
    assert b"key:ci" in b"".join(texts.values()) or b'"name": "ci"' in b"".join(texts.values())


def memory_of(pid):
    """Give the memory that a process has written, piece by piece: proc(5)."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            begin, end = (int(each, 16) for each in place.split("-"))
            try:
                memory.seek(begin)
                yield memory.read(end - begin)
            except (OSError, OverflowError, ValueError):
                continue


def test_a_key_is_printed_once_and_where_it_is_wanted(service, tmp_path):
    refused = service.run("key", "add", "ci", "--role", "viewer")
    assert refused.returncode == 2
    assert "standard output is no terminal: give --out FILE" in refused.stderr
    said = service.run("key", "add", "ci", "--role", "viewer", "--out", "-")
    assert said.returncode == 0
    assert parse_key(said.stdout).id == "ci"
    path = tmp_path / "ci.key"
    again = service.run("key", "add", "ci", "--role", "viewer", "--out", str(path))
    assert again.returncode == 1
    assert "there is a key ci already" in again.stderr
    assert not path.exists()
    path.write_text("mine")
    assert service.run("key", "add", "other", "--role", "viewer", "--out", str(path)).returncode == 1
    assert path.read_text() == "mine"
    assert keys_of(service).keys() == {"ci"}
    with OnTerminal(service.orcha("key", "add", "shown", "--role", "viewer"), service.environment) as terminal:
        terminal.until(b"orcha1.shown.")
        assert terminal.end() == 0
    assert keys_of(service).keys() == {"ci", "shown"}
