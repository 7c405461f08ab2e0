"""`orcha key add --certificate`: a program of another machine comes in by its certificate, and has no secret."""

from __future__ import annotations

import json
import subprocess

import pytest
from cryptography import x509

from orcha._protocol.client_certificates import file_fingerprint
from support import warm
from support.authorities import Authority
from support.waiting import DEADLINE

AT_ONCE = 2
SPIFFE = "spiffe://lab/build"


@pytest.fixture
def elsewhere(own_service, tmp_path):
    """Give a function that starts orcha as on another machine, which has no key at all."""
    home = tmp_path / "elsewhere"
    home.mkdir(mode=0o700)
    environment = {**own_service.environment, "ORCHA_HOME": str(home)}

    def start(*words):
        command = [*own_service.orcha()[:3], *words]
        options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": DEADLINE}
        done = warm.run(command, env=environment, check=False, **options)
        assert not (home / "key").exists(), "no secret is made, or proved"
        return done

    return start


def findings(service):
    found = json.loads(service.run("doctor", "--json").stdout)["findings"]
    return [each["text"] for each in found if each["check"] == "certificate"]


@pytest.mark.slow
def test_a_program_has_its_key_by_its_certificate_until_that_is_revoked(own_service, elsewhere, tmp_path):
    service, authority = own_service, Authority(tmp_path)
    added = service.run("key", "add", "build", "--role", "submitter", "--certificate", f"uri:{SPIFFE}")
    assert (added.returncode, added.stdout) == (0, "")
    assert "without a secret" in added.stderr
    assert any(
        "certificates prove the keys build, and the service asks its clients for none" in each
        for each in findings(service)
    )

    certificate, its_key = authority.pair("127.0.0.1")
    file = service.home / "orcha.toml"
    file.write_text(f'[tls]\ncertificate = "{certificate}"\nkey = "{its_key}"\nclient_ca = "{authority.path}"\n')
    assert service.run("reload").returncode == 0
    assert findings(service) == []
    own, own_key = authority.pair("build", names=[x509.UniformResourceIdentifier(SPIFFE)])
    place = "--ca", str(authority.path), "--cert", str(own), "--cert-key", str(own_key)
    named = elsewhere("service", "add", "box", f"tls://127.0.0.1:{service.port}", *place)
    assert (named.returncode, named.stderr) == (0, "")
    done = elsewhere("--service", "box", "run", "-d", "--", "true")
    assert done.returncode == 0, done.stderr
    assert elsewhere("--service", "box", "drain").returncode != 0

    (row,) = json.loads(service.run("key", "ls", "--json").stdout)
    assert (row["certificate"], row["owner"], row["used"] is None) == (f"uri:{SPIFFE}", "key:build", False)
    assert service.run("key", "ls").stdout.splitlines()[0].split()[-1] == "CERTIFICATE"
    (petition,) = json.loads(service.ask("ps", "-a", "--json").stdout)
    assert petition["owner"] == "key:build"
    events = json.loads(service.ask("events", "--who", "build", "--json").stdout)
    assert {each["door"] for each in events} == {"certificate"}
    assert {each["verb"] for each in events} >= {"login", "submit", "drain"}
    who = json.loads(service.run("who", "--json").stdout)
    assert "key:build" in json.dumps(who)

    assert "key build, certificate, 127.0.0.1" in service.ask("events", "--who", "build").stdout
    doctor = elsewhere("--service", "box", "doctor")
    answers = f"no fault found; the service box answers at 127.0.0.1:{service.port}; `orcha doctor` on its machine"
    assert (doctor.returncode, doctor.stdout.startswith(answers)) == (0, True)
    assert elsewhere("service", "ls").stdout.split()[-1] == str(own)
    assert service.run("key", "renew", "build", "--certificate", str(certificate)).returncode == 0
    doctor = elsewhere("--service", "box", "doctor")
    told = "fault: connection: the service box does not answer: the service has no key for the certificate"
    assert (doctor.returncode, doctor.stdout.startswith(told)) == (1, True)
    refused = elsewhere("--service", "box", "ps")
    assert refused.returncode == 77
    assert "orcha key add NAME --role ROLE --certificate FILE" in refused.stderr
    refusals = service.ask("events", "--verb", "login").stdout
    wanted = f"no key is of its certificate ({file_fingerprint(str(own))}, cn:build, uri:{SPIFFE})"
    assert wanted in refusals
    assert service.run("key", "renew", "build", "--certificate", str(own)).returncode == 0
    assert elsewhere("--service", "box", "ps").returncode == 0
    authority.revoke(own)
    assert f"changed: the authority of clients {authority.path}: who came in by" in service.run("reload").stdout
    refused = elsewhere("--service", "box", "ps")
    assert (refused.returncode, "which its authority has revoked" in refused.stderr) == (77, True)
    authority.revoke()
    assert service.run("reload").returncode == 0
    assert elsewhere("--service", "box", "ps").returncode == 0
    assert service.run("key", "revoke", "build").returncode == 0
    assert elsewhere("--service", "box", "ps").returncode == 77


def test_what_is_no_certificate_is_refused_before_the_service_is_asked(own_service, tmp_path):
    empty = tmp_path / "empty.crt"
    empty.write_text("nothing")
    for certificate, said in (
        ("build", "is no name of a certificate: write dns:"),
        ("dns:*.example", "has a *: name one client"),
        ("SHA256:short", "a fingerprint is SHA256: and 43 characters"),
        (str(empty), "holds no certificate in PEM"),
    ):
        refused = own_service.run("key", "add", "build", "--role", "viewer", "--certificate", certificate)
        assert refused.returncode == 2
        assert said in refused.stderr
    assert own_service.run("key", "ls", "--json").stdout == "[]\n"
