"""The document, word for word: install its plugin, list it, serve, send, read the lines."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import orcha
from support.document import CAUGHT, HELLO_WORLD, Document, lines
from support.waiting import wait_for

COMMAND = str(Path(sys.executable).parent / "orcha")


@pytest.fixture
def installed(tmp_path):
    """Install the document's plugin as pip does, without a network; give the folder it lies in."""
    source = shutil.copytree(HELLO_WORLD, tmp_path / "source")
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index"]
    subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--target", str(target), str(source)],
        check=True,
        capture_output=True,
        cwd=tmp_path,
    )
    return target


@pytest.mark.slow
def test_the_installed_plugin_is_listed_serves_and_prints_its_lines_as_they_come(serve, installed):
    only = {"PYTHONPATH": str(installed)}
    listing = subprocess.run([COMMAND, "ls"], env={**serve.environment(), **only}, capture_output=True, check=True)
    assert listing.stdout.decode() == (
        f"orcha - {orcha.version()}\n"
        f"├ list-plugins* - {orcha.version()}\n"
        "├ orcha-hello-world - 0.1.0\n"
        f"└ watchdog* - {orcha.version()}\n"
        "\n"
        "Plugins marked with an asterisk (*) are embedded plugins\n"
    )
    document = Document(serve, "hello-world", **only)
    assert document.send("m1", counter=3, sleep_time=0.01).ended() == (lines(3), "", 0)
    client = document.send("m2", counter=3, sleep_time=1000)
    assert client.line().strip() == b"Hello world! 0"  # it left when it was put, not at the end
    client.interrupt()
    assert client.ended() == (b"\r" + CAUGHT, "", 130)
    document.wait_until_idle()


def free_again(document, identity):
    """Send it again; give what came of it, or None where the action of the first one has not returned yet."""
    ended = document.send(identity).ended()
    return None if b" is taken by a petition that is ended" in ended[0] else ended


def test_stdout_is_byte_for_byte_what_the_document_prints(serve):
    document = Document(serve, "hello-world")
    assert document.send("m1", counter=3, sleep_time=0.01).ended() == (lines(3), "", 0)
    again = wait_for(lambda: free_again(document, "m1"), what="the id is free again")
    assert again == (lines(1), "", 0)


@pytest.mark.once
@pytest.mark.parametrize("name", ["hw", "hello-world"])
@pytest.mark.parametrize("command", [[COMMAND], [sys.executable, "-m", "orcha"]], ids=["orcha", "python -m orcha"])
def test_no_option_is_needed_on_either_side(serve, free_port, monkeypatch, command, name):
    # what needs no option listens where the properties say; the tests' port stands in for 50000
    sitecustomize = f"import orcha.properties; orcha.properties.port = {free_port}\n"
    folder = serve.folder
    (folder / "sitecustomize.py").write_text(sitecustomize)
    environment = {**serve.environment(), "PYTHONPATH": f"{folder}:{HELLO_WORLD}"}
    with subprocess.Popen(
        [*command, name, "serve"], env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as service:
        try:
            assert service.stderr.readline() == b"orcha: serving ServiceManager on 127.0.0.1:%d\n" % free_port
            sent = subprocess.run([*command, name, "send", "m1"], env=environment, capture_output=True, check=False)
            assert (sent.stdout, sent.stderr, sent.returncode) == (lines(1), b"", 0)
        finally:
            service.terminate()
        assert service.wait(30) == 0


def test_address_port_and_key_before_the_command_reach_managers_built_without_arguments(serve, free_port):
    where = ["--listen-address", "127.0.0.2", "--port", str(free_port), "--key", "open sesame, says the key"]
    environment = {**serve.environment(), "PYTHONPATH": str(HELLO_WORLD)}
    with subprocess.Popen(
        [COMMAND, *where, "hw", "serve"], env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as service:
        try:
            assert service.stderr.readline() == b"orcha: serving ServiceManager on 127.0.0.2:%d\n" % free_port
            send = [COMMAND, *where, "hw", "send", "m1"]
            sent = subprocess.run(send, env=environment, capture_output=True, check=False)
            assert (sent.stdout, sent.stderr, sent.returncode) == (lines(1), b"", 0)
            elsewhere = [COMMAND, "--port", str(free_port), "hw", "send", "m1"]
            nobody = subprocess.run(elsewhere, env=environment, capture_output=True, check=False)
            assert nobody.returncode == 69  # the address given before counts: nobody listens on 127.0.0.1
        finally:
            service.terminate()
        assert service.wait(30) == 0


def test_the_service_and_its_client_are_reached_through_python_dash_m_from_any_folder(serve, tmp_path):
    document = Document(serve, "hello-world")
    (tmp_path / "elsewhere").mkdir()
    sent = document.send("m1", cwd=tmp_path / "elsewhere")
    assert sent.ended() == (lines(1), "", 0)
    document.wait_until_idle()
