"""A service imports nothing once it serves: its files may be replaced, moved or removed under it."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import orcha
from orcha._service.lifecycle.preloading import PACKAGES, PROGRAMS, STANDARD_MODULES
from orcha.interfaces import Message
from support.interpreters import newest_too
from support.service import TESTS
from support.waiting import wait_for

ROOT = Path(orcha.__file__).parent
BEFORE = {
    *("cryptography", "cryptography.hazmat.primitives", "cryptography.hazmat.primitives.asymmetric"),
    *("daemon", "daemon.daemon", "uvloop"),
    "importlib.metadata",
}
"""What the start itself imports, or (the last one) what is not needed where Orcha is installed."""
SOURCE = """
import multiprocessing, os, subprocess, sys
from orcha.exceptions import ConditionFailed
from orcha.interfaces import CommandPetition, Petition, Policy, Retry
from orcha.lib import Manager
from orcha.utils import run_command

def say(petition):
    petition.communicate("from a child")

def act(callback, petition):
    petition.communicate(petition.kind)
    petition.communicate_nw({1, (2,)})
    if petition.kind == "child":
        process = multiprocessing.Process(target=say, args=(petition,))
        process.start()
        callback(process)
        process.join()
    if petition.kind == "program":
        callback(subprocess.Popen(["true"]))
        os.system("true")
        run_command(["echo", "a"], on_output=petition.communicate)
    if petition.kind == "fails":
        raise ValueError("no rig")
    if petition.kind == "stays":
        open(os.environ["STAYS_AT"]).read()
    petition.finish(0)

class Kind(Petition):
    kind = ""

class Watched(Manager):
    def setup(self):
        super().setup()
        self.register("modules", lambda: sorted(sys.modules))
        self.register("raises", lambda: 1 / 0)
    def convert_to_petition(self, m):
        kind = m.extras["kind"]
        if kind == "refused":
            raise KeyError(kind)
        if kind == "command":
            return CommandPetition(m.id, m.extras["queue"], condition=lambda _: True, argv=["sh", "-c", "echo a; cat"],
                                   stdin=True, policy=Policy(timeout=600))
        retry = Retry(times=1, delay=0.01) if kind == "fails" else None
        blocked = lambda _: ConditionFailed("no rig is free")
        petition = Kind(m.id, m.extras["queue"], act, blocked if kind == "waits" else lambda _: True,
                        policy=Policy(retry=retry, timeout=1.0 if kind == "stays" else None))
        petition.kind = kind
        return petition
    def on_start(self, petition): ...
    def on_finish(self, petition): ...
