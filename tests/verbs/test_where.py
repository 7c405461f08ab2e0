"""Where ``orcha serve`` listens and where clients look, with and without options and variables."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import warm
from support.ports import free_port
from support.processes import processes_of
from support.waiting import DEADLINE, wait_for

PLUGINS_PORT = """
import orcha.properties, orcha.utils.place
orcha.properties.port = orcha.utils.place.PORT = {port}
"""
"""Another port in place of 50000, where plugins' own services listen by default: tests of others may run now."""
COMMAND = """
import sys
from orcha.bin.main import main
sys.exit(main())
"""
"""What ``python -m orcha`` runs."""
OWN = """
import sys
from orcha.interfaces import ServiceWrapper, start_service
from orcha_{plugin} import {name}Manager
start_service(ServiceWrapper({name}Manager()))
"""


class OneUser:
    """One user's services and clients, run without any option but those that a test gives."""

    def __init__(self, folder: Path, home: Path, environment: dict[str, str]) -> None:
        self.port = free_port()
        self.folder, self.home = folder, home
        self.environment = environment
        self._running: list[subprocess.Popen[str]] = []
        self.beginning = PLUGINS_PORT.format(port=self.port)
        self._orcha = [sys.executable, "-P", "-c", self.beginning + COMMAND]

    def orcha(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run an orcha command to its end."""
        return warm.run(
            [*self._orcha, *words],
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE,
        )

    def serve(self, *words: str, **variables: str) -> tuple[subprocess.Popen[str], str]:
        """Start ``orcha WORDS`` in the foreground; give it, and where it says that it serves."""
        return self._start([*self._orcha, *words], variables)

    def serve_own(self, plugin: str) -> tuple[subprocess.Popen[str], str]:
        """Start a plugin's own service, as its author would."""
        source = OWN.format(plugin=plugin, name=plugin.capitalize())
        return self._start([sys.executable, "-c", self.beginning + source], {})

    def _start(self, command: list[str], variables: dict[str, str]) -> tuple[subprocess.Popen[str], str]:
        process = warm.Popen(
            command, env=self.environment | variables, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self._running.append(process)
        line = process.stderr.readline()
        assert line.startswith("orcha: serving "), line
        return process, line.rpartition(" on ")[2].strip()

    def end(self, process: subprocess.Popen[str]) -> None:
        """Stop a service, and wait for its end."""
        process.terminate()
        process.communicate(timeout=2 * DEADLINE)
        self._running.remove(process)

    def close(self) -> None:
        """Stop what still serves."""
        for process in list(self._running):
            self.end(process)


@pytest.fixture
def user(with_plugins, serve, tmp_path, orcha_home):
    """Give a user with the plugins alpha and beta."""
    serve.know_plugins()
    made = OneUser(tmp_path, orcha_home, serve.environment() | with_plugins)
    yield made
    made.close()
    wait_for(lambda: not processes_of(orcha_home), what="the end of all services")


def ports_of(pid: int) -> list[str]:
    """Give the local addresses, as the kernel writes them, at which a process listens on TCP."""
    sockets = {str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
    tables = [Path(f"/proc/{pid}/net/{name}").read_text().splitlines() for name in ("tcp", "tcp6")]
    lines = [line.split() for table in tables for line in table]
    return [line[1] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets]


# --- the default service ---------------------------------------------------------------------------------------------


def test_without_options_it_listens_on_its_unix_socket_alone_and_is_found(user):
    process, place = user.serve("serve")
    assert place == f"{user.home}/default/orcha.sock"
    assert ports_of(process.pid) == []
    ran = user.orcha("run", "--", "echo", "here")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "here\n", "")
    assert user.orcha("stats").returncode == 0
    assert user.orcha("stop").returncode == 0
    assert process.wait(DEADLINE) == 0


def test_in_the_background_it_is_the_same_one(user):
    started = user.orcha("serve", "--background")
    assert started.returncode == 0, started.stderr
    assert f"serving in the background on {user.home}/default/orcha.sock" in started.stderr
    second = user.orcha("serve", "--background")
    assert (second.returncode, f"{user.home}/default" in second.stderr) == (69, True)
    assert user.orcha("run", "--", "echo", "here").stdout == "here\n"
    assert user.orcha("stop").returncode == 0
    wait_for(lambda: not (user.home / "default" / "service.pid").exists(), what="the daemon's own end")


def test_two_users_services_do_not_meet(user, tmp_path):
    other = OneUser(tmp_path, tmp_path / "other", user.environment | {"ORCHA_HOME": str(tmp_path / "other")})
    try:
        user.serve("serve", "commands")
        other.serve("serve", "commands")
        assert user.orcha("run", "--", "echo", "mine").stdout == "mine\n"
        assert other.orcha("ps", "--all", "--json").stdout.strip() == "[]"
    finally:
        other.close()


# --- plugins' own services -------------------------------------------------------------------------------------------


def test_a_plugins_client_finds_its_manager_in_the_default_service(user):
    user.serve("serve")
    for plugin in ("alpha", "beta"):
        ran = user.orcha(plugin, "m1")
        assert (ran.returncode, ran.stdout) == (0, f"{plugin} runs m1\n{plugin}\n"), ran.stderr


def test_a_plugins_own_service_comes_first_for_its_clients_and_the_default_one_for_verbs(user):
    own, place = user.serve_own("alpha")
    assert place == f"127.0.0.1:{user.port}"
    assert user.orcha("alpha", "in its own").stdout == "alpha runs in its own\nalpha\n"
    seen = json.loads(user.orcha("ps", "--all", "--json").stdout)
    assert [row["id"] for row in seen] == ["in its own"]  # verbs find it where there is no default service
    user.serve("serve")
    assert user.orcha("alpha", "still in its own").returncode == 0
    assert json.loads(user.orcha("ps", "--all", "--json").stdout) == []
    user.end(own)
    assert user.orcha("alpha", "in the default one").returncode == 0
    assert [row["id"] for row in json.loads(user.orcha("ps", "--all", "--json").stdout)] == ["in the default one"]


STAYS = """
import sys
from orcha.interfaces import Message
from orcha.lib import ClientManager
client = ClientManager()
client.plugin_name = "alpha"
client.connect()
print("connected", flush=True)
for line in sys.stdin:
    queue = client.manager.Queue()
    client.send(Message(line.strip(), {"queue": queue}))
    while isinstance(value := queue.get(), str):
        print(value, end="", flush=True)
client.shutdown()
"""


def test_a_client_stays_with_the_service_that_it_found(user):
    default, _ = user.serve("serve", "alpha")
    with warm.Popen(
        [sys.executable, "-c", user.beginning + STAYS],
        env=user.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as client:
        assert client.stdout.readline() == "connected\n"
        user.end(default)
        user.serve_own("alpha")
        client.stdin.write("sent while it was away\n")
        client.stdin.flush()
        user.serve("serve", "alpha")
        assert client.stdout.readline() == "alpha runs sent while it was away\n"
        client.stdin.close()
        assert client.wait(DEADLINE) == 0
    assert [row["id"] for row in json.loads(user.orcha("ps", "--all", "--json").stdout)] == ["sent while it was away"]


# --- a TCP port where one is asked for -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (["--port", "{port}"], {}),
        (["--listen-address", "127.0.0.2", "--port", "{port}"], {}),
        ([], {"ORCHA_PORT": "{port}"}),
        ([], {"ORCHA_PORT": "{port}", "ORCHA_LISTEN_ADDRESS": "127.0.0.2"}),
        (["--port", "{port}"], {"ORCHA_LISTEN_ADDRESS": "127.0.0.2", "ORCHA_PORT": "1"}),
    ],
)
def test_a_port_is_opened_where_an_option_or_the_environment_asks_for_it(user, words, variables):
    port = free_port()
    words = [word.format(port=port) for word in words]
    variables = {name: value.format(port=port) for name, value in variables.items()}
    address = "127.0.0.2" if "127.0.0.2" in [*words, *variables.values()] else "127.0.0.1"
    process, place = user.serve(*words, "serve", **variables)
    assert place == f"{address}:{port}"
    assert len(ports_of(process.pid)) == 1
    assert user.orcha(*words, "run", "--", "echo", "there", **variables).stdout == "there\n"
    assert user.orcha(*words, "alpha", "m1", **variables).returncode == 0
    assert user.orcha("ps").returncode == 69  # it is not the default service


def test_port_0_gives_the_default_service_a_free_port_besides(user, orcha_home):
    for _ in range(2):
        process, place = user.serve("--port", "0", "serve")
        assert re.fullmatch(r"127\.0\.0\.1:[1-9][0-9]*", place)
        assert len(ports_of(process.pid)) == 1
        assert user.orcha("run", "--detach", "--", "true").returncode == 0
        assert user.orcha("ps", ORCHA_PORT="0").returncode == 0
        over_tcp = user.orcha("--port", place.rpartition(":")[2], "ps")
        assert over_tcp.returncode == 0, over_tcp.stderr
        user.end(process)
    user.serve("serve")  # with or without a port it is the same service, and keeps what it has
    assert len(json.loads(user.orcha("ps", "--all", "--json").stdout)) == 2
    assert sorted(path.name for path in orcha_home.iterdir() if path.is_dir()) == ["cache", "default"]


@pytest.mark.parametrize("text", ["x", "-1", "65536", "1.5", "٣"])
@pytest.mark.parametrize("words", [["serve"], ["ps"], ["alpha", "m1"]])
def test_a_port_in_the_environment_that_is_none_is_told(user, text, words):
    told = user.orcha(*words, ORCHA_PORT=text)
    assert (told.returncode, told.stderr) == (
        78,
        f"orcha: ORCHA_PORT is {text!r}: set it to a port, 0 to 65535\n",
    )


def test_a_program_without_the_command_reads_the_environment_too(user):
    port = free_port()
    code = "from orcha.lib import ClientManager as C; c, d = C(), C('::1', 7); print(c.port, c.listen_address, d.port)"
    environment = user.environment | {"ORCHA_PORT": str(port), "ORCHA_LISTEN_ADDRESS": "127.0.0.3"}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout == f"{port} 127.0.0.3 7\n"


# --- no service, and the key file ------------------------------------------------------------------------------------


def test_where_no_service_is_found_it_is_told_where_it_was_looked_for_and_what_to_do(user):
    default, own = f"{user.home}/default/orcha.sock", f"{user.home}/127.0.0.1-{user.port}/orcha.sock"
    told = user.orcha("ps")
    assert (told.returncode, told.stdout, told.stderr.count("\n")) == (69, "", 1)
    assert told.stderr.startswith(f"orcha: no service answers; tried {default} and {own}: start it (orcha serve")
    told = user.orcha("alpha", "m1")
    assert told.returncode == 69
    assert f"tried 127.0.0.1:{user.port} (Connection refused) and {default}: start it (orcha serve" in told.stderr


def test_a_key_file_can_be_named(user, tmp_path):
    port, path = str(free_port()), tmp_path / "their-key"
    missing = user.orcha("--port", port, "ps", ORCHA_KEY_FILE=str(path))
    assert (missing.returncode, path.exists()) == (69, False)
    user.serve("--port", port, "serve", ORCHA_KEY_FILE=str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert not (user.home / "key").exists()
    (user.home / f"127.0.0.1-{port}" / "orcha.sock").rename(tmp_path / "hidden.sock")  # so that the key counts
    wrong = user.orcha("--port", port, "ps")
    assert wrong.returncode == 77
    assert user.orcha("--port", port, "ps", ORCHA_KEY_FILE=str(path)).returncode == 0
    none = user.orcha("--port", port, "ps", ORCHA_KEY_FILE=str(tmp_path / "none"))
    assert (none.returncode, none.stderr.count("\n")) == (78, 1)
    assert f"ORCHA_KEY_FILE names {tmp_path}/none, which is not there" in none.stderr
