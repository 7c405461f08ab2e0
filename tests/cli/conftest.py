"""Fixtures for the tests of the command."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.emptying import empty
from support.command import Command
from support.service import RunningService, Serve


@pytest.fixture(scope="session")
def with_plugin(tmp_path_factory) -> Command:
    """Give a command with a plugin whose end is chosen by its argument, and which has found that plugin."""
    command = Command(tmp_path_factory.mktemp("with-plugin"))
    command.module("orcha_t", PLUGIN)
    command.settle()
    assert "tést - 1" in command.run("ls").stdout
    command.settle()  # bytecode came into the folder
    return command


@pytest.fixture
def orcha(with_plugin, tmp_path):
    """Give the command, in a world of its own, with that plugin, which it need not look for: a search costs 0.1 s."""
    command = Command(tmp_path, with_plugin.folder)
    shutil.copytree(with_plugin.home / "cache", command.home / "cache")
    return command


@pytest.fixture(scope="module")
def shared(request, tmp_path_factory) -> Iterator[RunningService]:
    """Give a service that runs as many commands at once as the module's AT_ONCE says; `service` is it, emptied."""
    home = Path(tempfile.mkdtemp(prefix="orcha-"))
    factory = Serve(home, tmp_path_factory.mktemp("shared"))
    service = factory(arguments=("serve", "commands"), environment={"ORCHA_COMMANDS": str(request.module.AT_ONCE)})
    yield service
    problems = factory.close()
    assert not problems, "; ".join(problems) + f"\nstderr of the service:\n{service.all_stderr()}"
    shutil.rmtree(home)


@pytest.fixture
def service(shared, monkeypatch) -> Iterator[RunningService]:
    """Give a service that runs commands, and on which nothing is when the test begins; the test only asks it things."""
    monkeypatch.setenv("ORCHA_HOME", str(shared.home))
    yield shared
    shared.end_clients()
    empty(shared)


@pytest.fixture
def own_service(request, serve) -> RunningService:
    """Give a service as `service` does, to be stopped, killed, or counted on."""
    return serve(arguments=("serve", "commands"), environment={"ORCHA_COMMANDS": str(request.module.AT_ONCE)})


PLUGIN = """
import sys
from orcha import properties
from orcha.exceptions import *
from orcha.plugins import BasePlugin

AT_IMPORT = (properties.listen_address, properties.port, properties.authkey, properties.systemd)

class plugin(BasePlugin):
    name = "t"
    help = "end as told, 100 % of the time"

    def create_parser(self, parser):
        parser.add_argument("code")

    def handle(self, namespace):
        return eval("lambda: " + namespace.code)()  # called outside eval(), which marks an interrupt for itself

    def can_handle(self, owner):
        return "unhandled" not in sys.argv and super().can_handle(owner)

    @staticmethod
    def version():
        return "tést - 1"

def throw(error):
    raise error
"""
