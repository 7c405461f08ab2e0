"""API.md, orcha.plugins: `BasePlugin`, `ListPlugin`, `WatchdogPlugin`."""

from __future__ import annotations

import argparse
import errno
import queue

import pytest

import orcha.lib
from orcha.exceptions import AuthenticationError
from orcha.plugins import PLUGIN_LIST, BasePlugin, ListPlugin, WatchdogPlugin


class Hello(BasePlugin):
    name = "hello"
    aliases = ("hi",)
    help = "say hello"

    def create_parser(self, parser):
        parser.add_argument("who")

    def handle(self, namespace):
        return len(namespace.who)

    @staticmethod
    def version():
        return "hello - 1"


def build(kind):
    parser = argparse.ArgumentParser()
    return parser, kind(parser.add_subparsers())


def test_class_attributes_have_defaults():
    assert (BasePlugin.aliases, BasePlugin.help, BasePlugin.manager) == ((), None, None)


@pytest.mark.parametrize("word", ["hello", "hi"])
def test_is_built_with_argparses_subparsers_and_owns_its_command(word):
    parser, plugin = build(Hello)
    namespace = parser.parse_args([word, "you"])
    assert namespace.owner is plugin
    assert plugin.can_handle(namespace.owner)
    assert not plugin.can_handle(build(Hello)[1])
    assert plugin.handle(namespace) == 3


def test_its_parser_gets_a_version(capsys):
    parser, _ = build(Hello)
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["hello", "--version"])
    assert (end.value.code, capsys.readouterr().out) == (0, "hello - 1\n")


def test_a_version_of_the_plugins_own_stays(capsys):
    class Own(Hello):
        def create_parser(self, parser):
            parser.add_argument("--version", action="version", version="own")

    with pytest.raises(SystemExit):
        build(Own)[0].parse_args(["hello", "--version"])
    assert capsys.readouterr().out == "own\n"


def test_what_a_plugin_has_to_write_itself():
    class Bare(BasePlugin):
        name = "bare"

    with pytest.raises(NotImplementedError, match="create_parser"):
        build(Bare)
    with pytest.raises(NotImplementedError, match="version"):
        Bare.version()


def test_the_embedded_plugins():
    assert (WatchdogPlugin,) == PLUGIN_LIST
    assert (ListPlugin.name, ListPlugin.aliases) == ("list-plugins", ("ls",))
    assert (WatchdogPlugin.name, WatchdogPlugin.aliases) == ("watchdog", ("wd",))


class Client:
    """Stands for the client manager: its answers are on a queue from the start."""

    connects = True

    def __init__(self, *answers):
        self.manager = self
        self.answers = queue.Queue()
        for answer in answers:
            self.answers.put(answer)
        self.asked = []

    def connect(self):
        return self.connects

    def Queue(self):
        return self.answers

    def send_watchdog(self, queue=None):
        self.asked.append(queue)


@pytest.mark.parametrize(
    ("answers", "code", "line"),
    [
        ([0], 0, ""),
        ([None], 0, ""),
        ([errno.EPERM], errno.EPERM, "orcha: the service lives, but does not notify systemd\n"),
        (["the service stopped\n", 75], 75, "orcha: the service stopped\n"),
        ([], errno.ETIMEDOUT, "orcha: no answer from the service within 0.01 s\n"),
    ],
)
def test_watchdog_gives_the_services_answer(monkeypatch, capsys, answers, code, line):
    client = Client(*answers)
    monkeypatch.setattr(orcha.lib, "WatchdogClientManager", lambda: client, raising=False)
    parser, plugin = build(WatchdogPlugin)
    assert plugin.handle(parser.parse_args(["wd", "--timeout", "0.01"])) == code
    assert client.asked == [client.answers]
    assert capsys.readouterr().err == line


def test_watchdog_with_a_wrong_key(monkeypatch):
    client = Client()
    client.connects = False
    monkeypatch.setattr(orcha.lib, "WatchdogClientManager", lambda: client, raising=False)
    parser, plugin = build(WatchdogPlugin)
    with pytest.raises(AuthenticationError):
        plugin.handle(parser.parse_args(["watchdog"]))


def test_watchdog_tells_systemd_when_it_shall(monkeypatch, tmp_path):
    told = []
    monkeypatch.setattr("orcha.utils.systemd.notify", told.append)
    monkeypatch.setattr("orcha.properties.systemd", True)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setattr(orcha.lib, "WatchdogClientManager", lambda: Client(0), raising=False)
    parser, plugin = build(WatchdogPlugin)
    assert plugin.handle(parser.parse_args(["watchdog"])) == 0
    assert "READY=1" in told
