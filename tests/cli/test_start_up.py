"""What a command imports: start-up time is a promise, and what is not imported costs nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "hello_world" / "orcha_hello_world"
HEAVY = {
    *(
        "importlib.metadata",
        "email",
        "rich",
        "psutil",
        "apsw",
        "asyncio",
        "cryptography",
        "typing_extensions",
        "logging",
    ),
    *("json", "pathlib", "subprocess", "ssl", "daemon", "uvloop"),
}
NOT_FOR_LS = {"typing", "dataclasses", "inspect", "socket", "multiprocessing", "threading"}


def imported(orcha, *arguments):
    """Give the modules that a warm run imports, beyond those of the bare interpreter."""

    def names(*command):
        run = subprocess.run(
            [orcha.python, "-X", "importtime", *command],
            env=orcha.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line for line in run.stderr.splitlines() if line.startswith("import time:")]
        return {line.rpartition("|")[2].strip() for line in lines}

    assert orcha.run("ls").returncode == 0
    script = str(Path(orcha.python).with_name("orcha"))
    return names(script, *arguments) - names("-c", "pass")


@pytest.fixture
def hello(orcha):
    shutil.copytree(FIXTURE, orcha.folder / "orcha_hello_world")
    orcha.settle()
    return orcha


def test_ls_imports_no_plugin_and_next_to_nothing(hello):
    found = imported(hello, "ls")
    assert "orcha.plugins.lp" in found
    assert found & (HEAVY | NOT_FOR_LS) == set()
    assert [name for name in found if name.startswith(("orcha_", "orcha._"))] == []


def test_help_imports_no_plugin(hello):
    assert [name for name in imported(hello, "--help") if name.startswith("orcha_")] == []


def test_a_client_imports_nothing_heavy(hello, free_port):
    found = imported(hello, "--port", str(free_port), "hello-world", "send", "m1")
    assert "orcha_hello_world.client" in found
    assert "orcha._client.client" in found
    assert found & HEAVY == set()
    assert [name for name in found if name.startswith(("orcha._service", "orcha._store", "orcha._core"))] == []
    assert {name for name in found if name.startswith("orcha.interfaces.")} == {
        "orcha.interfaces.message",
        "orcha.interfaces.petition",
        "orcha.interfaces.roles",
        "orcha.interfaces.service",
        "orcha.interfaces.state",
    }