"""


def exercise(service):
    """Ask the service everything that a person may ask, with the commands of the build under test.

    Where the service runs from does not matter to a command; with another `orcha` on its path it would start anew.
    """
    environment = service.environment | {"PYTHONPATH": str(TESTS)}
    commands = [
        ("stats",),
        ("stats", "--json"),
        ("run", "--name", "told", "--", "sh", "-c", "echo out; echo err >&2"),
        ("ps",),
        ("ps", "--all", "--json"),
        ("show", "told"),
        ("logs", "told"),
        ("run", "-d", "--name", "there", "--", "sleep", "600"),
        ("pause", "there"),
        ("resume", "there"),
        ("cancel", "there"),
        ("wait", "told"),
        ("retry", "told"),
        ("wait", "told"),
        ("pause", "-a"),
        ("run", "-d", "--name", "later", "--", "true"),
        ("priority", "later", "-3"),
        ("resume", "-a"),
        ("cron", "add", "tick", "@daily", "--tz", "Europe/Berlin", "--", "true"),
        ("cron", "now", "tick"),
        ("cron", "show", "tick"),
        ("cron", "pause", "tick"),
        ("cron", "resume", "tick"),
        ("cron", "ls"),
        ("cron", "rm", "tick"),
    ]
    for command in commands:
        done = service.run(*command, env=environment) if command[0] in {"run", "logs"} else service.ask(*command)
        assert done.returncode in ({0} if command[0] != "wait" else {0, 1}), (command, done.stderr)
    wait_for(lambda: not service.ask("rm", "told").returncode, what="nothing of it is there, so that it is forgotten")
    assert service.run("run", "-i", "--", "cat", input="typed\n", env=environment).stdout == "typed\n"
    assert service.run("run", "--", "no-such-program-anywhere", env=environment).returncode == 127
    assert service.run("run", "--timeout", "0.1", "--", "sleep", "600", env=environment).returncode == 124


def lay_out(library, without=""):
    """Lay a copy of Orcha into a folder, but for what has this name."""
    shutil.copytree(ROOT, library / "orcha", ignore=shutil.ignore_patterns(without) if without else None)


def test_with_its_files_moved_away_a_service_goes_on(serve, tmp_path):
    library = tmp_path / "library"
    lay_out(library)
    path = os.pathsep.join([str(library), str(TESTS)])
    service = serve(arguments=("serve",), environment={"PYTHONPATH": path})
    assert service.run("run", "--", "true").returncode == 0
    assert "lies there" not in service.ask("ps").stderr
    library.rename(tmp_path / "moved")
    exercise(service)
    wait_for(lambda: "moved or removed" in service.ask("ps").stderr, what="the word that the files are gone")
    assert "moved or removed" in service.ask("stats").stdout
    assert service.process.poll() is None
    assert "Error" not in service.stderr()
    assert service.stop() == 0


@pytest.mark.parametrize("start_method", newest_too(["fork", "spawn", "forkserver"], "forkserver"))
def test_whatever_is_asked_of_it_a_service_imports_nothing(serve, connect, gate, start_method):
    environment = {"STAYS_AT": gate.path}
    service = serve("watched:Watched", source=SOURCE, start_method=start_method, environment=environment, warm=False)
    client = connect(service)
    client.register("modules")
    client.register("raises")
    before = set(client.modules())
    queue = client.manager.Queue()
    for kind in ("plain", "child", "program", "fails", "refused", "stays", "command", "waits"):
        client.send(Message(kind, {"kind": kind, "queue": queue}))
    with pytest.raises(ZeroDivisionError):
        client.raises()
    for asked in (("ps", "-a"), ("stats",), ("show", "command"), ("pause", "command"), ("resume", "command")):
        assert service.run(*asked).returncode == 0
    wait_for(lambda: "timed out" in service.ask("ps", "-a").stdout, what="the end of what stays", interval=2)
    for asked in (("cancel", "command"), ("cancel", "waits"), ("retry", "plain"), ("rm", "fails"), ("logs", "child")):
        service.run(*asked)
    wait_for(lambda: "running" not in service.ask("ps").stdout, what="the end of all", interval=0.2)
    assert set(client.modules()) - before == set()
    gate.open()  # else the service would wait for its thread when it stops


def imported_in_functions(node, *, inside=False):
    """Give the names of the modules that functions import; statements alone are looked at, since an import is one."""
    wanted = set()
    inside |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import) and inside:
            wanted |= {name.name for name in child.names}
        elif isinstance(child, ast.ImportFrom) and inside:
            wanted.add(child.module)
        elif isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            wanted |= imported_in_functions(child, inside=inside)
    return wanted


def test_what_functions_import_is_imported_before(tmp_path):
    wanted = set()
    for package in PACKAGES:
        for path in (ROOT / package.removeprefix("orcha.").replace(".", "/")).rglob("*.py"):
            if f"orcha.{'.'.join(path.relative_to(ROOT).with_suffix('').parts)}" not in PROGRAMS:
                wanted |= imported_in_functions(ast.parse(path.read_text()))
    assert len(wanted) > 20
    wanted -= BEFORE
    program = "import sys; from orcha._service.lifecycle.preloading import preload; preload(); print(*sys.modules)"
    known = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert wanted - set(known) == set()
    assert set(STANDARD_MODULES) <= set(known)


@pytest.mark.once
def test_an_older_build_goes_on_and_says_that_another_one_lies_there(serve, tmp_path):
    library = tmp_path / "library"
    lay_out(library)
    about = library / "orcha-0.0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: orcha\nVersion: 0.0.1\n")
    path = os.pathsep.join([str(library), str(TESTS)])
    service = serve(arguments=("serve",), environment={"PYTHONPATH": path})
    assert "0.0.1" in service.ask("stats").stdout
    shutil.rmtree(library / "orcha")
    lay_out(library, without="_service")
    for module in (ROOT / "_service").rglob("*.py"):
        broken = library / "orcha" / module.relative_to(ROOT)
        broken.parent.mkdir(exist_ok=True)
        broken.write_text("raise ImportError('another build')\n")
    (about / "METADATA").write_text("Name: orcha\nVersion: 9.9.9\n")
    exercise(service)
    said = "orcha 0.0.1 runs, and 9.9.9 lies there now"
    wait_for(lambda: said in service.ask("ps").stderr, what="the word about the other build")
    assert said in service.ask("stats").stdout
    assert service.stop() == 0
