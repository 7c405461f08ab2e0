"""Sockets that systemd hands to a service: taken where they listen, refused with the cure where they cannot be used."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from orcha._protocol.endpoint import Endpoint
from orcha.exceptions import ConfigurationError
from support import warm

PLACE = """
import os, sys
for index, descriptor in enumerate(map(int, sys.argv[1:])):
    os.dup2(descriptor, 100 + index)
for index in range(len(sys.argv) - 1):
    os.dup2(100 + index, 3 + index)
os.closerange(3 + len(sys.argv) - 1, 200)
os.environ["LISTEN_PID"] = str(os.getpid())
"""
TAKE = """
from orcha._server.activation import passed_listeners
from orcha.exceptions import ConfigurationError
try:
    print([listener.getsockname() for listener in passed_listeners(os.environ)], "LISTEN_FDS" in os.environ)
except ConfigurationError as error:
    print(error)
for descriptor in (3, 4):
    try:
        os.fstat(descriptor)
    except OSError:
        continue
    print("open", descriptor)
"""


def handed_over(tmp_path, *listeners, program=TAKE, names="", **options):
    """Start a program as systemd does: with these sockets from descriptor 3 on."""
    environment = os.environ | {"LISTEN_FDS": str(len(listeners)), "LISTEN_FDNAMES": names}
    descriptors = [listener.fileno() for listener in listeners]
    command = [sys.executable, "-c", PLACE + program, *map(str, descriptors)]
    options = {"stdout": subprocess.PIPE, "text": True} | options
    return subprocess.Popen(command, env=environment, pass_fds=descriptors, cwd=tmp_path, **options)


def listening(path, kind=socket.SOCK_STREAM, *, listens=True):
    found = socket.socket(socket.AF_UNIX, kind)
    found.bind(str(path))
    if listens:
        found.listen(8)
    return found


def said(process):
    return process.communicate(timeout=60)[0].splitlines()


def test_several_sockets_are_taken_and_the_environment_says_nothing_of_them_any_more(tmp_path):
    with listening(tmp_path / "a") as first, listening(tmp_path / "b") as second:
        lines = said(handed_over(tmp_path, first, second, names="one:two"))
    assert lines[0] == f"{[str(tmp_path / 'a'), str(tmp_path / 'b')]} False"


def test_what_is_no_listening_unix_stream_socket_is_refused_with_the_cure(tmp_path):
    with listening(tmp_path / "ok") as good, listening(tmp_path / "d", socket.SOCK_DGRAM, listens=False) as datagrams:
        lines = said(handed_over(tmp_path, good, datagrams, names="good:bad"))
    assert "descriptor 4 (bad)" in lines[0]
    assert "ListenDatagram=" in lines[0]
    with socket.create_server(("127.0.0.1", 0)) as port:
        lines = said(handed_over(tmp_path, port))
    assert "is to be a path" in lines[0]
    assert "--port" in lines[0]
    with listening(tmp_path / "silent", listens=False) as silent:
        lines = said(handed_over(tmp_path, silent))
    assert "Accept=no" in lines[0]
    with (tmp_path / "file").open("wb") as file:
        lines = said(handed_over(tmp_path, file))
    assert "is no socket" in lines[0]
    assert len(lines) == 1  # nothing is left open


@pytest.mark.parametrize(
    "environment", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "3"}, {"LISTEN_PID": "own", "LISTEN_FDS": "many"}]
)
def test_what_another_process_was_handed_is_left_alone(environment):
    from orcha._server.activation import passed_listeners

    if environment.get("LISTEN_PID") == "own":
        environment["LISTEN_PID"] = str(os.getpid())
    assert passed_listeners(environment) == []
    assert environment == {}


# --- a service -------------------------------------------------------------------------------------------------------

SERVE = """
sys.argv = ["orcha", "serve", "commands"]
from orcha.bin.main import main
sys.exit(main())
"""


def stopped(service):
    service.terminate()
    rest = service.communicate(timeout=60)[1]
    assert service.returncode == 0, rest


def test_a_client_that_came_before_the_service_is_served_and_the_socket_outlives_it(orcha_home, tmp_path):
    endpoint = Endpoint("", 0, f"{orcha_home}/default")
    endpoint.make_folder()
    run = [sys.executable, "-m", "orcha", "run", "--", "echo", "served"]
    with listening(endpoint.socket_path) as listener, socket.socket(socket.AF_UNIX) as early:
        early.settimeout(60)
        early.connect(endpoint.socket_path)
        service = handed_over(tmp_path, listener, program=SERVE, stderr=subprocess.PIPE)
        early.shutdown(socket.SHUT_WR)
        while early.recv(4096):  # until it has been accepted, and closed since it says nothing
            pass
        assert warm.run(run, capture_output=True, text=True, timeout=60).stdout == "served\n"
        stopped(service)
        assert Path(endpoint.socket_path).is_socket()
        service = handed_over(tmp_path, listener, program=SERVE, stderr=subprocess.PIPE)
        assert service.stderr.readline().startswith("orcha: serving")
        assert warm.run(run, capture_output=True, text=True, timeout=60).stdout == "served\n"
        stopped(service)


def test_another_path_is_served_beside_the_own_one(orcha_home, answering, links, tmp_path):
    from orcha._server.listening import ListeningSockets

    endpoint = Endpoint("", 0, f"{orcha_home}/default")
    with listening(tmp_path / "elsewhere") as elsewhere:
        sockets = ListeningSockets(endpoint, others=False, report=print, passed=[elsewhere])
        assert {each.getsockname() for each in sockets.sockets} == {endpoint.socket_path, str(tmp_path / "elsewhere")}
        sockets.close()
    assert not Path(endpoint.socket_path).exists()
    assert (tmp_path / "elsewhere").exists()


def test_a_service_that_is_handed_what_it_cannot_use_does_not_begin(orcha_home, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as port:
        service = handed_over(tmp_path, port, program=SERVE, stderr=subprocess.PIPE)
        error = service.communicate(timeout=60)[1]
    assert service.returncode == ConfigurationError("").exit_code
    assert error.startswith("orcha: descriptor 3")
