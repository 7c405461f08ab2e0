"""Plugins for tests of a service with several managers."""

from __future__ import annotations

from pathlib import Path

ALPHA = """
import os, time
from orcha.interfaces import Petition
from orcha.lib import Manager
from orcha.plugins import BasePlugin

class {name}Manager(Manager):
    def setup(self):
        super().setup()
        self.register("whoami", lambda: "{plugin}")

    def convert_to_petition(self, m):
        most = m.extras.get("most", 100)
        def act(callback, petition):
            petition.communicate("{plugin} runs " + str(petition.id) + "\\n")
            while m.extras.get("hold") and os.path.exists(m.extras["hold"]):
                time.sleep(0.005)
            petition.finish(m.extras.get("code", 0))
        def may_run(petition):
            assert not self.is_running("of another manager")
            return self.running_processes < most
        return Petition(m.id, m.extras.get("queue"), act, may_run)

    def on_start(self, petition): pass
    def on_finish(self, petition): pass

class {name}Plugin(BasePlugin):
    name = "{plugin}"
    manager = {name}Manager

    def create_parser(self, parser):
        parser.add_argument("id")

    def handle(self, namespace):
        from orcha.interfaces import Message
        from orcha.lib import ClientManager
        client = ClientManager()
        client.connect()
        queue = client.manager.Queue()
        client.send(Message(namespace.id, {{"queue": queue}}))
        while isinstance(value := queue.get(), str):
            print(value, end="")
        client.register("whoami")
        print(client.whoami())
        client.shutdown()
        return value

    @staticmethod
    def version():
        return "orcha-{plugin} - 1"

plugin = {name}Plugin
"""


def install(folder: Path, *plugins: str) -> None:
    """Install plugins whose managers do what their messages say, into a folder of PYTHONPATH."""
    for plugin in plugins:
        text = ALPHA.format(name=plugin.capitalize(), plugin=plugin)
        (folder / f"orcha_{plugin}.py").write_text(text)
