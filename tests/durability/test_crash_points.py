"""Kill -9 at every point where something is kept, while a client does one of everything."""

from __future__ import annotations

import signal

import pytest

from durability.scenario import ENVIRONMENT, Scenario
from support.waiting import wait_for

COMMITS = ["accept", "start", "end", "put", "hook"]
WORKING = [f"{kind}.{when}-commit:{nth}" for kind in COMMITS for when in ("before", "after") for nth in (1, 2)]
WORKING += [f"{kind}.{when}-commit" for kind in ("cancel", "tombstone") for when in ("before", "after")]
WORKING += [f"put.{when}-commit:{nth}" for when in ("before", "after") for nth in (3, 5)]
WORKING += [f"reply.after-send:{nth}" for nth in (1, 2, 3, 5, 8, 13)]
WORKING += ["output.before-write", "output.before-write:2", "output.after-write", "output.after-write:2"]
STARTING = ["begin.before-commit", "begin.after-commit", "begin.after-sweep", "begin.after-forget"]
STARTING += ["recover.before-commit", "recover.after-commit", "again.before-commit", "again.after-commit"]
STOPPING = ["stop.begin", "again.before-commit", "again.after-commit", "stop.before-close", "stop.after-close"]

pytestmark = pytest.mark.slow


@pytest.fixture
def scenario(serve, tmp_path):
    service = serve("support.ledger:LedgerManager", environment=ENVIRONMENT, start=False)
    return service, Scenario(service, tmp_path)


def died(service):
    return service.wait_for_end() == -signal.SIGKILL


def wait_for_rerun(folder):
    """Wait until the petition runs that is to run again when it is interrupted."""
    ledger = folder / "ledger"
    wait_for(lambda: ledger.exists() and "put s-2 1 0" in ledger.read_text(), what="the petition that may run again")


def finish(service, scenario, *, stopped=False):
    """Let the client do everything with a service that goes on, and compare."""
    scenario.join()
    assert service.stop() == 0
    figures = scenario.check(stopped=stopped)
    assert figures.acked == 9
    return figures


@pytest.mark.parametrize("point", WORKING)
def test_killed_where_something_is_kept_it_goes_on_from_there(scenario, point):
    service, client = scenario
    service.start(environment={"ORCHA_CRASH": point})
    client.start()
    assert died(service), point
    service.start()
    finish(service, client)


@pytest.mark.parametrize("point", STARTING)
def test_killed_while_it_recovers_it_recovers_again(scenario, tmp_path, point):
    service, client = scenario
    service.start()
    client.start(interrupts=True)
    wait_for_rerun(tmp_path)
    service.kill()
    service.start(environment={"ORCHA_CRASH": point}, ready=False)
    assert died(service), point
    service.start()
    finish(service, client)


@pytest.mark.parametrize("point", STOPPING)
def test_killed_while_it_stops_nothing_is_lost(scenario, tmp_path, point):
    service, client = scenario
    service.start(environment={"ORCHA_CRASH": point})
    client.start(interrupts=True)
    wait_for_rerun(tmp_path)
    service.process.terminate()
    assert died(service), point
    service.start()
    finish(service, client, stopped=True)


def test_stopped_in_good_order_while_clients_work_nothing_is_lost(scenario, tmp_path):
    service, client = scenario
    service.start()
    client.start(interrupts=True)
    wait_for_rerun(tmp_path)
    assert service.stop() == 0
    service.start()
    figures = finish(service, client, stopped=True)
    assert figures.reruns == 1
