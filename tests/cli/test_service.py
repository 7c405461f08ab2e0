"""`orcha service`: services of other machines have names, and each is recognised by its certificate."""

from __future__ import annotations

import json
import subprocess
import tomllib

import pytest

from orcha._cli.service_file import OwnHandError, with_entry, without_entry
from support import warm
from support.authorities import Authority
from support.waiting import DEADLINE

AT_ONCE = 2


@pytest.fixture
def elsewhere(own_service, tmp_path):
    """Give a function that starts orcha as on another machine, which knows the service by its name alone."""
    home = tmp_path / "elsewhere"
    home.mkdir(mode=0o700)
    environment = {**own_service.environment, "ORCHA_HOME": str(home)}

    def start(*words, spawn=False):
        command = [*own_service.orcha()[:3], *words]
        if spawn:
            return own_service.spawn(*command, env=environment, stdout=-1, stderr=-1, text=True)
        options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": DEADLINE}
        return warm.run(command, env=environment, check=False, **options)

    return start


def fingerprint(elsewhere):
    (row,) = json.loads(elsewhere("service", "ls", "--json").stdout)
    return row["fingerprint"]


@pytest.mark.slow
def test_a_service_is_recognised_while_its_certificate_is_changed_below_it(own_service, elsewhere, tmp_path):
    service, authority = own_service, Authority(tmp_path)
    place, key = f"tls://127.0.0.1:{service.port}", str(tmp_path / "ops.key")
    assert service.run("key", "add", "ops", "--role", "admin", "--out", key).returncode == 0
    added = elsewhere("service", "add", "box", place, "--key-file", key)
    assert (added.returncode, added.stderr) == (0, "")
    first = fingerprint(elsewhere)
    assert added.stdout == f"box: 127.0.0.1:{service.port}, {first}\n"
    assert elsewhere("service", "add", "box", place).returncode == 78
    own = service.run("run", "-d", "--", "sh", "-c", "echo begins; exec sleep 600").stdout.strip()
    follower = elsewhere("--service", "box", "attach", own, spawn=True)
    assert follower.stdout.readline() == "begins\n"

    certificate, its_key = authority.pair("127.0.0.1")
    file = service.home / "orcha.toml"
    file.write_text(f'[tls]\ncertificate = "{certificate}"\nkey = "{its_key}"\n')
    assert f"changed: the certificate {certificate} (SHA256:" in service.run("reload").stdout
    refused = elsewhere("--service", "box", "ps")
    assert (refused.returncode, refused.stdout) == (77, "")
    assert all(part in refused.stderr for part in (first, "HAS CHANGED", "known_services", "orcha service trust box"))
    trusted = elsewhere("service", "trust", "box")
    assert (trusted.returncode, trusted.stdout.endswith(f", and was {first}\n")) == (0, True)
    assert elsewhere("--service", "box", "ps").stdout.count(own) == 1

    its_key.write_bytes(authority.pair("127.0.0.1")[1].read_bytes())
    told = f"{file}:3"
    reloaded = service.run("reload")
    assert (reloaded.returncode, told in reloaded.stderr) == (78, True)
    checked = service.run("config", "check")
    assert (checked.returncode, checked.stdout.startswith(f"{told}:")) == (78, True)
    found = json.loads(service.run("doctor", "--json").stdout)["findings"]
    assert any(each["check"] == "certificate" and told in each["text"] for each in found)
    assert elsewhere("--service", "box", "ps").returncode == 0

    file.unlink()
    assert "changed: a certificate of its own (" in service.run("reload").stdout
    assert elsewhere("service", "trust", "box").returncode == 0
    assert fingerprint(elsewhere) == first
    assert service.run("cancel", own).returncode == 0
    follower.communicate(timeout=DEADLINE)
    assert follower.returncode == 130
    service.stop()
    service.start()
    assert elsewhere("--service", "box", "ps").returncode == 0
    assert elsewhere("service", "rm", "box").returncode == 0
    assert elsewhere("service", "ls", "--json").stdout == "[]\n"
    assert elsewhere("service", "rm", "box").returncode == 1


OWN = """# my services
[services]
lab = "unix:/srv/lab/orcha.sock"   # of the lab
"of us" = { at = "/srv/us.sock" }

[services.old]
# until May
at = "tls://old:1"
key = "/home/me/old.key"
"""


@pytest.mark.parametrize("text", ["", OWN, OWN.rstrip("\n"), "# nothing\n"])
def test_a_service_is_added_and_taken_out_and_the_rest_stays(text):
    fields = {"at": "tls://box:1", "key": '/a "b"'}
    added = with_entry(text, "box", fields)
    assert added.startswith(text)
    assert tomllib.loads(added)["services"]["box"] == fields
    assert without_entry(added, "box").rstrip("\n") == text.rstrip("\n")


@pytest.mark.parametrize(("name", "stays"), [("lab", "of us"), ("of us", "# until May"), ("old", "# my services")])
def test_what_people_wrote_is_taken_out_and_nothing_else(name, stays):
    made = without_entry(OWN, name)
    before, after = tomllib.loads(OWN)["services"], tomllib.loads(made)["services"]
    assert after == {each: value for each, value in before.items() if each != name}
    assert stays in made


@pytest.mark.parametrize(
    "text",
    ['services = { box = "/a", b = "/b" }\n', '[services]\nbox = { at = """\n/a""" }\n', '[services."box"]\nat="/a"\n'],
)
def test_what_cannot_be_changed_by_itself_is_left_to_people(text):
    try:
        made = without_entry(text, "box")
    except OwnHandError:
        return
    assert "box" not in tomllib.loads(made).get("services", {})


def test_nothing_is_added_where_the_table_is_closed():
    with pytest.raises(OwnHandError):
        with_entry('services = { b = "/b" }\n', "box", {"at": "/a"})
