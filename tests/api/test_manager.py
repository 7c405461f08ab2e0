"""API.md, orcha.lib: `Manager` and `ClientManager`, each row with the real service where there is one to it."""

from __future__ import annotations

import itertools
import threading

import pytest

from orcha import properties
from orcha.exceptions import ManagerShutdownError, OrchaConnectionError, RejectedError
from orcha.interfaces import Message, Petition
from orcha.lib import ClientManager, Manager
from support.waiting import wait_for


class Plain(Manager):
    def convert_to_petition(self, m):
        return super().convert_to_petition(m)

    def on_start(self, *args):
        return super().on_start(*args)

    def on_finish(self, *args):
        return super().on_finish(*args)


def values_of(queue):
    """Read up to the final value, and give that too."""
    found = [queue.get()]
    while isinstance(found[-1], str):
        found.append(queue.get())
    return found


# --- built -----------------------------------------------------------------------------------------------------------


def test_every_argument_is_optional_and_resolved_from_the_properties_when_called(monkeypatch):
    monkeypatch.setattr(properties, "listen_address", "127.0.0.9")
    monkeypatch.setattr(properties, "port", 50009)
    for manager in (Plain(), ClientManager()):
        assert (manager.listen_address, manager.port) == ("127.0.0.9", 50009)
    monkeypatch.setattr(properties, "port", 50010)
    assert Plain().port == 50010
    given = Plain("127.0.0.8", 50008, b"key", True, None, None, False, 5, True)
    assert (given.listen_address, given.port, given.look_ahead, given.notify_watchdog) == ("127.0.0.8", 50008, 5, True)


def test_it_is_abstract():
    with pytest.raises(TypeError, match="convert_to_petition"):
        Manager()


def test_building_one_starts_no_thread_and_makes_no_file(orcha_home):
    before = threading.active_count()
    Plain(port=50007)
    ClientManager(port=50007).manager.Queue()
    assert threading.active_count() == before
    assert list(orcha_home.iterdir()) == []


def test_super_answers_as_plugins_expect():
    manager = Plain()
    petition = Petition("a", None, lambda *_: None, lambda *_: True)
    assert manager.convert_to_petition(Message("a", {})) is None
    assert manager.on_start(petition) is True
    assert manager.on_finish(petition) is False  # it never started
    assert manager.start_petition(petition) is True


def test_hooks_of_a_client_are_not_implemented():
    client = ClientManager()
    for hook in (client.convert_to_petition, client.on_start, client.on_finish):
        with pytest.raises(NotImplementedError):
            hook(None)
    with pytest.raises(NotImplementedError):
        client.running_processes  # noqa: B018 - asking is the test
    with pytest.raises(NotImplementedError):
        client.is_running("a")
    with pytest.raises(RuntimeError):
        client.processor  # noqa: B018 - the same


@pytest.mark.parametrize("name", ["start", "serve"])
def test_start_and_serve_of_a_client_warn(name):
    with pytest.warns(RuntimeWarning, match="client"):
        getattr(ClientManager(), name)()


# --- connect ---------------------------------------------------------------------------------------------------------


def test_connect_is_refused_where_nobody_listens(orcha_home, free_port, capfd):
    with pytest.raises(OrchaConnectionError) as caught:
        ClientManager(port=free_port).connect()
    assert isinstance(caught.value, ConnectionRefusedError)
    assert capfd.readouterr() == ("", "")


def test_connect_is_false_for_a_wrong_key(serve, free_port, capfd, tmp_path):
    source = "from support.managers import ScriptManager\nclass Keyed(ScriptManager):\n"
    source += "    def __init__(self, **a): super().__init__(auth_key='the right one, long enough', **a)\n"
    service = serve("keyed:Keyed", source=source)
    client = ClientManager(port=service.port, auth_key="a wrong one, long enough")
    assert client.connect() is False
    client.shutdown()
    right = ClientManager(port=service.port, auth_key=b"the right one, long enough")
    assert right.connect() is True
    right.shutdown()
    assert capfd.readouterr() == ("", "")


