"""Fixtures for all tests. Helpers stand in `support`."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orcha import properties
from support.gates import Gate
from support.leaks import no_leaks
from support.ports import free_port as find_free_port
from support.service import RunningService, Serve

if TYPE_CHECKING:
    from orcha.lib import ClientManager

for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    # nohup(1), and a shell without job control for background jobs, have what they start ignore these.
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

_SERVE = pytest.StashKey[Serve]()
_ONCE = (
    *("bench", "core", "durability", "house", "output", "store", "typing"),
    *("commands/test_crash_points.py", "supervisor/test_limits.py"),
    *(f"service/test_{name}.py" for name in ("kept", "no_store", "order", "ps", "retention")),
    *(f"verbs/test_{name}.py" for name in ("about_one", "once", "pauses")),
)
"""Areas and files whose tests are about logic, disks, the kernel and this repository: no interpreter changes it."""
_EACH = ("durability/test_kills.py",)
"""Files among them that every interpreter has to stand."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of those areas."""
    for item in items:
        path = item.path.relative_to(Path(__file__).parent)
        if path.as_posix() not in _EACH and {path.parts[0], path.as_posix()}.intersection(_ONCE):
            item.add_marker("once")


@pytest.fixture(autouse=True)
def _no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves threads, children or descriptors behind in this process."""
    marker = request.node.get_closest_marker("may_leave")
    with no_leaks(frozenset(marker.args) if marker else frozenset()):
        yield


@pytest.fixture(autouse=True)
def _own_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep tests away from the user's own Orcha: no ORCHA_* variables, XDG folders in a temporary place."""
    for name in [name for name in os.environ if name.startswith("ORCHA_")]:
        monkeypatch.delenv(name)
    for name in properties.__all__:  # a test may run the command in this process
        monkeypatch.setattr(properties, name, getattr(properties, name))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


@pytest.fixture
def orcha_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a fresh ORCHA_HOME, set for this process too; short, since a Unix socket's path holds 107 bytes."""
    home = Path(tempfile.mkdtemp(prefix="orcha-"))
    monkeypatch.setenv("ORCHA_HOME", str(home))
    yield home
    shutil.rmtree(home)


@pytest.fixture
def free_port() -> int:
    """Give a loopback port on which nobody listens."""
    return find_free_port()


@pytest.fixture
def serve(request: pytest.FixtureRequest, orcha_home: Path, tmp_path: Path) -> Iterator[Serve]:
    """Give a function that starts real services; they are ended after the test, and must not have died before."""
    factory = Serve(orcha_home, tmp_path)
    request.node.stash[_SERVE] = factory
    yield factory
    problems = factory.close()
    logs = "\n".join(service.all_stderr() for service in factory.services)
    assert not problems, "; ".join(problems) + f"\nstderr of the service:\n{logs}"


@pytest.fixture
def service(serve: Serve) -> RunningService:
    """Give a running service whose petitions follow the script in their extras (`support.managers.ScriptManager`)."""
    return serve()


@pytest.fixture
def connect(orcha_home: Path) -> Iterator[Callable[[RunningService], ClientManager]]:
    """Give a function that connects a client in this process to a service; it is disconnected after the test."""
    from orcha.lib import ClientManager

    clients = []

    def connected(service: RunningService) -> ClientManager:
        client = ClientManager(listen_address=service.address, port=service.port)
        assert client.connect(), "the service refused the key"
        clients.append(client)
        return client

    yield connected
    for client in clients:
        client.shutdown()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Give a gate at which an action waits until the test opens it."""
    gate = Gate(tmp_path)
    yield gate
    gate.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Add the services' stderr to the report of a failure."""
    report = yield
    if call.when == "call" and report.failed and (factory := item.stash.get(_SERVE, None)):
        for number, service in enumerate(factory.services, 1):
            report.sections.append((f"stderr of service {number} (port {service.port})", service.all_stderr()))
    return report
