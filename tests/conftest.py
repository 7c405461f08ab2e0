"""Fixtures for all tests. Helpers stand in `support`."""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from orcha import properties
from support import side_by_side
from support.gates import Gate, Latch
from support.hanging import HangReports
from support.leaks import no_leaks
from support.ports import free_port as find_free_port
from support.service import RunningService, Serve
from support.warm import WARM

if TYPE_CHECKING:
    from orcha.lib import ClientManager

for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    # nohup(1), and a shell without job control for background jobs, have what they start ignore these.
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

# Properties are looked at without a clock, however loaded the machine is.
settings.register_profile("without a clock", settings.get_profile(settings.get_current_profile_name()), deadline=None)
settings.load_profile("without a clock")

_SERVE = pytest.StashKey[Serve]()
_HANGS = pytest.StashKey[HangReports]()
_XDG = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")
_numbers = itertools.count(1)
_EACH: dict[str, tuple[str, ...]] = {
    # what sockets, TLS, asyncio, threads and locks do
    "client": (),
    "protocol": (),
    "server": ("client_certificates", "dial", "ports", "rare", "server"),
    # what fork and exec, signals, daemons, exits and start methods do
    "api": (),
    "processes": ("attempts", "helpers", "interrupts", "lock", "system", "tags"),
    "supervisor": ("handover_log", "output", "protocol", "running", "shim"),
    "verbs": ("serve_and_stop",),
    "service": (
        "ctrl_c",
        "dying_threads",
        "feeding",
        "group_signals",
        "managers",
        "moved",
        "start_methods",
        "timers",
        "mailbox",
        "verbatim",
    ),
    "commands": ("command_manager", "output", "running", "service"),
    # what argparse, standard streams, terminals and encodings do
    "cli": ("bytes", "help", "main", "start_up", "terminal"),
    # what importing, and asking for installed distributions, does
    "plugins": ("base", "discovery", "install"),
    "examples": ("hello",),
    # what the extension modules do that are built for each interpreter
    "output": (),
    "store": ("conformance", "migrations"),
    "durability": ("kills",),
    # what tests themselves do with processes
    "house": ("support", "warm"),
}
"""Areas, and their files where not all of an area is meant, that the oldest and the newest interpreter have to stand.

All else is about decisions, texts, disks, the kernel and this repository: no interpreter changes it.
"""
_BETWEEN: dict[str, tuple[str, ...]] = {
    "api": ("service", "top_level", "utils"),
    "client": ("channel", "processes"),
    "protocol": ("handshake",),
    "server": ("server",),
    "supervisor": ("running",),
    "service": ("feeding", "mailbox", "timers"),
    "commands": ("running",),
    "cli": ("bytes",),
    "plugins": ("base",),
    "examples": ("hello",),
    "store": ("conformance",),
    "house": ("support",),
}
"""Of these the files that interpreters between the two stand as well: one for each thing that could break there.

What changes between two interpreters is there in the newer one too, unless it was taken back.
"""


@cache
def _is_named(path: Path, kind: str) -> bool:
    """Tell whether a file stands in `_EACH`, or in `_BETWEEN`."""
    named = {"each": _EACH, "between": _BETWEEN}[kind]
    area, *_, name = path.relative_to(Path(__file__).parent).with_suffix("").parts
    return area in named and not (named[area] and name.removeprefix("test_") not in named[area])


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run have several processes."""
    parser.addoption("--processes", type=int, default=0, help="how many processes run tests, forked from this one")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Warm up the interpreter from which programs under test are forked, while tests are collected here."""
    WARM.start()
    if not session.config.option.processes:
        _begin(session.config)


def _begin(config: pytest.Config) -> None:
    """Begin in a process that runs tests."""
    config.stash[_HANGS] = HangReports()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the tests side by side, where that was asked for and all were collected."""
    option = session.config.option
    if not option.processes or option.collectonly or session.testsfailed:
        return None
    return side_by_side.run(session, option.processes, _begin)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End that interpreter."""
    WARM.stop()
    if _HANGS in session.config.stash:
        session.config.stash[_HANGS].close()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Have it said where a test hangs."""
    item.config.stash[_HANGS].begin()


@pytest.hookimpl(tryfirst=True)
def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """Do as pytest does for its own time limits, where a person may look at what failed."""
    if (hangs := node.config.stash.get(_HANGS, None)) is not None:
        hangs.pause()


@pytest.hookimpl(tryfirst=True)
def pytest_enter_pdb(config: pytest.Config) -> None:
    """Do the same."""
    config.stash[_HANGS].pause()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even read the files of which no test is to run."""
    kind = {"not once": "each", "not once and not newest": "between"}.get(config.option.markexpr)
    left_out = kind is not None and collection_path.name.startswith("test_") and not _is_named(collection_path, kind)
    return True if left_out else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among the tests, which all stay: each of these looks takes half a second."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that one interpreter runs, and let each process begin with its share of the slow tests.

    Each process of a run gets a part of the list in one piece; an idle one takes what stands last in another's.
    """
    slow: list[pytest.Item] = []
    quick: list[pytest.Item] = []
    for item in items:
        is_slow = item.get_closest_marker("slow") is not None
        (slow if is_slow else quick).append(item)
        if not _is_named(item.path, "each"):
            item.add_marker("once")
        elif is_slow or not _is_named(item.path, "between"):
            item.add_marker("newest")
    processes = config.option.processes or 1
    at, size = 0, len(items) / processes
    items.clear()
    for number in range(processes):
        items += slow[number::processes]
        enough = at + max(0, round((number + 1) * size) - len(items))
        items += quick[at:enough]
        at = enough
    items += quick[at:]


@pytest.fixture(autouse=True)
def _alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests apart: from the user's own Orcha, and from the threads, children and descriptors of earlier tests.

    A test has no ORCHA_* variables, and XDG folders in a temporary place. That place is not the test's `tmp_path`: most
    tests need none, and to make and remove it costs as much as they do. Each fixture of all tests costs 0.2 ms a test
    beside what it does; so this is one fixture, and asks for no `monkeypatch`.
    """
    marker = request.node.get_closest_marker("may_leave")
    place = f"{tmp_path_factory.getbasetemp()}/xdg-{next(_numbers)}"
    changed = {name: None for name in os.environ if name.startswith("ORCHA_")}
    changed |= {name: f"{place}/{name.lower()}" for name in _XDG}
    with no_leaks(frozenset(marker.args) if marker else frozenset()):
        before = {name: os.environ.get(name) for name in changed}
        values = {name: getattr(properties, name) for name in properties.__all__}
        _set_variables(changed)
        yield
        _set_variables(before)
        vars(properties).update(values)  # a test may run the command in this process
        if os.path.exists(place):  # noqa: PTH110 - a path of pathlib costs more than the look
            shutil.rmtree(place)


def _set_variables(values: Mapping[str, str | None]) -> None:
    """Set variables of this process; None removes one."""
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


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


@pytest.fixture
def latch(tmp_path: Path) -> Iterator[Latch]:
    """Give a latch for which commands of a shell wait, without a process that sleeps, until the test opens it."""
    latch = Latch(tmp_path)
    yield latch
    latch.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Add the services' stderr to the report of a failure."""
    report = yield
    if call.when == "call" and report.failed and (factory := item.stash.get(_SERVE, None)):
        for number, service in enumerate(factory.services, 1):
            report.sections.append((f"stderr of service {number} (port {service.port})", service.all_stderr()))
    return report