def test_a_queue_works_unconnected_and_send_raises(orcha_home, free_port):
    client = ClientManager(port=free_port)
    queue = client.manager.Queue()
    assert queue.empty()
    with pytest.raises(OrchaConnectionError):
        client.send(Message("a", {"queue": queue}))


# --- send ------------------------------------------------------------------------------------------------------------


def test_a_refusal_goes_to_the_messages_channel_as_a_line_and_a_code(service, connect):
    client = connect(service)
    queue = client.manager.Queue()
    client.send(Message("a", {"queue": queue, "refuse": True}))
    line, code = values_of(queue)
    assert line.startswith("the message 'a' is refused")
    assert code == 1
    assert queue.get() == 1  # and again, so that nobody hangs


def test_a_refusal_without_a_channel_is_raised(service, connect):
    with pytest.raises(RejectedError, match="the message 'a' is refused"):
        connect(service).send(Message("a", {"refuse": True}))


def test_send_many_keeps_the_order_and_tells_of_all_refusals_when_all_are_answered(serve, connect):
    service = serve(environment={"TEST_LIMIT": "1"})
    client = connect(service)
    queue = client.manager.Queue()
    client.send_many([Message(number, {"queue": queue, "lines": [f"{number}\n"]}) for number in range(50)])
    found = [queue.get() for _ in range(100)]
    assert [value for value in found if value is not None] == [f"{number}\n" for number in range(50)]
    batch = [Message(name, {"refuse": name.startswith("no")}) for name in ("yes1", "no1", "yes2", "no2")]
    with pytest.raises(RejectedError) as caught:
        client.send_many(iter(batch))
    assert [message.id for message in caught.value.accepted] == ["yes1", "yes2"]
    assert [message.id for message, _ in caught.value.rejected] == ["no1", "no2"]


@pytest.mark.parametrize("identity", ["", "a/b", "a\nb", "ü" * 512, 7, -(2**40), "x" * 1024])
def test_any_id_up_to_1_kib_runs(service, connect, identity):
    client, other = connect(service), connect(service)
    for _ in range(2):  # it is free again once its petition has ended
        queue = client.manager.Queue()
        client.send(Message(identity, {"queue": queue, "lines": ["a"]}))
        assert values_of(queue) == ["a", None]
        wait_for(lambda: other.finish(identity) is False, what="the id is free")


@pytest.mark.parametrize(
    ("identity", "error"),
    [("\ud800", ValueError), ("x" * 1025, ValueError), ("watchdog", ValueError), (True, TypeError)],
)
def test_an_id_that_cannot_be_is_refused_before_it_is_sent(service, connect, identity, error):
    with pytest.raises(error):
        connect(service).send(Message(identity, {}))


def test_ids_are_compared_by_their_text_and_handed_over_as_they_are(serve, connect, gate):
    source = """
from support.managers import ScriptManager
class Typed(ScriptManager):
    def convert_to_petition(self, m):
        m.extras["lines"] = [repr(m.id)]
        return super().convert_to_petition(m)
"""
    client = connect(serve("typed:Typed", source=source))
    queue = client.manager.Queue()
    client.send(Message(7, {"queue": queue, "gate": gate.path}))
    gate.wait_until_reached()
    with pytest.raises(RejectedError, match="'7' is taken"):
        client.send(Message("7", {}))
    gate.open()
    assert values_of(queue) == ["7", None]


def test_extras_that_cannot_be_sent_are_named(service, connect):
    with pytest.raises(TypeError, match="rig"):
        connect(service).send(Message("a", {"deep": [{"rig": object()}]}))


