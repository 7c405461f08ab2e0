"""What is there after a kill -9 of the service, and what its next start makes of it."""

from __future__ import annotations

import signal

import pytest

from durability.history import read_kept
from durability.killing import orphans
from orcha._processes.tag import ORDINAL_BITS, read_tag
from orcha._protocol import values
from orcha._protocol.identities import new_identity
from orcha._protocol.messages import Item, Verdict
from orcha.interfaces import Message
from orcha.lib import ClientManager
from support.ledger import read_ledger
from support.processes import command_line, kill_all
from support.waiting import wait_for

MANAGER = "support.ledger:LedgerManager"
ANY_STATE = 0b1111110


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "ledger"


@pytest.fixture
def service(serve):
    return serve(MANAGER, environment={"TEST_LIMIT": "1"})


def rows(client):
    return {row["id"]: row for row in client.manager.client.rows(ANY_STATE, 100)}


def watchers(service):
    return [pid for pid in service.processes() if "watcher.py" in command_line(pid)]


def start_with_child(service, client, ledger, gate, identity="left", **script):
    client.send(Message(identity, {"ledger": str(ledger), "child": True, "gate": gate.path, **script}))
    gate.wait_until_reached()
    return wait_for(lambda: orphans(service, alive=False), what="the petition's process")


def test_the_watcher_kills_what_attempts_left_behind(service, connect, ledger, gate):
    start_with_child(service, connect(service), ledger, gate)
    wait_for(lambda: watchers(service), what="the watcher")
    service.kill()
    wait_for(lambda: not orphans(service, alive=False), what="their end, with no service there", interval=0.001)


def test_with_the_watcher_killed_too_the_next_start_kills_them_before_it_serves(service, connect, ledger, gate):
    left = start_with_child(service, connect(service), ledger, gate)
    kill_all(wait_for(lambda: watchers(service), what="the watcher"))
    service.process.send_signal(signal.SIGSTOP)  # so that it starts no other watcher before its end
    kill_all(watchers(service))
    service.kill()
    assert orphans(service, alive=False) == left
    service.start()
    assert not orphans(service)


def test_a_forked_child_that_lives_on_keeps_no_start_out(serve, connect, tmp_path, gate):
    service = serve("support.managers:ScriptManager", start_method="fork")
    client = connect(service)
    client.send(Message("forks", {"process": True, "gate": gate.path}))
    gate.wait_until_reached()
    children = [pid for pid in service.processes() if read_tag(pid) & ((1 << ORDINAL_BITS) - 1)]
    assert children
    kill_all(watchers(service))
    service.kill()
    service.start()
    assert rows(client)["forks"]["outcome"] == "interrupted"


def test_a_second_service_is_refused_with_a_line_and_the_first_goes_on(service, serve, connect, ledger):
    client = connect(service)
    second = serve(MANAGER, port=service.port, start=False)
    second.start(ready=False)
    assert second.wait_for_end() == 69
    assert f"another service (pid {service.pid}, serve.py) serves this endpoint already" in second.stderr()
    assert second.stderr().count("\n") == 1
    client.send(Message("after", {"ledger": str(ledger)}))
    wait_for(lambda: rows(client)["after"]["outcome"] == "succeeded", what="its end")


@pytest.mark.parametrize(
    ("policy", "state", "attempts"), [("fail", "ended", 1), ("ask", "held", 1), ("rerun", "ended", 2)]
)
def test_what_ran_goes_where_its_policy_says(service, connect, ledger, gate, policy, state, attempts):
    client = connect(service)
    channel = client.manager.Queue()
    message = Message("ran", {"ledger": str(ledger), "gate": gate.path, "lines": 1, "policy": policy, "queue": channel})
    client.send(message)
    gate.wait_until_reached()
    service.kill()
    gate.close()
    service.start()
    if policy == "rerun":
        gate.open()
    wait_for(lambda: rows(client)["ran"]["state"] == state, what=state)
    assert sum(execution.starts for execution in read_ledger(ledger).values()) == attempts
    if policy == "ask":
        assert "waits for a decision" in rows(client)["ran"]["why"]
        service.kill()
        service.start()
        assert rows(client)["ran"]["state"] == "held"
        assert client.finish("ran")
        assert rows(client)["ran"]["outcome"] == "cancelled"
        assert channel.get() == 130
    elif policy == "fail":
        got = [channel.get(), channel.get()]
        while not isinstance(got[-1], int):
            got.append(channel.get())
        assert got[-2:] == ["interrupted: the service ended while it ran\n", 75]
    else:
        got = [channel.get()]
        while got[-1] is not None:
            got.append(channel.get())
        assert "ran/2/0" in got


