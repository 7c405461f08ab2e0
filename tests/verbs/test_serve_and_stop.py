"""``orcha serve --background`` and ``orcha stop``, as people run them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from support.plugins_served import install
from support.ports import free_port
from support.processes import processes_of
from support.waiting import DEADLINE, wait_for

SLOW = """
import subprocess
from orcha.interfaces import Petition
from orcha.lib import Manager
from orcha.plugins import BasePlugin

class SlowManager(Manager):
    def convert_to_petition(self, m):
        def act(callback, petition):
            process = subprocess.Popen(["sleep", "1000"])
            callback(process)
            petition.communicate("goes\\n")
            process.wait()
        return Petition(m.id, m.extras.get("queue"), act, lambda p: True)
    def on_start(self, p): pass
    def on_finish(self, p): pass

class SlowPlugin(BasePlugin):
    name = "slow"
    manager = SlowManager
    def create_parser(self, parser): pass
    def handle(self, namespace): return 0
    @staticmethod
    def version(): return "slow - 1"

plugin = SlowPlugin
"""


@pytest.fixture
def orcha(serve, orcha_home):
    """Give a function that runs an orcha command at a port of the test's own, with its own home."""
    port = free_port()
    environment = serve.environment()

    def run(*words, port=port, **options):
        command = [os.sys.executable, "-m", "orcha", "--port", str(port), *words]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=2 * DEADLINE, check=False, **options
        )

    run.port = port
    run.folder = orcha_home / f"127.0.0.1-{port}"
    yield run
    run("stop", "--now")
    wait_for(lambda: not processes_of(orcha_home), what="the end of the daemon")


def test_a_daemon_serves_when_the_command_returns_and_has_gone_when_stop_returns(orcha, tmp_path, orcha_home):
    install(tmp_path, "alpha")
    started = orcha("serve", "--background", "alpha")
    assert (started.returncode, started.stdout) == (0, ""), started.stderr
    assert f"serving in the background on 127.0.0.1:{orcha.port}" in started.stderr
    pid = int((orcha.folder / "service.pid").read_text())
    assert os.getsid(pid) != os.getsid(0)
    assert pid in processes_of(orcha_home)
    listed = orcha("ps", "--json")
    assert (listed.returncode, json.loads(listed.stdout)) == (0, [])
    assert "orcha: serving alpha on" in (orcha.folder / "service.log").read_text()

    stopped = orcha("stop")
    assert (stopped.returncode, stopped.stdout, stopped.stderr) == (0, "", "")
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), what="its end")
    assert not (orcha.folder / "service.pid").exists()
    assert orcha("stop").returncode == 69


def test_a_second_daemon_is_told_who_serves(orcha, tmp_path):
    install(tmp_path, "alpha")
    assert orcha("serve", "--background", "alpha").returncode == 0
    pid = (orcha.folder / "service.pid").read_text().strip()
    second = orcha("serve", "--background", "alpha")
    assert second.returncode == 69
    assert f"is held by process {pid}" in second.stderr
    other = orcha("serve", "--background", "--pidfile", str(tmp_path / "other.pid"), "alpha")
    assert other.returncode == 69
    assert f"another service (pid {pid}) serves this endpoint already" in other.stderr
    assert orcha("ps").returncode == 0


def test_a_daemon_that_cannot_serve_says_why(orcha, tmp_path):
    install(tmp_path, "alpha")
    failed = orcha("serve", "--background", "--slots", "rig=many", "alpha")
    assert (failed.returncode, "'rig=many'" in failed.stderr) == (78, True), failed.stderr


def test_stop_now_gives_what_runs_no_time(serve, tmp_path):
    (tmp_path / "orcha_slow.py").write_text(SLOW)
    service = serve(arguments=("serve", "slow"))
    from orcha._wire import values
    from orcha._wire.messages import Item
    from orcha.lib import ClientManager

    client = ClientManager(listen_address=service.address, port=service.port)
    assert client.connect()
    queue = client.manager.Queue()
    item = Item(bytes(16), "a", values.encode({"queue": queue}), queue.__orcha_channel__)
    client.manager.client.submit([item], "slow")
    assert queue.get(timeout=DEADLINE) == "goes\n"
    stopped = service.run("stop", "--now")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert service.wait_for_end() == 0
    client.shutdown()


def test_stop_of_nobody_is_told(orcha):
    stopped = orcha("stop")
    assert stopped.returncode == 69