def test_a_stopping_service_takes_nothing_and_still_cancels(serve, connect, gate):
    service = serve(environment={"ORCHA_STOP_GRACE": "60", "ORCHA_ABANDON_AFTER": "0"})
    client, other = connect(service), connect(service)
    queue = client.manager.Queue()
    client.send(Message("a", {"queue": queue, "gate": gate.path}))
    gate.wait_until_reached()
    service.process.terminate()

    ids = (f"b{number}" for number in itertools.count())

    def refused():
        try:
            other.send(Message(next(ids), {}))
        except ManagerShutdownError:
            return True
        return False

    wait_for(refused, what="ManagerShutdownError")
    assert client.finish("a") is True
    assert queue.get() == 130
    gate.open()
    assert service.wait_for_end() == 0


# --- finish ----------------------------------------------------------------------------------------------------------


def test_finish_takes_a_message_or_an_id_and_nothing_else(service, connect, gate):
    client, other = connect(service), connect(service)
    message = Message(5, {"queue": client.manager.Queue(), "gate": gate.path})
    client.send(message)
    gate.wait_until_reached()
    gate.close()
    assert values_of(message.extras["queue"]) == [None]
    assert other.finish("nobody") is False
    for nonsense in (None, True, 5.0, object()):
        with pytest.raises(TypeError):
            other.finish(nonsense)


@pytest.mark.parametrize("whom", [Message(5, {}), 5, "5"], ids=["message", "int", "text"])
def test_finish_ends_it_by_message_int_or_text(serve, connect, whom):
    service = serve(environment={"TEST_LIMIT": "0"})
    client, other = connect(service), connect(service)
    queue = client.manager.Queue()
    client.send(Message(5, {"queue": queue}))
    assert other.finish(whom) is True
    assert queue.get() == 130
    assert other.finish(whom) is False


# --- register --------------------------------------------------------------------------------------------------------

FUNCTIONS = """
from support.managers import ScriptManager
class Own(Exception): pass
def fail(kind): raise {"value": ValueError, "own": Own, "key": KeyError}[kind]("no rig")
class Functions(ScriptManager):
    def setup(self):
        super().setup()
        self.register("add", lambda a, b=1: a + b)
        self.register("fail", fail)
        self.register("state", lambda name: [self.running_processes, self.is_running(name)])
        self.register("late", lambda: None)
"""


def test_a_registered_function_is_called_by_its_name(serve, connect):
    client = connect(serve("functions:Functions", source=FUNCTIONS))
    client.register("add")
    assert client.add(2) == 3
    assert client.add("a", b="b") == "ab"


def test_its_exception_is_raised_at_the_caller(serve, connect):
    client = connect(serve("functions:Functions", source=FUNCTIONS))
    for name in ("fail", "unknown"):
        client.register(name)
    with pytest.raises(ValueError, match="no rig"):
        client.fail("value")
    with pytest.raises(KeyError, match="no rig"):
        client.fail("key")
    with pytest.raises(RuntimeError, match="Own: no rig"):
        client.fail("own")
    with pytest.raises(RuntimeError, match="unknown"):
        client.unknown()
    with pytest.raises(TypeError):
        client.fail(object())


def test_a_name_that_would_hide_an_attribute_is_refused():
    for name in ("connect", "port", "register"):
        with pytest.raises(ValueError, match=name):
            ClientManager().register(name)


def test_running_processes_and_is_running_in_the_service(serve, connect, gate):
    client = connect(serve("functions:Functions", source=FUNCTIONS))
    client.register("state")
    assert client.state("a") == [0, False]
    queue = client.manager.Queue()
    client.send(Message("a", {"queue": queue, "gate": gate.path}))
    gate.wait_until_reached()
    assert client.state("a") == [1, True]
    assert client.state("b") == [1, False]
    gate.open()
    assert values_of(queue) == [None]
    wait_for(lambda: client.state("a") == [0, False])


def test_setup_is_called_once_at_connect_and_may_be_overridden(service):
    class Client(ClientManager):
        calls = 0

        def setup(self):
            super().setup()
            type(self).calls += 1
            self.register("anything")

    client = Client(port=service.port)
    assert Client.calls == 0
    assert client.connect() is True
    assert Client.calls == 1
    assert callable(client.anything)
    client.shutdown()
