"""Killed at random moments while clients do everything they may: what must not run again is executed once.

``TEST_SEED`` repeats a run as far as chance allows; ``TEST_MIXED_KILLS`` sets how many kills there are.

An attempt could be executed beside a later attempt in six ways. A directed test closes each of them:

- An order of the dead service still lies in the socket of a shim that tells the next service that it is idle:
  `test_an_order_of_the_service_before_is_carried_out_only_where_the_next_one_is_told` (supervisor/test_shim.py).
- A shim does not answer the next service, and carries out such an order later:
  `test_a_shim_that_does_not_answer_carries_out_no_order_of_the_service_before` (supervisor/test_surviving.py).
- A shim forgets an end, or its box is used again or removed, before a service has kept that end:
  `test_nothing_is_forgotten_or_killed_before_what_was_found_out_is_kept` (test_recovery.py),
  `test_what_a_shim_was_told_to_forget_may_have_run_all_the_same` and
  `test_what_ran_and_left_no_trace_may_have_run` (supervisor/test_surviving.py).
- A petition that still waits in the store is executed:
  `test_where_the_service_dies_before_a_start_is_kept_nothing_of_it_was_executed` (test_short_commands.py).
- The supervisor or the shims die, alone or with the service: test_supervisor_gone.py.
- A cancel, a retry or a stop meets a report of another attempt: `AnythingHappens` (core/test_machine_properties.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from orcha._client.client import Client
from orcha._protocol import values
from orcha._protocol.endpoint import Endpoint
from orcha._protocol.identities import new_identity
from orcha._protocol.messages import Item
from orcha._store.sqlite import SqliteStore
from orcha.exceptions import OrchaConnectionError
from support.changes import ANY_STATE
from support.commands import COMMANDS
from support.processes import command_line
from support.service import READY
from support.waiting import wait_for

KILLS = int(os.environ.get("TEST_MIXED_KILLS", "16"))
NOTED = 'echo "$1 start $ORCHA_ATTEMPT" >> "$2"; sleep $3; echo "$1 end $ORCHA_ATTEMPT" >> "$2"; exit $4'
"""Notes start and end of petition $1 in the ledger $2, and ends with $4 after $3 seconds."""
WORKERS = 3
KINDS = ("begin", "recover", "start", "end")
POINTS = [f"{kind}.{when}-commit" for kind in KINDS for when in ("before", "after")]
"""Where a start of the service dies by chance."""


class Worker(threading.Thread):
    """A client that submits commands, and does something to some of them."""

    def __init__(self, service, ledger, seed, name, stop):
        super().__init__(name=name)
        self.plans = {}
        """Policy and retries, by name."""
        self._random = random.Random(f"{seed}/{name}")
        self._client = Client(Endpoint(service.address, service.port), None, reconnect=60, notify=lambda _: None)
        self._ledger = ledger
        self._stop_asked = stop

    def run(self):
        wait_for(self._connects, what="a service", interval=0.02)
        while not self._stop_asked.is_set():
            with contextlib.suppress(OrchaConnectionError):
                self._client.submit([self._item() for _ in range(self._random.choice([1, 4, 10]))])
                for _ in range(self._random.randrange(4)):
                    self._disturb(self._random.choice(list(self.plans)[-30:]))
                wait_for(lambda: len(self._client.rows(1 << 1, 50)) < 40, what="room in the queue")
        self._client.close()

    def _connects(self):
        try:
            self._client.connect()
        except OrchaConnectionError:
            return False
        return True

    def _item(self):
        name = f"{self.name}-{len(self.plans)}"
        policy, retries = self._random.choice([("fail", 0)] * 6 + [("fail", 1), ("rerun", 0)])
        self.plans[name] = policy, retries
        channel = self._client.channel()
        argv = ["sh", "-c", NOTED, "sh", name, str(self._ledger)]
        argv += [self._random.choice(["0", "0", "0", "0.02", "0.2"]), self._random.choice("003")]
        extras = {"argv": argv, "queue": channel, "on_interrupt": policy, "priority": self._random.randrange(3)}
        extras |= {"group": "some"} if self._random.random() < 0.2 else {}
        extras |= {"retry": {"times": retries, "delay": 0.01}} if retries else {}
        return Item(new_identity(), name, values.encode(extras), channel.__orcha_channel__)

    def _disturb(self, name):
        client = self._client
        what = self._random.choice(["cancel", "priority", "pause", "group", "all", "retry"])
        if what == "cancel":
            client.cancel(id=name)
        elif what == "priority":
            client.set_priority(self._random.randrange(5), name)
        elif what == "retry":
            self.plans.setdefault(f"again {name}", None)
            client.retry(name)
        else:
            which = {"pause": {"id": name}, "group": {"group": "some"}, "all": {}}[what]
            client.pause(**which)
            client.resume(**which)


def noted(ledger):
    """Give the lines of the ledger."""
    return ledger.read_text().splitlines() if ledger.exists() else []


def supervisors(service):
    """Give the supervisors of a service, shims aside."""
    folder = f"{service.home}/{service.address}-{service.port}"
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    found = [pid for pid in pids if folder in (line := command_line(pid)) and "main.py" in line]
    return [pid for pid in found if _has_children(pid)]


def _has_children(pid):
    """Tell whether a process has any; a shim that was found may have ended since."""
    try:
        return bool(Path(f"/proc/{pid}/task/{pid}/children").read_text().strip())
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(service, chance):
    """Kill the service; by chance a supervisor before."""
    if chance.random() < 0.3:
        for pid in supervisors(service)[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    service.kill()


def come_back(service, chance):
    """Start the service; by chance that start dies at a point of its own, once or twice."""
    while chance.random() < 0.4:
        point = f"{chance.choice(POINTS)}:{chance.choice([1, 1, 2, 5])}"
        service.start(ready=False, environment={"ORCHA_CRASH": point})
        wait_for(lambda: service.process.poll() is not None or READY in service.stderr(), what="an end, or service")
        if service.process.poll() is None:
            service.kill()
        else:
            service.wait_for_end()
    service.start()


@pytest.mark.slow
@pytest.mark.timeout(120 + 20 * KILLS)
def test_what_must_not_run_again_is_executed_once_whatever_clients_do(serve, tmp_path, capsys):
    seed = int(os.environ.get("TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
    print(f"TEST_SEED={seed}")
    chance = random.Random(seed)
    ledger, stop = tmp_path / "ledger", threading.Event()
    service = serve(COMMANDS, environment={"ORCHA_COMMANDS": "3"})
    workers = [Worker(service, ledger, seed, f"w{number}", stop) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(KILLS):
            enough = len(noted(ledger)) + chance.randrange(1, 30)
            wait_for(lambda enough=enough: len(noted(ledger)) >= enough, what="executions")
            kill(service, chance)
            come_back(service, chance)
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    service.kill()
    plans = {name: plan for worker in workers for name, plan in worker.plans.items()}
    started = Counter(line.split()[0] for line in noted(ledger) if line.split()[1] == "start")
    store = SqliteStore(service.home / f"{service.address}-{service.port}")
    rows = store.page(states=ANY_STATE, limit=100_000)
    histories = {
        row.seq: json.loads(kept.history or "[]") for row in rows for kept in store.attempts([row.seq]).values()
    }
    store.close()
    petitions = Counter(row.id for row in rows)
    failed = Counter(row.id for row in rows for each in histories.get(row.seq, ()) if each.get("code"))
    with capsys.disabled():
        print(f"\nTEST_SEED={seed}: {len(rows)} petitions, {sum(started.values())} executions")
    for name, count in started.items():
        policy, retries = plans[name]
        if policy == "fail":
            assert count <= petitions[name] + min(retries * petitions[name], failed[name]), (
                name, [(row, histories.get(row.seq)) for row in rows if row.id == name],
            )  # fmt: skip