# --- the same token --------------------------------------------------------------------------------------------------


def item(identity, ledger, **script):
    token = new_identity()
    return Item(token, identity, values.encode({"ledger": str(ledger), **script}), None)


def verdicts(client, *items):
    return [result.verdict for result in client.manager.client.submit(items)]


def test_the_same_token_is_the_same_petition_in_every_state_and_over_restarts(service, connect, ledger, gate):
    client = connect(service)
    running, queued = item("running", ledger, gate=gate.path), item("queued", ledger)
    assert verdicts(client, running, queued) == [Verdict.ACCEPTED] * 2
    gate.wait_until_reached()
    assert verdicts(client, running, queued) == [Verdict.KNOWN] * 2
    service.kill()
    gate.close()
    service.start()
    assert verdicts(client, running, queued) == [Verdict.KNOWN] * 2
    wait_for(lambda: rows(client)["queued"]["outcome"] == "succeeded", what="its end")
    results = client.manager.client.submit([running, queued])
    finals = []
    for result in results:
        channel = client.manager.client.channel(result.channel, own=True)
        value = channel.get()
        while isinstance(value, str):
            value = channel.get()
        finals.append(value)
    assert finals == [75, None]
    service.stop()
    service.start()
    assert verdicts(client, running, queued) == [Verdict.KNOWN] * 2
    assert {key: execution.starts for key, execution in read_ledger(ledger).items()} == {
        ("running", 1): 1,
        ("queued", 1): 1,
    }


def test_a_token_that_is_known_is_known_also_where_its_message_would_be_refused_now(serve, connect, ledger, gate):
    service = serve("support.managers:ScriptManager")
    client = connect(service)
    first = Item(new_identity(), "same", values.encode({}), None)
    assert verdicts(client, first) == [Verdict.ACCEPTED]
    wait_for(lambda: rows(client)["same"]["outcome"] == "succeeded", what="its end")
    refused = first._replace(extras=values.encode({"refuse": True}))
    assert verdicts(client, refused) == [Verdict.KNOWN]
    other = Item(new_identity(), "same", values.encode({"gate": gate.path}), None)
    assert verdicts(client, other) == [Verdict.ACCEPTED]
    assert verdicts(client, first) == [Verdict.KNOWN]
    gate.open()


def test_one_token_under_two_ids_in_one_submit_is_one_petition(service, connect, ledger):
    client = connect(service)
    one = item("one", ledger)
    assert sorted(verdicts(client, one, one._replace(id="two"))) == [Verdict.ACCEPTED, Verdict.KNOWN]
    wait_for(lambda: rows(client)["one"]["outcome"] == "succeeded", what="its end")
    assert "two" not in rows(client)
    assert verdicts(client, one._replace(id="three")) == [Verdict.KNOWN]


def test_a_cancel_that_came_first_holds_over_a_restart(service, connect, ledger):
    client = connect(service)
    late = item("late", ledger)
    assert values.decode(client.manager.client.cancel(token=late.token).value) == "cancelled"
    service.kill()
    service.start()
    assert verdicts(client, late) == [Verdict.ACCEPTED]
    assert verdicts(client, late) == [Verdict.KNOWN]
    assert rows(client)["late"]["outcome"] == "cancelled"
    assert not read_ledger(ledger)
    assert service.stop() == 0
    kept = read_kept(service.home / f"{service.address}-{service.port}")
    assert len(kept.channels[late.token]) == 2, "one final, and the channel's end"


def test_a_cancel_by_token_never_meets_another_petition_of_that_id(serve, connect, ledger, gate):
    first = serve(MANAGER, environment={"TEST_LIMIT": "0"})
    client = connect(first)
    theirs = item("shared-id", ledger)
    assert verdicts(client, theirs) == [Verdict.ACCEPTED]
    assert first.stop() == 0
    client.shutdown()
    second = serve("support.ledger:OtherLedgerManager", port=first.port)
    client = ClientManager(listen_address=second.address, port=second.port)
    client.connect()
    try:
        assert verdicts(client, item("shared-id", ledger, gate=gate.path)) == [Verdict.ACCEPTED]
        gate.wait_until_reached()
        answer = client.manager.client.cancel(token=theirs.token)
        assert answer.verdict == Verdict.UNKNOWN
        assert "which is not served now" in answer.reason
        gate.open()
    finally:
        client.shutdown()
    assert second.stop() == 0
