"""What was accepted outlives the service: real processes, real kills."""

from __future__ import annotations

from pathlib import Path

from orcha.interfaces import Message
from support import Gate, wait_for
from support.processes import command_line

INTERRUPTED = 75


def send(client, name, **script):
    """Send a petition that follows this script; give the channel of its values."""
    queue = client.manager.Queue()
    client.send(Message(name, {"queue": queue, **script}))
    return queue


def all_values(queue):
    """Give what comes until the final value, and that."""
    values = [queue.get()]
    while isinstance(values[-1], str):
        values.append(queue.get())
    return values


def has_watcher(service):
    return any("watcher.py" in command_line(pid) for pid in service.processes())


def executions(ledger: Path) -> list[str]:
    return ledger.read_text().split() if ledger.exists() else []


def test_what_was_queued_survives_a_kill_and_runs_once_in_order(serve, connect, gate, tmp_path):
    ledger = tmp_path / "ledger"
    service = serve(environment={"TEST_LIMIT": "1"})
    client = connect(service)
    running = send(client, "first", gate=gate.path, ledger=str(ledger))
    gate.wait_until_reached()
    queues = {
        name: send(client, name, lines=[f"{name}\n"], priority=priority, ledger=str(ledger))
        for name, priority in (("late", 3), ("a", 1), ("soon", -1.5), ("b", 1))
    }
    assert executions(ledger) == ["first"]
    service.kill()
    service.start()
    assert {name: all_values(queue) for name, queue in queues.items()} == {name: [f"{name}\n", None] for name in queues}
    assert executions(ledger) == ["first", "soon", "a", "b", "late"]
    line, code = all_values(running)
    assert "interrupted" in line
    assert code == INTERRUPTED


def test_what_ran_runs_again_as_another_attempt_where_its_policy_says_so(service, connect, gate, tmp_path):
    ledger = tmp_path / "ledger"
    client = connect(service)
    again = send(client, "again", gate=gate.path, lines=["done\n"], ledger=str(ledger), on_interrupt="rerun")
    gate.wait_until_reached()
    service.kill()
    gate.close()
    service.start()
    gate.open()
    assert all_values(again) == ["done\n", None]
    assert executions(ledger) == ["again", "again"]


def test_an_interrupted_petitions_process_is_gone_with_the_service(service, connect, gate):
    client = connect(service)
    queue = send(client, "m1", gate=gate.path, process=True)
    gate.wait_until_reached()
    wait_for(lambda: has_watcher(service), what="the watcher, which starts with the first child")
    service.kill()
    wait_for(lambda: not service.processes(), what="the end of all that the service started")
    service.start()
    assert all_values(queue)[-1] == INTERRUPTED


def test_an_orderly_stop_keeps_what_is_queued(serve, connect, gate):
    service = serve(environment={"TEST_LIMIT": "1", "ORCHA_STOP_GRACE": "0"})
    client = connect(service)
    running = send(client, "runs", gate=gate.path)
    gate.wait_until_reached()
    waiting = send(client, "waits", lines=["here\n"])
    assert service.stop() == 0
    service.start()
    assert all_values(running)[-1] == INTERRUPTED
    assert all_values(waiting) == ["here\n", None]


def test_a_follower_of_what_was_queued_gets_every_line_once(service, connect, tmp_path):
    client = connect(service)
    lines = [f"{number}\n" for number in range(2_000)]
    gates = [Gate(tmp_path) for _ in range(3)]
    queues = [send(client, f"m{n}", gate=gate.path, lines=lines, process=n == 1) for n, gate in enumerate(gates)]
    for gate in gates:
        gate.open()
    assert [all_values(queue) for queue in queues] == [[*lines, None]] * 3


def test_the_limit_holds_exactly_in_a_burst(serve, connect, tmp_path):
    service = serve(environment={"TEST_LIMIT": "3"})
    client = connect(service)
    gates = [Gate(tmp_path) for _ in range(6)]
    queues = [client.manager.Queue() for _ in gates]
    client.send_many(
        [
            Message(n, {"queue": queue, "gate": gate.path})
            for n, (queue, gate) in enumerate(zip(queues, gates, strict=True))
        ]
    )
    for _ in range(2):
        wait_for(lambda: sum(gate.reached() for gate in gates) == 3, what="three at once")
        assert sum(gate.reached() for gate in gates) == 3
        for gate in [gate for gate in gates if gate.reached()]:
            gate.close()
            gates.remove(gate)
    assert [queue.get() for queue in queues] == [None] * 6
