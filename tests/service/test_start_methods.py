"""The document's action under every start method of multiprocessing."""

from __future__ import annotations

import pytest

from support.document import lines


@pytest.fixture(params=["fork", "spawn", "forkserver"])
def document(request, variant):
    return variant(TEST_START_METHOD=request.param)


def test_the_documents_lines_come_whole(document):
    clients = [document.send(f"m{number}", counter=3, sleep_time=0.05) for number in range(3)]
    assert [client.ended() for client in clients] == [(lines(3), "", 0)] * 3
    document.wait_until_idle()


@pytest.mark.slow
def test_the_parents_finish_never_overtakes_what_the_child_sent(document):
    clients = [document.send(f"fast-{number}", counter=500) for number in range(3)]
    assert [client.ended() for client in clients] == [(lines(500), "", 0)] * 3


@pytest.mark.slow
@pytest.mark.once
def test_what_was_put_without_waiting_comes_before_the_end_too(document):
    assert document.send("nowait-1", counter=3_000).ended() == (lines(3_000), "", 0)


def test_so_does_what_the_action_itself_put_before_it_returned_without_finish(document):
    assert document.send("nowaithere-1", counter=3_000).ended() == (lines(3_000), "", 0)


def test_a_child_may_finish(document):
    assert document.send("childends-1", counter=3).ended() == (lines(3), "", 4)
