"""A clock that is set, forwards or back, neither hastens nor stalls what is due."""

from __future__ import annotations

import os
import subprocess

import pytest

from orcha._processes.identity import identify, since_boot
from orcha._protocol.messages import Cancel, Ping, Show, Stats, Verdict
from orcha._supervisor.dead_shims import _was_started
from support.asking import asking
from support.clocks import DAY, HOUR, WallClock
from support.waiting import wait_for


@pytest.fixture
def clock(monkeypatch):
    return WallClock(monkeypatch)


def rests(asked, identity, **retry):
    """Have one fail, and wait for its next attempt's time."""
    plan = {"times": 1, "jitter": 0, **retry}
    asked.submit(asked.user, identity, retry=plan, code=3)
    wait_for(lambda: "tried again" in (shown(asked, identity)["why"] or ""), what=f"{identity} rests")


def shown(asked, identity):
    return asked.value(asked.ask(asked.user, Show, identity))


def passes(asked, identity="beside"):
    """Have another one come and go: whatever is due is done by then."""
    asked.submit(asked.user, identity)
    asked.wait_for(identity, "succeeded")


@pytest.mark.parametrize("seconds", [-HOUR, -400 * DAY])
def test_set_back_a_retry_comes_when_its_pause_is_over(clock, seconds):
    with asking() as asked:
        rests(asked, "a", delay=0.3)
        clock.set_by = seconds
        asked.wait_for("a", "failed")
        assert [attempt["code"] for attempt in shown(asked, "a")["attempts"]] == [3, 3]


def test_set_forwards_a_retry_keeps_its_pause(clock):
    with asking() as asked:
        rests(asked, "a", delay=HOUR)
        clock.set_by = 2 * HOUR
        passes(asked)
        assert asked.state("a") == "queued"
        assert not asked.engine.petitions.waiting


@pytest.mark.parametrize("seconds", [-HOUR, -400 * DAY])
def test_set_back_while_no_service_runs_the_pause_is_no_longer_than_it_was(tmp_path, clock, seconds):
    with asking(tmp_path) as asked:
        rests(asked, "a", delay=0.3)
    clock.set_by = seconds
    with asking(tmp_path) as asked:
        asked.wait_for("a", "failed")


def test_over_a_restart_the_clock_on_the_wall_counts(tmp_path, clock):
    with asking(tmp_path) as asked:
        rests(asked, "a", delay=HOUR)
    clock.set_by = 2 * HOUR
    with asking(tmp_path) as asked:
        asked.wait_for("a", "failed")


def test_set_forwards_a_limit_of_waiting_keeps_its_length(clock):
    with asking() as asked:
        asked.submit(asked.user, "a", waits=True, queue_timeout=HOUR)
        clock.set_by = 2 * HOUR
        passes(asked)
        assert asked.state("a") == "queued"


def test_a_limit_of_waiting_outlives_a_restart(tmp_path, clock):
    with asking(tmp_path) as asked:
        asked.submit(asked.user, "a", waits=True, queue_timeout=HOUR)
        assert asked.state("a") == "queued"
    clock.set_by = 2 * HOUR
    with asking(tmp_path) as asked:
        asked.wait_for("a", "timed_out")


def test_set_forwards_a_cancel_that_came_first_is_remembered(clock):
    token = b"t" * 16
    with asking() as asked:
        assert asked.ask(asked.user, Cancel, token, None).verdict == Verdict.OK
        clock.set_by = 2 * HOUR
        asked.engine.post(asked.engine.retention._round)
        asked.submit(asked.user, "a", token=token)
        asked.wait_for("a", "cancelled")


@pytest.mark.parametrize(("seconds", "keep"), [(30 * DAY, 10_000), (-2 * HOUR, 0)])
def test_however_it_is_set_nothing_is_forgotten_before_its_time(clock, seconds, keep):
    with asking(keep_count=keep) as asked:
        passes(asked, "a")
        clock.set_by = seconds
        asked.engine.post(asked.engine.retention._round)
        assert asked.ask(asked.user, Ping).verdict == Verdict.OK
        passes(asked, "b")
        assert set(asked.rows()) == {"a", "b"}


@pytest.mark.parametrize("seconds", [-DAY, DAY])
def test_statistics_measure_what_passed(clock, seconds):
    with asking() as asked:
        passes(asked, "a")
        clock.set_by = seconds
        passes(asked, "b")
        known = asked.value(asked.ask(asked.owner, Stats))
        assert 0 <= known["uptime"] < HOUR
        assert known["ran"]["max"] < HOUR
        assert known["rates"]["ended"] > 0


@pytest.mark.parametrize("seconds", [-HOUR, HOUR])
def test_a_process_is_known_by_when_it_was_started_however_the_clock_is_set(clock, seconds):
    process = subprocess.Popen(["sleep", "600"])
    try:
        started = since_boot()
        clock.set_by = seconds
        assert identify(process.pid) is not None
        assert _was_started(process.pid, started)
        assert not _was_started(process.pid, started - HOUR)
    finally:
        process.kill()
        process.wait()


BACKWARDS = """
import time
_real, _calls = time.time, [0]
def backwards():
    _calls[0] += 1
    return _real() - 1000 * _calls[0]
time.time = backwards
"""


def test_a_wait_of_a_client_ends_in_its_time(serve, tmp_path):
    service = serve(arguments=("serve", "commands"))
    assert service.run("run", "--detach", "--name", "a", "--", "sleep", "600").returncode == 0
    (tmp_path / "sitecustomize.py").write_text(BACKWARDS)
    backwards = service.environment | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    waited = service.run("wait", "--timeout", "0.3", "a", env=backwards)
    assert (waited.returncode, "has not ended" in waited.stderr) == (124, True), waited.stderr
    assert service.ask("cancel", "--now", "a").returncode == 0


CLOCK = """
import os, time
_time, _ns = time.time, time.time_ns
def _set_by():
    with open(os.environ["TEST_CLOCK"]) as file:
        return int(file.read() or 0)
time.time = lambda: _time() + _set_by()
time.time_ns = lambda: _ns() + _set_by() * 10**9
"""


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_command_is_tried_again_and_limited_however_the_clock_is_set(serve, tmp_path, seconds):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(CLOCK)
    clock = tmp_path / "clock"
    clock.write_text("0")
    path = f"{tmp_path / 'site'}:{os.environ.get('PYTHONPATH', '')}"
    environment = {"PYTHONPATH": path, "TEST_CLOCK": str(clock), "ORCHA_COMMANDS": "2"}
    service = serve(arguments=("serve", "commands"), environment=environment)
    run = ("run", "--detach", "--name")
    assert service.run(*run, "soon", "--retry", "1", "--retry-delay", "1", "--", "false").returncode == 0
    assert service.run(*run, "late", "--retry", "1", "--retry-delay", "1h", "--", "false").returncode == 0
    assert service.run(*run, "long", "--timeout", "1h", "--", "sleep", "600").returncode == 0
    wait_for(lambda: "tried again" in service.ask("show", "late").stdout, what="it rests")
    clock.write_text(str(seconds))
    assert service.ask("wait", "soon").returncode == 1
    assert service.run("run", "--", "true").returncode == 0

    def states():
        return {line.split()[0]: line.split()[1] for line in service.ask("ps").stdout.splitlines()[1:]}

    wait_for(lambda: states() == {"late": "queued", "long": "running"}, what="each is where it should be")
    assert service.ask("cancel", "--now", "late", "long").returncode == 0
